# SPDX-License-Identifier: MIT
"""Many callers at once: calls per second in the closed loop, how late calls are in the open one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.session.work import Work

_CALLS = {"ipi": 6_400, "memsc-scanner": 25_600}
_MANY_CALLS = 204_800  # whole batches for 64 callers, as the others
_OPEN_S = 0.5
_FEWEST = 500

Callers = tuple[int, int]
"""Processes, and threads of each."""


def closed(callers: Callers, batch: int = 1) -> tuple[str, Callable[[Launch, Path], Work]]:
    """All call as fast as they can; one interval covers all calls of all.

    Returns:
        The case's name and its work.
    """
    processes, threads = callers
    case = f"closed-{processes}x{threads}" + (f"-batch-{batch}" if batch > 1 else "")

    def work(launch: Launch, folder: Path) -> Work:
        calls = _CALLS.get(launch.arm, _MANY_CALLS)
        file = folder / "timings"
        sizes = (str(processes), str(threads), str(batch), str(calls))
        return Work(
            case,
            (str(WORK), "closed", *sizes, str(file)),
            layered=False,
            timings=file,
            per_interval=calls,
            ring_holds_all=True,
        )

    return case, work


def opened(callers: Callers, rate: int) -> tuple[str, Callable[[Launch, Path], Work]]:
    """Calls are meant to begin at random, `rate` per second, whatever those before them took.

    Returns:
        The case's name and its work.
    """
    processes, threads = callers
    case = f"open-{processes}x{threads}-{rate}"

    def work(_: Launch, folder: Path) -> Work:
        file, measures = folder / "timings", folder / "measures"
        measures.unlink(missing_ok=True)
        calls = max(int(rate * _OPEN_S), _FEWEST)
        sizes = (str(processes), str(threads), str(rate), str(calls))
        return Work(
            case,
            (str(WORK), "open", *sizes, str(file), str(measures)),
            layered=False,
            timings=file,
            measures=measures,
            ring_holds_all=True,
        )

    return case, work
