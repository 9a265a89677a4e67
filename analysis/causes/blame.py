# SPDX-License-Identifier: MIT
"""The slow calls of a trace and the cause of each: which calls are slow, and what is usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.causes.attribution import attribute
from memsc.analysis.causes.intervals import Found, has_noise
from memsc.analysis.causes.shares import LOST, NO_PROBES, UNEXPLAINED, Shares, Usual
from memsc.analysis.causes.slow import Calls, Keep, Slow, gather
from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.modes import MODES, WAIT
from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.requires import lossy
from memsc.analysis.data.scan import ALL, Cell, Cells
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.sketch import QUANTITIES, Sketch
from memsc.analysis.data.statistics import SAMPLES_ABOVE
from memsc.tracer.format import FLAGS, STAGES, RoundKey, TraceFolder

TAILS = {"p99": 0.99, "p999": 0.999}
"""Bands whose calls get causes: those above these percentiles of their arm, case and mode."""

MOST = 100_000
"""Slow calls of an arm and case that are looked at one by one: of more, only every n-th."""

# What of an execution's spread makes it the same work every time: p99 within so many medians.
_STEADY = 4.0
_TELLING = 1000
"""Calls of a round whose median is worth a comparison with that of all."""
_LEAD = ["arm", "case", "mode", "round", "pid", "tid", "syscall", "result"]
_TIMES = [f"{name}_ns" for name in QUANTITIES]
COLUMNS = [
    *(*_LEAD, "start_s", *_TIMES, "app_cpu", "service_cpu"),
    *("above", "cause", "cause_ns", "side", "stage"),
]


class Blamed(NamedTuple):
    """Slow calls with their causes.

    Attributes:
        frame: one row per call: `COLUMNS`, called and completed in ns of CLOCK_MONOTONIC, and idle:
            it is known to have waited for others.
        shares: the parts of each call's excess.
        found: the events around them.
    """

    frame: pd.DataFrame
    shares: Shares
    found: Found


class Blame:
    """Finds slow calls and their causes.

    Args:
        trace: an opened trace.
        selection: which calls.
        cells: gives the sketches of the selection.
        start_cycles: time 0 of `start_s`.
    """

    def __init__(
        self,
        trace: TraceFolder,
        selection: Selection,
        cells: Callable[[], Cells],
        start_cycles: int,
    ) -> None:
        self._trace, self._selection = trace, selection
        self._cells, self._start = cells, start_cycles

    @cached_property
    def whole(self) -> dict[Cell, Sketch]:
        """Every cell's calls together."""
        cells = self._cells()
        return {cell: cells.whole(cell) for cell in cells.sketches}

    @cached_property
    def every(self) -> dict[tuple[str, str], int]:
        """By arm and case: n, where every n-th of its slow calls is looked at; 1: each.

        Memory is bounded by it. Those looked at are spread evenly over time, so shares hold.
        """
        slow: Counter[tuple[str, str]] = Counter()
        for cell, sketch in self.whole.items():
            if cell.syscall == ALL and cell.mode != WAIT:
                slow[cell.arm, cell.case] += sketch.histograms[-1].above(TAILS["p99"])
        return {key: -(-count // MOST) or 1 for key, count in slow.items()}

    @cached_property
    def tail(self) -> Blamed:
        """Calls above p99 of their arm, case and mode, where at least 20 are (see `every`).

        Calls that wait are not looked at: why nothing happened for long is not the calls' matter.
        """
        edges = {
            (cell.arm, cell.case, MODES.index(cell.mode)): self._edge(sketch, TAILS["p99"])
            for cell, sketch in self.whole.items()
            if cell.syscall == ALL and cell.mode != WAIT
        }

        seen: Counter[tuple[str, str]] = Counter()

        def keep(key: RoundKey, calls: Calls, total: Ints) -> Ints:
            of_modes = np.array([edges.get((*key[:2], i), np.inf) for i in range(len(MODES))])
            slow = np.flatnonzero(total > of_modes.min())
            slow = slow[total[slow] > of_modes[calls.mode[slow]]]
            of = key.arm, key.case
            every, before = self.every.get(of, 1), seen[of]
            seen[of] += len(slow)
            return slow[-before % every :: every]

        return self._blamed(keep)

    def worst(self, calls: int) -> Blamed:
        """The slowest calls of each arm and case; none that is known to have waited for others."""
        wanted = {(cell.arm, cell.case): calls for cell in self.whole}
        tail = self.tail
        best = tail.frame[~tail.frame["idle"].astype(bool)].sort_values(
            "total_ns", ascending=False, kind="stable"
        )
        best = best.groupby(["arm", "case"], sort=False).head(calls)
        whole = set(self.every.values()) <= {1}
        if whole and best.groupby(["arm", "case"]).size().to_dict() == wanted:
            return _some(tail, best.index.to_numpy(np.int64))
        floor: dict[tuple[str, str], list[int]] = {}

        def keep(key: RoundKey, of: Calls, total: Ints) -> Ints:
            at = np.flatnonzero(~of.idle)
            if len(at) > calls:
                at = np.sort(at[np.argpartition(total[at], -calls)[-calls:]])
            # What so many faster calls were kept for already does not have to be kept.
            known = floor.setdefault((key.arm, key.case), [])
            least = sorted(known)[-calls] if len(known) >= calls else -1
            known += total[at].tolist()
            return at[total[at] >= least]

        def cut(slow: Slow) -> Slow:
            best = slow.frame.sort_values("total", ascending=False, kind="stable")
            best = best.groupby(["arm", "case"], sort=False).head(calls)
            return Slow(best.reset_index(drop=True), slow.poll_cycles)

        return self._blamed(keep, cut)

    def _edge(self, sketch: Sketch, q: float) -> float:
        if self._trace.session.snapshot:
            return float("inf")  # of chosen calls no percentile is known
        histogram = sketch.histograms[-1]
        return histogram.ceiling(q) if histogram.above(q) >= SAMPLES_ABOVE else float("inf")

    def _blamed(self, keep: Keep, cut: Callable[[Slow], Slow] = lambda slow: slow) -> Blamed:
        slow = cut(gather(self._trace, self._selection, keep))
        frame = slow.frame
        shares, found = attribute(self._trace, slow, self._usual(frame))
        out = pd.concat([frame, shares.main(len(frame))], axis=1)
        useful = {"noise", "sched", "ipi"}
        probed = {r.key for r in self._trace.session.rounds if useful & set(r.probes)}
        out.loc[(out["cause"] == UNEXPLAINED) & ~_of_rounds(frame, probed), "cause"] = NO_PROBES
        rests_on = ["noise"] if has_noise(self._trace) else ["sched", "ipi"]
        out.loc[_of_rounds(frame, lossy(self._trace, *rests_on)), "cause"] = LOST
        clock = self._trace.session.clock
        called = out["called"].to_numpy(np.int64)
        out["start_s"] = (called - self._start) * clock.ns_per_cycle * 1e-9
        for name in QUANTITIES:
            out[f"{name}_ns"] = out[name].to_numpy(np.int64) * clock.ns_per_cycle
        out["above"] = self._above(out)
        for name in ("called", "completed"):
            out[name] = clock.ns(out[name].to_numpy(np.int64))
        return Blamed(out[[*COLUMNS, "called", "completed", "idle"]], shares, found)

    def _above(self, frame: pd.DataFrame) -> list[str]:
        """The highest band each call is in, "" for none."""
        above = np.full(len(frame), "", object)
        groups: Any = frame.groupby(["arm", "case", "mode"], sort=False).indices
        for (arm, case, mode), rows in groups.items():
            sketch = self.whole.get(Cell(arm, case, ALL, mode))
            for name, q in TAILS.items():
                edge = self._edge(sketch, q) if sketch else float("inf")
                total = frame["total"].to_numpy(np.int64)[rows]
                above[rows[total > edge]] = name
        return above.tolist()

    def _usual(self, frame: pd.DataFrame) -> Usual:
        stages, slower = np.zeros((2, len(STAGES), len(frame)))
        steady, flags = np.zeros(len(frame), np.bool_), np.zeros(len(frame), np.int64)
        ns = self._trace.session.clock.ns_per_cycle
        groups: Any = frame.groupby(["arm", "case", "syscall", "mode"], sort=False).indices
        for key, rows in groups.items():
            sketch = self.whole.get(Cell(*key))
            if sketch is None:
                continue
            stages[:, rows] = _medians(sketch)[:, None] * ns
            number = frame["round"].to_numpy(np.int64)[rows]
            for one in distinct(number):
                mine = self._cells().of_round(Cell(*key), int(one))
                if mine.n >= _TELLING:
                    longer = (_medians(mine) - _medians(sketch)).clip(0) * ns
                    slower[:, rows[number == one]] = longer[:, None]
            execute = sketch.histograms[STAGES.index("execute")]
            steady[rows] = execute.quantile(0.99) <= _STEADY * execute.quantile(0.5)
            often = sketch.flags > sketch.n / 2
            flags[rows] = sum(
                bit for bit, common in zip(FLAGS.values(), often, strict=True) if common
            )
        return Usual(stages, slower, steady, flags)


def _medians(sketch: Sketch) -> NDArray[np.float64]:
    return np.array([histogram.quantile(0.5) for histogram in sketch.histograms[:-1]])


def _of_rounds(frame: pd.DataFrame, rounds: Collection[RoundKey]) -> NDArray[np.bool_]:
    keys = frame[["arm", "case", "round"]].itertuples(index=False)
    return np.array([RoundKey(*key) in rounds for key in keys], np.bool_)


def _some(blamed: Blamed, rows: Ints) -> Blamed:
    frame = blamed.shares.frame
    place = pd.Series(np.arange(len(rows)), index=rows)
    kept = frame[frame["call"].isin(rows)]
    kept = kept.assign(call=place.loc[kept["call"].to_numpy()].to_numpy())
    shares = Shares(kept, blamed.shares.delivery_ns)
    return Blamed(blamed.frame.iloc[rows].reset_index(drop=True), shares, blamed.found)


def df_causes(blame: Blame) -> pd.DataFrame:
    """How many slow calls have which cause.

    Returns:
        One row per arm, case, mode, band ("p99": above p99, "p999": above p99.9) and cause, most
        frequent first: calls, share (of the band), mean_ns (of the cause's part of them),
        total_ns (the mean total of these calls) and every (1: each slow call was looked at; where
        there are more than `MOST`, only every n-th, and `calls` are those).
    """
    frame = blame.tail.frame
    rows: list[dict[str, Any]] = []
    keys = ["arm", "case", "mode"]
    for band in TAILS:
        inside = frame[frame["above"] == "p999"] if band == "p999" else frame[frame["above"] != ""]
        for key, mine in inside.groupby(keys, sort=False):
            for cause, calls in mine.groupby("cause", sort=False):
                figures = {
                    "band": band,
                    "cause": cause,
                    "calls": len(calls),
                    "share": len(calls) / len(mine),
                    "mean_ns": calls["cause_ns"].mean(),
                    "total_ns": calls["total_ns"].mean(),
                    "every": blame.every[str(mine["arm"].iloc[0]), str(mine["case"].iloc[0])],
                }
                rows.append(dict(zip(keys, key, strict=True)) | figures)
    columns = [*keys, "band", "cause", "calls", "share", "mean_ns", "total_ns", "every"]
    out = pd.DataFrame(rows, columns=columns)
    return out.sort_values(
        [*keys, "band", "calls"], ascending=[True] * 4 + [False], kind="stable", ignore_index=True
    )
