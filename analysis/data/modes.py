# SPDX-License-Identifier: MIT
"""How a call's time came about: made and waited for, posted ahead, or spent in waiting for others.

What a program spends in `epoll_wait` says how little it had to do, not how long its system calls
take. So calls that wait are kept apart from work in every figure. The trace has a call's number and
not its arguments: what waits by its number stands in `WAITS`. A `read` of a pipe or socket may wait
as well; no number tells, and not every arm can, so it counts as work in all of them alike. Where
the runtime looked first whether anything was there to read, a call's flag tells (`known_idle`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.rounds import coded
from memsc.tracer.format import FLAGS
from memsc.tracer.format.arrays import numbers

EVENTS = "something to happen to descriptors"
CONNECTION = "a connection"
TIME = "a time"
SIGNAL = "a signal"
CHILD = "a child to change its state"
THREAD = "another thread"
MESSAGE = "another process"

WAITS: Mapping[str, str] = {
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_wait_old"), EVENTS),
    **dict.fromkeys(("poll", "ppoll", "select", "pselect6"), EVENTS),
    **dict.fromkeys(("io_getevents", "io_pgetevents"), EVENTS),
    **dict.fromkeys(("accept", "accept4"), CONNECTION),
    **dict.fromkeys(("nanosleep", "clock_nanosleep"), TIME),
    **dict.fromkeys(("pause", "rt_sigsuspend", "rt_sigtimedwait"), SIGNAL),
    **dict.fromkeys(("wait4", "waitid"), CHILD),
    **dict.fromkeys(("futex", "futex_wait", "futex_waitv"), THREAD),
    **dict.fromkeys(("semop", "semtimedop", "msgrcv", "mq_timedreceive"), MESSAGE),
    "restart_syscall": "what a call waited for that a signal interrupted",
}
"""System calls that are there to wait, and for what. One that need not wait, or wakes others, as
`futex` may, is among them: its number is the same."""

_READS = frozenset(("read", "readv", "recvfrom", "recvmsg"))
"""What the service executes at once where there is something to read (`runtime/src/ready.c`)."""

SYNC, ASYNC, WAIT = MODES = ("sync", "async", "wait")
"""A call that its caller waited for, one that was posted ahead, and one of `WAITS` either way."""


def modes_of(table: pa.Table) -> NDArray[np.int64]:
    """The place in `MODES` of each row of the table `calls`."""
    flags = numbers(table["flags"])
    found = ((flags & FLAGS["async"]) > 0).astype(np.int64)
    syscall, names = coded(table, "syscall")
    waits = np.array([name in WAITS for name in names], np.bool_)
    if waits.any():
        found[waits[syscall]] = MODES.index(WAIT)
    return found


def known_idle(table: pa.Table) -> NDArray[np.bool_]:
    """Which rows are known to have waited for others: of `WAITS`, or to read what was not there."""
    syscall, names = coded(table, "syscall")
    waits, reads = (np.array([n in some for n in names], np.bool_) for some in (WAITS, _READS))
    if not waits.any() and not reads.any():
        return np.zeros(len(syscall), np.bool_)
    pooled = (numbers(table["flags"]) & FLAGS["pooled"]) > 0
    return waits[syscall] | (reads[syscall] & pooled)
