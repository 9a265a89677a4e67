# SPDX-License-Identifier: MIT
"""Hand-offs of sides that sleep: how late the interrupt came that wakes the other CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.causes.intervals import WAKES
from memsc.analysis.data.overlap import Ints
from memsc.tracer.format import Arm


def begins_asleep(arms: Mapping[str, Arm], *, poll: bool) -> set[str]:
    """Arms of which a hand-off begins with a wake-up, whatever the call.

    Args:
        arms: those of a session.
        poll: the hand-off to the service; else that back.
    """
    # A scanner wakes the thread that executes, on its own CPU; the caller polls.
    return {
        name
        for name, arm in arms.items()
        if arm.transport == "ipi" or (arm.service == "scanner" and poll)
    }


def arrivals(events: pd.DataFrame, cpu: Ints, start: Ints, end: Ints) -> NDArray[np.float64]:
    """How long each wait had lasted when the first interrupt that wakes arrived on its CPU.

    Args:
        events: `Found.of("intervals")`.
        cpu: the CPU that each wait is for.
        start: begin of each wait, ns.
        end: its end.

    Returns:
        Nanoseconds; 0 where none arrived meanwhile.
    """
    found = np.zeros(len(cpu))
    wakes = events[events["name"].isin(WAKES)]
    for one in np.unique(cpu):
        times = np.sort(wakes["start"].to_numpy(np.int64)[wakes["cpu"].to_numpy() == one])
        mine = np.flatnonzero(cpu == one)
        if not len(times):
            continue
        at = np.searchsorted(times, start[mine], "left")
        first = times[np.minimum(at, len(times) - 1)]
        inside = (at < len(times)) & (first <= end[mine])
        found[mine[inside]] = (first - start[mine])[inside]
    return found
