# SPDX-License-Identifier: MIT
"""What else hands a call to another CPU: today's alternatives, on the same CPUs and work."""

from __future__ import annotations

from collections.abc import Sequence
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

_CALLS = 2_000
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
    return timed(f"peers-{case}", command, file)


def timed(case: str, command: tuple[str, ...], file: Path, calls: int = 1) -> Work:
    """Work that writes its own times, and as many calls in each."""
    return Work(case, command, layered=False, timings=file, per_interval=calls, ring_holds_all=True)
