# SPDX-License-Identifier: MIT
"""The helper's answers to what a session asks of the kernel's perf events. Privileged side.

They are opened here and read by the session, which closes them; nothing of them stays here.
"""

from __future__ import annotations

import os
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer import perf, tasks, wire
from memsc.tracer.perf import Flag

_RECORDS = (
    (Flag.DISABLED | Flag.INHERIT | Flag.EXCLUDE_KERNEL | Flag.EXCLUDE_HV)
    | (Flag.MMAP | Flag.MMAP2 | Flag.COMM | Flag.COMM_EXEC | Flag.TASK)
    | (Flag.SAMPLE_ID_ALL | Flag.USE_CLOCKID)
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
        self.operations: dict[str, wire.Operation] = {"mappings": self._mappings}

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
                    )
                )
        except OSError as error:
            self.sent()
            raise MemscError(what, str(error.strerror), "see `memsc doctor`") from error
        return {}, list(self._passed)


def kernel_stacks(user: int) -> bool:
    """Whether a user may see addresses of the kernel's code: as /proc/kallsyms would show them."""
    if user == 0:
        return True
    try:
        restrict, paranoid = (
            int(Path(f"/proc/sys/kernel/{name}").read_text())
            for name in ("kptr_restrict", "perf_event_paranoid")
        )
    except (OSError, ValueError):
        return False
    return restrict == 0 and paranoid <= 1
