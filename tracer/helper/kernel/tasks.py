# SPDX-License-Identifier: MIT
"""Threads of this machine as /proc shows them. Standard library only: the helper uses it too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel.machine_time import offset_ns, own_offset_ns

_INITIAL_NAMESPACE = 0xEFFFFFFC  # the machine's own of process ids; fixed by the kernel
_NO_SETAFFINITY = 0x04000000  # PF_NO_SETAFFINITY of linux/sched.h: the kernel's own choice of CPUs
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Thread:
    """One thread.

    Args:
        tid: its number.
        pid: its process's.
        parent: the process that started that one.
        start: when it began, clock ticks since the machine's start; tells a reused number apart.
        fixed: the kernel lets nobody move it.
    """

    tid: int
    pid: int
    parent: int
    start: int
    fixed: bool


def _fields(file: str) -> list[str]:
    """The fields of a `stat` from the third on; the second may hold anything."""
    return (
        Path(file).read_text(encoding="utf-8", errors="surrogateescape").rpartition(")")[2].split()
    )


def start_time(tid: int) -> int | None:
    """Field 22 of a thread's stat, which tells a reused number apart; None if there is none."""
    try:
        return int(_fields(f"/proc/{tid}/stat")[19])
    except OSError:
        return None


def is_same(pid: int, started: int) -> bool:
    """Whether a process is the one that began at a time, as `start_time` shows it to some process.

    That may be this one, one in the machine's time namespace, or the process itself.
    """
    shown = start_time(pid)
    if shown is None:
        return False
    machines = shown - _ticks(own_offset_ns("boottime"))
    # Offsets need not be whole ticks.
    views = (machines, machines + _ticks(offset_ns("boottime", pid)))
    return shown == started or any(abs(view - started) <= 1 for view in views)


def number_here(pid: int, started: int) -> int | None:
    """What number a process has here that goes by another in a PID namespace below this one.

    Args:
        pid: its number, as it sees it itself.
        started: when it began, as `is_same` takes it.

    Returns:
        None if there is no such process.
    """
    if is_same(pid, started):
        return pid
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            status = (process / "status").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            continue  # it has ended
        numbers = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
        inner = numbers.split()[2:]
        if inner and int(inner[-1]) == pid and is_same(int(process.name), started):
            return int(process.name)
    return None


def _ticks(ns: int) -> int:
    return ns * _TICKS // 1_000_000_000


def id_space(pid: int | str = "self") -> int:
    """Whose process ids a process sees: 0 for the machine's, else the number of its container's.

    Raises:
        OSError: there is no such process, or it is somebody else's.
    """
    number = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    return 0 if number == _INITIAL_NAMESPACE else number


def id_spaces() -> set[int]:
    """Those of all processes that can be seen; all there are, for the machine's root."""
    found: set[int] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                found.add(id_space(process.name))
    return found


def fixed(tid: int) -> bool:
    """Whether the kernel lets nobody move a thread.

    Raises:
        OSError: there is none.
    """
    return bool(int(_fields(f"/proc/{tid}/stat")[6]) & _NO_SETAFFINITY)


def threads_of(pid: int) -> set[int]:
    """The threads that a process has now.

    Raises:
        OSError: there is no such process.
    """
    return {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}


def reachable(pid: int) -> bool:
    """Whether a process lies within the control groups that can be seen from here."""
    try:
        return ":/.." not in Path(f"/proc/{pid}/cgroup").read_text(
            encoding="utf-8", errors="surrogateescape"
        )
    except OSError:
        return False


def affinity(tid: int) -> frozenset[int]:
    """CPUs that a thread may run on; none if it has ended."""
    try:
        return frozenset(os.sched_getaffinity(tid))
    except OSError:
        return frozenset()


def now() -> int:
    """The present as `start_time` counts it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def threads() -> Iterator[Thread]:
    """All threads that can be seen."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for task in (process / "task").iterdir():
                fields = _fields(f"{task}/stat")
                fixed = bool(int(fields[6]) & _NO_SETAFFINITY)
                tid, pid = int(task.name), int(process.name)
                yield Thread(tid, pid, int(fields[1]), int(fields[19]), fixed)
        except OSError:
            continue  # it has ended


def require_own(pid: int, user: int, what: str) -> None:
    """Hold a process to be the user's.

    Args:
        pid: the process.
        user: who asks; root may everything.
        what: what he wants, for the message.

    Raises:
        MemscError: one of its user ids is another's, as those of a set-uid program.
        OSError: there is no such process.
    """
    if user == 0:
        return
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="surrogateescape")
    users = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    # All four, as for ptrace: a set-uid program that he started is not his to look into.
    if any(int(one) != user for one in users):
        raise MemscError(
            what,
            f"process {pid} does not belong to user {user}",
            "name one of your own, or run memsc as root",
        )
