# SPDX-License-Identifier: MIT
"""Kernel events as a timeline shows them: what has a beginning and an end, and what only happens.

A pair is made only of two events that fit each other with nothing of their sort between; where one
of the two is missing (lost, or outside of the recording) the other only happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.rounds import coded
from memsc.tracer.format import EVENTS, TraceFolder

ENTRY, EXIT = "_entry", "_exit"
SWITCH = "switch"
_IDLE = 0


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one probe inside the windows, by CPU and time.

    Attributes:
        probe: its name.
        table: the rows.
        kind: the name of each row's kind.
        begins, ends: rows of `table`, pair by pair.
        instants: rows that are in no pair.
    """

    probe: str
    table: pa.Table
    kind: NDArray[np.object_]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    instants: NDArray[np.int64]


def kernel_events(
    folder: TraceFolder, start: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[Events]:
    """Every probe's events in some windows, a part at a time.

    Args:
        folder: the trace.
        start: where the windows begin, sorted, CLOCK_MONOTONIC ns.
        end: where they end.
    """
    for name in sorted(folder.parts):
        if not name.startswith(f"{EVENTS}/"):
            continue
        for part in folder.batches(name):
            time = part["time"].to_numpy()
            window = np.searchsorted(start, time, "right") - 1
            inside = (window >= 0) & (time <= end[window])
            if inside.any():
                table = part.filter(pa.array(inside))
                yield _paired(name.removeprefix(f"{EVENTS}/"), table, window[inside])


def _paired(probe: str, table: pa.Table, window: NDArray[np.int64]) -> Events:
    order = np.lexsort((table["time"].to_numpy(), table["cpu"].to_numpy()))
    table, window = table.take(order), window[order]
    codes, names = coded(table, "kind")
    kind = np.array(names, object)[codes]
    # Nothing pairs across CPUs or windows.
    place = table["cpu"].to_numpy() * (int(window.max(initial=0)) + 1) + window
    begins, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for entry in [name for name in names if name.endswith(ENTRY)]:
        leave = entry.removesuffix(ENTRY) + EXIT
        rows = np.flatnonzero((kind == entry) | (kind == leave))
        first, second = rows[:-1], rows[1:]
        fits = (kind[first] == entry) & (kind[second] == leave) & (place[first] == place[second])
        begins.append(first[fits])
        ends.append(second[fits])
    if SWITCH in names:
        rows = np.flatnonzero(kind == SWITCH)
        first, second = rows[:-1], rows[1:]
        comes, goes = table["target_tid"].to_numpy(), table["tid"].to_numpy()
        fits = (comes[first] == goes[second]) & (place[first] == place[second])
        fits &= comes[first] != _IDLE
        begins.append(first[fits])
        ends.append(second[fits])
    begin, end = np.concatenate(begins), np.concatenate(ends)
    alone = np.ones(table.num_rows, np.bool_)
    alone[begin] = False
    # The end of one task's turn is the beginning of the next one's: only an interrupt's is no more.
    alone[end[kind[end] != SWITCH]] = False
    return Events(probe, table, kind, begin, end, np.flatnonzero(alone))
