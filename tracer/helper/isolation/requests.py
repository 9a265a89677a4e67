# SPDX-License-Identifier: MIT
"""The helper's answers to what a session asks about the isolation of CPUs. Privileged side."""

from __future__ import annotations

from memsc.tracer.helper import wire
from memsc.tracer.helper.isolation.isolate import Isolation
from memsc.tracer.helper.kernel import perf

_MOST_CPUS = 8192


class Isolating:
    """At most one isolation, for the session that asks.

    Args:
        user: who asks.
        asker: his process.
    """

    def __init__(self, user: int, asker: int) -> None:
        self._user = user
        self._asker = asker
        self._isolation: Isolation | None = None
        self.operations: dict[str, wire.Operation] = {
            "isolate": self._isolate,
            "adopt": self._adopt,
            "release": self._release,
            "switches": self._switches,
        }

    def release(self) -> list[str]:
        """Give back what was isolated; returns what could not be given back, and why."""
        isolation, self._isolation = self._isolation, None
        return isolation.release() if isolation else []

    def _isolate(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        app, service = (
            frozenset(wire.integers(request.get(side), 0, _MOST_CPUS))
            for side in ("app", "service")
        )
        if self._isolation is not None:
            raise wire.refusal("CPUs are isolated once per session")
        self._isolation = Isolation(app, service, self._user, self._asker)
        return {"isolation": self._isolation.describe()}, []

    def _adopt(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        (pid,) = wire.integers([request.get("pid")], 2, 1 << 22)
        if self._isolation is None:
            raise wire.refusal("isolate comes before adopt")
        self._isolation.adopt(pid)
        return {}, []

    def _release(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        del request
        return {"failed": self.release()}, []

    def _switches(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        cpus = wire.integers(request.get("cpus"), 0, _MOST_CPUS)
        return {}, [perf.count_switches(cpu) for cpu in cpus]
