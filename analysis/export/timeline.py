# SPDX-License-Identifier: MIT
"""Calls as a timeline shows them: the first of each arm, in rows that do not overlap."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.rounds import chosen_rounds, rounds_in
from memsc.analysis.trace import Trace
from memsc.tracer.format import CALLS, FLAGS, STAMPS, Clock, RoundKey

if TYPE_CHECKING:
    import pandas as pd

CALLS_PER_ARM = 2000
"""A viewer wants a timeline that fits a screen, not a million slices."""
IN_FLIGHT = 64
"""Calls that one thread can have posted at a time: the entries of its syspage."""

COLUMNS = (*("arm", "case", "round", "tid", "syscall", "result", "service_cpu", "flags"), *STAMPS)


def first_calls(
    trace: Trace, per_arm: int | None = CALLS_PER_ARM, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[RoundKey, pa.Table]]:
    """The selected calls in the order they were recorded, a part of a round at a time.

    Args:
        trace: the trace; narrow it by `where` and windows for other calls than the first.
        per_arm: how many of each arm; None for all.
        columns: of the table `calls`.
    """
    rounds = chosen_rounds(trace.folder, trace.selection)
    left = dict.fromkeys(trace.arms, per_arm)
    wanted = list(dict.fromkeys([*columns, *trace.selection.columns]))
    for part in trace.folder.batches(CALLS, wanted, rounds):
        mask = trace.selection.mask(part)
        table = part if mask is None else part.filter(pa.array(mask))
        if not table.num_rows:
            continue
        for key, rows in rounds_in(table):
            limit = left.get(key.arm)
            if (rounds is not None and key not in rounds) or limit == 0:
                continue
            at = np.arange(table.num_rows)[rows][:limit]
            if limit is not None:
                left[key.arm] = limit - len(at)
            yield key, table.take(at)
        if all(limit == 0 for limit in left.values()):
            break


def edges_of(table: pa.Table | pd.DataFrame, clock: Clock) -> NDArray[np.int64]:
    """Stamps on CLOCK_MONOTONIC: shape (5, n), ns.

    Where counters of two CPUs disagree by more than a stage took, its end would come before its
    start: it is drawn as empty.
    """
    stamps = np.stack([clock.ns(table[name].to_numpy()) for name in STAMPS])
    return np.maximum.accumulate(stamps, axis=0)


def flag_names(flags: int) -> list[str]:
    """Names of the bits that are set."""
    return [name for name, bit in FLAGS.items() if flags & bit]


def lanes(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers such that intervals with the same number do not overlap.

    Args:
        start: when each begins, sorted.
        end: when each ends, not before it begins.
    """
    n = len(start)
    met = np.maximum(np.searchsorted(start, end) - np.arange(n), 1)
    long = met > IN_FLIGHT
    lane = np.empty(n, np.int64)
    # The interval so many places later begins when this one has ended, if no other overlaps more.
    width = int(met[~long].max(initial=0))
    lane[~long] = np.arange(n - int(long.sum())) % max(width, 1)
    # What waits while many others come and go is rare enough to be placed one by one.
    free: list[tuple[int, int]] = []
    for i in np.flatnonzero(long).tolist():
        reused = bool(free) and free[0][0] <= start[i]
        lane[i] = heapq.heappop(free)[1] if reused else width + len(free)
        heapq.heappush(free, (int(end[i]), int(lane[i])))
    return lane
