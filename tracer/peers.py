# SPDX-License-Identifier: MIT
"""What else hands a call to another CPU: today's alternatives, on the same CPUs and work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from memsc.runtime.files import PEERS, WORK
from memsc.runtime.launch import Launch
from memsc.tracer.session.work import Work

PROGRAMS = (
    *("uring", "eventfd", "pipe", "futex", "signal"),
    *("seccomp", "seccomp-sync", "same-cpu"),
)
"""Peers that are programs of their own."""
ADAPTIVE = "adaptive"
"""The one that is a transport."""
NAMES = (ADAPTIVE, *PROGRAMS)
UNAVAILABLE = 77
"""Exit status of a peer that this machine has not; its reason is on standard error."""

_FEW = 500
_CALLS = 2_000
_MANY = 10_000
_POLLING = 50_000  # where no interrupt is waited for
FAST = frozenset(("direct", "memsc", "uring", ADAPTIVE))
"""Arms and peers whose sides poll for each other, or that have one side alone."""


def arms(placed: Sequence[Launch]) -> list[Launch]:
    """The peers as arms, on the CPUs of the others."""
    launch = max(placed, key=lambda arm: len(arm.service_cpus))
    apart = [replace(launch, transport="direct", service="inline", peer=name) for name in PROGRAMS]
    if launch.app_cpus == launch.service_cpus:
        return apart  # the sides of the other poll
    return [replace(launch, transport=ADAPTIVE, service="inline"), *apart]


def null(launch: Launch, folder: Path) -> Work:
    """The cheapest call there is: getppid, or a NOP where a peer has no such request."""
    return _work(launch, folder, "null", "getppid")


def read(launch: Launch, folder: Path) -> Work:
    """4 KiB of a file in memory."""
    return _work(launch, folder, "read", "pread-4096")


def _work(launch: Launch, folder: Path, case: str, operation: str) -> Work:
    file = folder / "timings"
    count = str(_POLLING if launch.arm in FAST else _CALLS)
    if launch.peer is None:
        command = (str(WORK), "calls", operation, str(folder), count, str(file))
    else:
        here, there = str(launch.app_cpus[0]), str((*launch.service_cpus, *launch.app_cpus)[0])
        command = (str(PEERS), launch.peer, case, count, here, there, str(file))
    return _timed(f"peers-{case}", command, file)


# ---- the classic small calls ----

_SIZES = (1, 4096, 65536, 1 << 20)
OPERATIONS = (
    *(f"{call}-{size}" for call in ("read", "write", "pread") for size in _SIZES),
    *("openclose", "stat", "fstat", "lseek", "mmap", "pipe", "socket"),
)
NO_FILE = frozenset(("mmap", "pipe", "socket"))
"""Operations that know no file system."""
_PAIRS = frozenset(("openclose", "mmap", "pipe", "socket"))
"""Operations of two calls each."""


def operation(name: str, disk: Path | None = None) -> Callable[[Launch, Path], Work]:
    """One of the classic small calls.

    Args:
        name: one of OPERATIONS.
        disk: a folder for its files; by default the session's scratch folder, in memory.
    """
    case = name if disk is None else f"disk-{name}"

    def work(launch: Launch, folder: Path) -> Work:
        file = folder / "timings"
        count = _FEW if name.endswith("-1048576") else _MANY if launch.arm in FAST else _FEW
        place = str(folder if disk is None else disk)
        return _timed(
            case,
            (str(WORK), "calls", name, place, str(count), str(file)),
            file,
            2 if name in _PAIRS else 1,
        )

    return work


def _timed(case: str, command: tuple[str, ...], file: Path, calls: int = 1) -> Work:
    return Work(case, command, layered=False, timings=file, per_interval=calls, ring_holds_all=True)
