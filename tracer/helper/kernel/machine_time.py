# SPDX-License-Identifier: MIT
"""The machine's own clocks, whatever time namespace this process is in.

A time namespace shifts what the clocks show that count from the machine's start, and with them the
times that /proc tells. The kernel's events have the machine's times. Standard library only.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_INITIAL_NAMESPACE = 0xEFFFFFFA  # the machine's own of time; fixed by the kernel


def offset_ns(clock: str, pid: int | str = "self") -> int:
    """How much more a clock shows to a process than it is on the machine; 0 if that is not known.

    Args:
        clock: `monotonic` or `boottime`.
        pid: which process.
    """
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        # The offsets are those of children, which may be in another one.
        if (process / "ns/time").stat().st_ino == _INITIAL_NAMESPACE:
            return 0
    with suppress(OSError, ValueError):
        for line in (process / "timens_offsets").read_text(encoding="utf-8").splitlines():
            name, seconds, ns = line.split()
            if name == clock:
                return int(seconds) * 1_000_000_000 + int(ns)
    return 0


@cache
def own_offset_ns(clock: str) -> int:
    """The same of this process, which stays in its namespace."""
    return offset_ns(clock)


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC as the kernel's events have it."""
    return time.monotonic_ns() - own_offset_ns("monotonic")
