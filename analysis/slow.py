# SPDX-License-Identifier: MIT
# pyarrow's and pandas' published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Gathers the slow calls of a trace with what is needed to say why they were; streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.overlap import Ints, covered_until
from memsc.analysis.scan import Rows, chosen_rounds, rounds_in, stages_of
from memsc.analysis.selection import Selection
from memsc.analysis.sketch import QUANTITIES
from memsc.tracer.format import CALLS, FLAGS, STAMPS, RoundKey, TraceFolder, polls_of

_KEPT = [
    *("arm", "case", "round", "pid", "tid", "syscall", "result", "app_cpu", "service_cpu"),
    *("flags", *STAMPS),
]
# Polls of calls that waited at least so often tell what a poll costs.
_ENOUGH_POLLS = 4
_SAMPLE = 20_000

Keep = Callable[[RoundKey, NDArray[np.bool_], Ints], Ints]
"""Of some calls of a round, given which are asynchronous and their totals: those to keep."""


@dataclass(slots=True)
class Slow:
    """Slow calls, and how long a poll takes.

    Attributes:
        frame: one row per call: the columns of `calls/`, the stages and the total in cycles,
            `app_polls`, `service_polls`, `since` (when the service had finished the call before, 0
            if that is not known) and `busy` (cycles in which it executed others while this waited).
        poll_cycles: by arm, what a look of the caller and one of the service take; NaN if unknown.
    """

    frame: pd.DataFrame
    poll_cycles: dict[str, tuple[float, float]] = field(default_factory=dict)


def gather(trace: TraceFolder, selection: Selection, keep: Keep) -> Slow:
    """The slow calls of a selection.

    Args:
        trace: an opened trace.
        selection: which calls are looked at; others still count as what the service did.
        keep: which of them are slow.
    """
    parts = list(_kept(trace, selection, keep))
    if not parts:
        columns = [*_KEPT, *QUANTITIES, "app_polls", "service_polls", "since", "busy"]
        return Slow(pd.DataFrame(columns=columns))
    frame = pd.concat(parts, ignore_index=True)
    slow = Slow(frame.assign(since=np.int64(0), busy=np.int64(0)))
    _add_service(trace, slow)
    return slow


def _kept(trace: TraceFolder, selection: Selection, keep: Keep) -> Iterator[pd.DataFrame]:
    rounds = chosen_rounds(trace, selection)
    for part in trace.batches(CALLS, [*_KEPT, *selection.columns]):
        mask = selection.mask(part)
        table = part if mask is None else part.filter(pa.array(mask))
        if not table.num_rows:
            continue
        stages, flags = stages_of(table), table["flags"].to_numpy()
        for key, rows in rounds_in(table):
            if rounds is not None and key not in rounds:
                continue
            at = _written_out(rows, table.num_rows)
            at = at[keep(key, (flags[at] & FLAGS["async"]) > 0, stages[-1][at])]
            if not len(at):
                continue
            frame = table.take(at).to_pandas()
            frame = frame.astype({"arm": object, "case": object, "syscall": object})
            polls = {f"{side}_polls": polls_of(flags[at], side) for side in ("app", "service")}
            yield frame[_KEPT].assign(**dict(zip(QUANTITIES, stages[:, at], strict=True)), **polls)


def _written_out(rows: Rows, total: int) -> Ints:
    return np.arange(total) if isinstance(rows, slice) else rows


def _add_service(trace: TraceFolder, slow: Slow) -> None:
    """What the service did before and meanwhile: other calls of the same CPU, in any part."""
    frame = slow.frame
    found: Any = frame.groupby(["arm", "case", "round", "service_cpu"]).indices
    groups = {(RoundKey(*key[:3]), int(key[3])): rows for key, rows in found.items()}
    rounds = {key for key, _ in groups}
    since, busy = (frame[name].to_numpy(np.int64, copy=True) for name in ("since", "busy"))
    posted, picked = (frame[name].to_numpy(np.int64) for name in ("posted", "picked"))
    wanted = ["arm", "case", "round", "service_cpu", "flags", *STAMPS[1:]]
    for table in trace.batches(CALLS, wanted):
        columns = {name: table[name].to_numpy() for name in wanted[3:]}
        for key, chosen in rounds_in(table):
            if key not in rounds:
                continue
            rows = _written_out(chosen, table.num_rows)
            served = columns["flags"][rows] & (FLAGS["pooled"] | FLAGS["takeover"]) == 0
            rows = rows[served]
            for cpu in np.unique(columns["service_cpu"][rows]):
                mine = groups.get((key, int(cpu)))
                if mine is None:
                    continue
                here = rows[columns["service_cpu"][rows] == cpu]
                here = here[np.argsort(columns["picked"][here], kind="stable")]
                start = columns["picked"][here]
                end = np.minimum(columns["executed"][here], np.append(start[1:], 1 << 62))
                before = np.searchsorted(start, picked[mine], "left") - 1
                last = np.where(before >= 0, end[np.maximum(before, 0)], 0)
                since[mine] = np.maximum(since[mine], last)
                busy[mine] += covered_until(picked[mine], start, end)
                busy[mine] -= covered_until(posted[mine], start, end)
                if key.arm not in slow.poll_cycles:
                    costs = _poll_cycles(columns, here[:_SAMPLE])
                    slow.poll_cycles[key.arm] = costs
    slow.frame = frame.assign(since=since, busy=busy)


def _poll_cycles(columns: dict[str, Ints], rows: Ints) -> tuple[float, float]:
    flags = columns["flags"][rows]
    waited = columns["completed"][rows] - columns["posted"][rows]
    idle = np.zeros(len(rows), np.int64)
    idle[1:] = columns["picked"][rows][1:] - columns["executed"][rows][:-1]
    costs: list[float] = []
    for side, time in (("app", waited), ("service", idle)):
        polls = polls_of(flags, side)
        many = (polls >= _ENOUGH_POLLS) & (np.arange(len(rows)) > 0)
        costs.append(float(np.median(time[many] / polls[many])) if many.any() else float("nan"))
    return costs[0], costs[1]
