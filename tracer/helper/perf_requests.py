# SPDX-License-Identifier: MIT
"""The helper's answers to what a session asks of the kernel's perf events. Privileged side.

They are opened here and read by the session, which closes them; nothing of them stays here.
"""

from __future__ import annotations

import os
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer.helper import wire
from memsc.tracer.helper.kernel import perf, tasks
from memsc.tracer.helper.kernel.perf import Flag
from memsc.tracer.helper.kernel.perf_counters import EVERYWHERE, counts_kernel, open_counters

_RECORDS = (
    (Flag.DISABLED | Flag.INHERIT | Flag.EXCLUDE_KERNEL | Flag.EXCLUDE_HV)
    | (Flag.MMAP | Flag.MMAP2 | Flag.COMM | Flag.COMM_EXEC | Flag.TASK)
    | (Flag.SAMPLE_ID_ALL | Flag.USE_CLOCKID | Flag.WATERMARK)
)
_TIME = 4  # PERF_SAMPLE_TIME


class Observing:
    """Opens perf events for one session.

    Args:
        user: who asks; he may look at his own processes, root at all.
    """

    def __init__(self, user: int) -> None:
        self._user = user
        self._passed: list[int] = []
        self.operations: dict[str, wire.Operation] = {
            "mappings": self._mappings,
            "counters": self._counters,
        }

    def sent(self) -> None:
        """Close what has been passed on."""
        while self._passed:
            os.close(self._passed.pop())

    def _mappings(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        """Per CPU an event that records what a process and its children map and execute."""
        (pid,) = wire.integers([request.get("pid")], 2, 1 << 22)
        what = "watching what a process maps"
        try:
            tasks.require_own(pid, self._user, what)
            for cpu in perf.online_cpus():
                self._passed.append(
                    perf.open_event(
                        perf.SOFTWARE,
                        perf.SOFTWARE_DUMMY,
                        pid=pid,
                        cpu=cpu,
                        flags=_RECORDS,
                        sample_type=_TIME,
                        wakeup=1,
                    )
                )
        except OSError as error:
            self.sent()
            raise MemscError(what, str(error.strerror), "see `memsc doctor`") from error
        return {}, list(self._passed)

    def _counters(self, request: wire.Message) -> tuple[wire.Message, list[int]]:
        """The counters of a thread, with all it starts if asked for, on one CPU or everywhere."""
        pid, tid = wire.integers([request.get("pid"), request.get("tid")], 2, 1 << 22)
        (cpu,) = wire.integers([request.get("cpu")], EVERYWHERE, 1 << 16)
        what = f"counting thread {tid}"
        kernel, start = counts_kernel(self._user), tasks.start_time(tid)
        try:
            if tid not in tasks.threads_of(pid):
                raise MemscError(what, f"process {pid} has none of that number", "check it")
            tasks.require_own(pid, self._user, what)
            found, reasons = open_counters(
                tid,
                cpu,
                inherit=request.get("inherit") is True,
                kernel=kernel,
                on_exec=request.get("on_exec") is True,
            )
        except FileNotFoundError as error:
            raise MemscError(what, "there is no such process", "check its number") from error
        except OSError as error:
            # Which error it was tells the session whether to ask for less.
            return {"errno": error.errno, "why": error.strerror}, []
        self._passed += found.values()
        try:
            # Its number may have passed to another user's thread since it was looked at.
            tasks.require_own(pid, self._user, what)
            if start is None or tasks.start_time(tid) != start:
                raise MemscError(what, "it has ended", "check its number")
        except (OSError, MemscError):
            self.sent()
            raise
        return {"names": list(found), "reasons": reasons, "kernel": kernel}, list(self._passed)


def kernel_stacks(user: int) -> bool:
    """Whether a user may see addresses of the kernel's code: as /proc/kallsyms would show them."""
    if user == 0:
        return True
    try:
        restrict, paranoid = (
            int(Path(f"/proc/sys/kernel/{name}").read_text(encoding="utf-8"))
            for name in ("kptr_restrict", "perf_event_paranoid")
        )
    except (OSError, ValueError):
        return False
    return restrict == 0 and paranoid <= 1
