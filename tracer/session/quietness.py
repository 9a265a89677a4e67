# SPDX-License-Identifier: MIT
"""How quiet the application's CPUs are: isolated if asked for, and measured in any case."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from memsc.runtime.errors import MemscError
from memsc.tracer.format import Isolation
from memsc.tracer.session.interruptions import Counts, Meter, rates
from memsc.tracer.session.observe.channel import Elevation

_MOST_COUNTERS = 32  # that many descriptors fit into one reply


class Quiet:
    """The application's CPUs from the session's start to its end.

    Args:
        elevation: where the privileged helper comes from.
        wanted: isolate them.

    Attributes:
        wanted: to isolate them.
        isolated: they are isolated now; programs must be adopted.
        notes: what the user should be told.
    """

    def __init__(self, elevation: Elevation, wanted: bool) -> None:
        self._elevation = elevation
        self.wanted = wanted
        self._meter = Meter(())
        self._spans: list[tuple[Counts, Counts]] = []
        self._found = Isolation()
        self._failed: list[str] = []
        self.isolated = False
        self.notes: list[str] = []

    def begin(
        self, app: Collection[int], service: Collection[int], spin: Callable[[], None]
    ) -> None:
        """Isolate, if wanted, and measure what difference it makes.

        Args:
            app: CPUs of the application.
            service: CPUs of the service.
            spin: keeps an application CPU busy for a moment.

        Raises:
            MemscError: it is wanted and cannot be.
        """
        self._app, self._service = sorted(app), sorted(service)
        self._meter = Meter(frozenset(app))
        if not self.wanted:
            return
        channel = self._elevation.started()
        counters = channel.ask("switches", cpus=sorted(app)[:_MOST_COUNTERS])[1]
        if len(app) <= _MOST_COUNTERS:
            self._meter.switches = counters
        before = self._measure(spin)
        said = self._isolate()
        self._found = Isolation(**said, before=before)
        self._found = msgspec.structs.replace(self._found, isolated=self._measure(spin))
        if said["how"] != "v2 partition":
            self.notes += said["notes"]

    def _isolate(self) -> dict[str, Any]:
        reply, _ = self._elevation.started().ask("isolate", app=self._app, service=self._service)
        self.isolated = True
        said: dict[str, Any] = reply["isolation"]
        return said

    @contextmanager
    def held(self, wanted: bool) -> Generator[str | None]:
        """Isolate as long as the context lasts, if that is wanted.

        Args:
            wanted: or else nothing is done.

        Returns:
            By what means the CPUs are isolated now; None if they are not.

        Raises:
            MemscError: they cannot be.
        """
        if self.isolated or not wanted:
            yield self._found.how if self.isolated else None
            return
        how: str = self._isolate()["how"]
        try:
            yield how
        finally:
            self._failed += self._release()

    def refused(self) -> str | None:
        """Why the CPUs cannot be isolated, found by doing so; None if they can."""
        try:
            with self.held(wanted=True):
                return None
        except MemscError as error:
            return error.why

    def _measure(self, spin: Callable[[], None]) -> Any:
        start = self._meter.read()
        spin()
        return rates([(start, self._meter.read())])

    def adopt(self, pid: int) -> None:
        """Let a program in that is on hold.

        Raises:
            MemscError: the kernel refused, or the helper has died.
        """
        if self.isolated:
            self._elevation.started().ask("adopt", pid=pid)

    def count(self) -> Counts:
        """The counts as they are now."""
        return self._meter.read()

    def ran(self, start: Counts) -> None:
        """A program ran since start."""
        self._spans.append((start, self._meter.read()))

    def end(self) -> Isolation:
        """Give the CPUs back; returns what the trace says of them.

        Never fails: what could not be given back is in the result, and in notes.
        """
        self._failed += self._release()
        self._meter.close()
        return msgspec.structs.replace(self._found, during=rates(self._spans), failed=self._failed)

    def _release(self) -> list[str]:
        if not self.isolated:
            return []
        self.isolated = False
        try:
            failed: list[str] = self._elevation.started().ask("release")[0]["failed"]
        except MemscError as error:
            # The helper was killed. A fresh one finds its journal.
            failed = []
            try:
                self._elevation.restart()
            except MemscError:
                failed = [f"{error.why}: run `sudo memsc clean`"]
        self.notes += [f"not given back: {problem}" for problem in failed]
        return failed
