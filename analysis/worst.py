# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""The slowest calls one by one, and what the kernel did meanwhile: named, never deleted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.scan import chosen_rounds, coded, rounds_in, stages_of
from memsc.analysis.selection import Selection
from memsc.analysis.sketch import QUANTITIES
from memsc.tracer.format import CALLS, EVENTS, STAMPS, RoundKey, TraceFolder

CAUSES = ("preempted", "slept", "migrated", "service preempted", "interrupted")

_KEPT = ["arm", "case", "round", "pid", "tid", "syscall", "result", "app_cpu", "service_cpu"]
_COLUMNS = [*_KEPT, "start_s", *(f"{name}_ns" for name in QUANTITIES), "cause"]


def df_worst(
    trace: TraceFolder, selection: Selection, start_cycles: int, calls: int
) -> pd.DataFrame:
    """The slowest calls of each arm and case (see `memsc.analysis.tail.Tail.df_worst`)."""
    best: dict[tuple[str, str], pd.DataFrame] = {}
    for frame in _candidates(trace, selection, calls):
        for (arm, case), rows in frame.groupby(["arm", "case"]):
            key = (str(arm), str(case))
            known = [best[key], rows] if key in best else [rows]
            best[key] = pd.concat(known).nlargest(calls, "total")
    if not best:
        return pd.DataFrame(columns=_COLUMNS)
    frame = pd.concat(best.values(), ignore_index=True)
    frame["cause"] = _causes(trace, frame)
    ns = trace.session.clock.ns_per_cycle
    frame["start_s"] = (frame["called"] - start_cycles) * ns * 1e-9
    for name in QUANTITIES:
        frame[f"{name}_ns"] = frame[name] * ns
    return frame[_COLUMNS]


def _candidates(trace: TraceFolder, selection: Selection, calls: int) -> Iterator[pd.DataFrame]:
    rounds = chosen_rounds(trace, selection)
    for part in trace.batches(CALLS, [*_KEPT, *STAMPS]):
        mask = selection.mask(part)
        table = part if mask is None else part.filter(pa.array(mask))
        if not table.num_rows:
            continue
        stages = stages_of(table)
        for key, rows in rounds_in(table):
            if rounds is not None and key not in rounds:
                continue
            at = np.arange(table.num_rows)[rows]
            if len(at) > calls:
                at = at[np.argpartition(stages[-1][at], -calls)[-calls:]]
            frame = table.take(at).to_pandas()
            frame = frame.astype({"arm": object, "case": object, "syscall": object})
            yield frame.assign(**dict(zip(QUANTITIES, stages[:, at], strict=True)))


def _causes(trace: TraceFolder, calls: pd.DataFrame) -> list[str]:
    known = {r.key: set(r.probes) for r in trace.session.rounds}
    keys = calls[["arm", "case", "round"]].itertuples(index=False)
    probed = [bool(known.get(RoundKey(*key), set()) & {"sched", "ipi"}) for key in keys]
    found = {cause: np.zeros(len(calls), np.bool_) for cause in CAUSES}
    for probe, mark in (("sched", _sched), ("ipi", _ipi)):
        for table in trace.batches(f"{EVENTS}/{probe}"):
            mark(table, _Calls(trace, calls), found)
    return [
        " + ".join(cause for cause in CAUSES if found[cause][i])
        or ("unexplained" if probed[i] else "no probes")
        for i in range(len(calls))
    ]


class _Calls:
    """The few calls asked about, against many events."""

    def __init__(self, trace: TraceFolder, calls: pd.DataFrame) -> None:
        clock = trace.session.clock
        stamps = {name: calls[name].to_numpy(np.int64) for name in ("called", "completed")}
        self.start, self.end = clock.ns(stamps["called"]), clock.ns(stamps["completed"])
        self.tid = calls["tid"].to_numpy(np.int64)
        self.app_cpu = calls["app_cpu"].to_numpy(np.int64)
        self.service_cpu = calls["service_cpu"].to_numpy(np.int64)

    def during(self, table: pa.Table, **equal: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which calls saw an event of the table whose columns equal the call's."""
        time = np.sort(table["time"].to_numpy())
        first, last = np.searchsorted(time, self.start), np.searchsorted(time, self.end, "right")
        seen = last > first
        # Few calls have any event at all; those are looked at one by one.
        order = np.argsort(table["time"].to_numpy(), kind="stable")
        columns = {name: table[name].to_numpy()[order] for name in equal}
        for i in np.flatnonzero(seen):
            rows = slice(first[i], last[i])
            fits = [columns[name][rows] == values[i] for name, values in equal.items()]
            seen[i] = bool(np.logical_and.reduce(fits).any())
        return seen


def _sched(table: pa.Table, calls: _Calls, found: dict[str, NDArray[np.bool_]]) -> None:
    runnable = np.isin(table["state"].to_numpy(), (0, 256))
    switch = _kind(table, "switch")
    left = {"tid": calls.tid}
    found["preempted"] |= calls.during(table.filter(pa.array(switch & runnable)), **left)
    found["slept"] |= calls.during(table.filter(pa.array(switch & ~runnable)), **left)
    migrated = table.filter(pa.array(_kind(table, "migrate")))
    found["migrated"] |= calls.during(migrated, target_tid=calls.tid)
    served = calls.during(table.filter(pa.array(switch & runnable)), cpu=calls.service_cpu)
    found["service preempted"] |= served & (calls.service_cpu != calls.app_cpu)


def _ipi(table: pa.Table, calls: _Calls, found: dict[str, NDArray[np.bool_]]) -> None:
    names = [name for name in coded(table, "kind")[1] if name.endswith("_entry")]
    taken = table.filter(pa.array(_kind(table, *names)))
    for cpu in (calls.app_cpu, calls.service_cpu):
        found["interrupted"] |= calls.during(taken, cpu=cpu)


def _kind(table: pa.Table, *wanted: str) -> NDArray[np.bool_]:
    codes, names = coded(table, "kind")
    return np.isin(codes, [code for code, name in enumerate(names) if name in wanted])
