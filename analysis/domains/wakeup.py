# SPDX-License-Identifier: MIT
"""How one CPU wakes a thread on another, step by step, in both directions of each call.

A call of the transport `ipi` waits twice: until the service has been woken (stage poll), and until
the caller has (stage complete). Each wait is cut at the kernel's events: the waker asks, an
interrupt is sent, it arrives, the thread becomes runnable, the thread runs. Steps are keyed by
thread and by CPU, so one interrupt that serves several wake-ups is told from one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from memsc.analysis.data.requires import lossy, requires
from memsc.analysis.data.rounds import coded, rounds_in
from memsc.analysis.data.selection import Selection
from memsc.analysis.domains.wakeup_chains import (
    ARRIVALS,
    COLUMNS,
    DIRECTIONS,
    NEVER,
    PATHS,
    STEPS,
    Events,
    match,
)
from memsc.tracer.format import (
    CALLS,
    EVENTS,
    STAMPS,
    Part,
    RoundKey,
    TraceFolder,
    range_of,
    read_part,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEYS = ["arm", "case", "direction", "path"]
_BOUNDED_BY = {
    "ask": ("sched",),
    "send": ("sched", "ipi"),
    "deliver": ("ipi",),
    "wake": ("ipi", "sched"),
    "run": ("sched",),
    "pick": ("sched",),
}
"""Probes whose events begin or end a step."""


class Wakeup:
    """The wake-up chains of a trace.

    Args:
        folder: an opened trace.
        selection: which calls.
    """

    def __init__(self, folder: TraceFolder, selection: Selection) -> None:
        self._folder, self._selection = folder, selection

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        return self._folder

    @requires("sched", "ipi", what="the wake-up chain")
    def df_chain(self) -> pd.DataFrame:
        """Every wait of every call that sleeps, cut into its steps.

        Returns:
            Two rows per call of transport `ipi` (of other transports, for calls that slept or woke
            somebody): arm, case, round, tid, call (its place among the round's calls), direction
            ("poll" or "complete"), path (one of `PATHS`), matched (all events of that path are
            there), the `STEPS` in ns (NaN for a step that its path has not; they add up to the
            stage) and total_ns, the stage. Rounds in which events were lost are left out.

        Raises:
            MemscError: the trace lacks events of `sched` or `ipi`; it says which `--probes` bring
                them.

        Example:
            >>> frame = t.wakeup.df_chain()
            >>> frame.groupby("direction").size().to_dict()
            {'complete': 2744, 'poll': 2744}
        """
        parts = [part for part in self._chains() if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)

    @requires("sched", "ipi", what="the wake-up chain")
    def df_paths(self) -> pd.DataFrame:
        """How wake-ups got through, and how long each step took.

        Returns:
            One row per arm, case, direction and path: calls, share (of the direction's calls), the
            mean of each step and of the total in ns, and `below`: steps that are NaN because a hit
            of a probe that bounds them costs more, with commas between.

        Raises:
            MemscError: the trace lacks events of `sched` or `ipi`; it says which `--probes` bring
                them.

        Example:
            >>> frame = t.wakeup.df_paths().query("direction == 'complete'")
            >>> frame.nlargest(1, "calls")[["path", "calls"]].values.tolist()
            [['interrupt', 2710]]
        """
        sums, _ = self._totals
        times = [f"{name}_ns" for name in (*STEPS, "total")]
        if not len(sums):
            return pd.DataFrame(columns=[*_KEYS, "calls", "share", *times, "below"])
        frame = sums[times].div(sums[[f"{name}_n" for name in times]].set_axis(times, axis=1))
        whole = sums["calls"].groupby(level=[0, 1, 2], sort=False).transform("sum")
        frame = frame.assign(calls=sums["calls"], share=sums["calls"] / whole).reset_index()
        order = {path: i for i, path in enumerate(PATHS)}
        frame = frame.assign(rank=frame["path"].map(order), back=frame["direction"] != "poll")
        frame = frame.sort_values(["arm", "case", "back", "rank"], ascending=True)
        frame = frame[[*_KEYS, "calls", "share", *times]].reset_index(drop=True)
        below, cost = pd.Series("", frame.index, object), self._folder.session.perturbation
        for step, probes in _BOUNDED_BY.items():
            costs = [cost.hit_ns(probe) if cost else None for probe in probes]
            short = frame[f"{step}_ns"] < max((cost or 0.0 for cost in costs), default=0.0)
            frame.loc[short, f"{step}_ns"] = np.nan
            below[short] += f"{step}, "
        return frame.assign(below=below.str.removesuffix(", "))

    @requires("sched", "ipi", what="the wake-up chain")
    def df_matched(self) -> pd.DataFrame:
        """How many calls have their whole chain, both ways.

        Returns:
            One row per arm and case: calls, matched, share.

        Raises:
            MemscError: the trace lacks events of `sched` or `ipi`; it says which `--probes` bring
                them.

        Example:
            >>> t.wakeup.df_matched()[["arm", "calls", "matched"]].values.tolist()
            [['ipi', 2744, 2744]]
        """
        _, whole = self._totals
        frame = whole.assign(share=whole["matched"] / whole["calls"]).reset_index()
        return frame[["arm", "case", "calls", "matched", "share"]]

    @cached_property
    def _totals(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Sums over calls, a part at a time: of the steps by path, and of whole chains by case."""
        times = [f"{name}_ns" for name in (*STEPS, "total")]
        paths = [pd.DataFrame(columns=["calls", *times, *(f"{name}_n" for name in times)])]
        whole = [pd.DataFrame(columns=["calls", "matched"])]
        for chain in self._chains():
            groups = chain.groupby(_KEYS, sort=False)
            known = groups[times].count().add_suffix("_n")
            paths.append(groups[times].sum().join(known).assign(calls=groups.size()))
            both = chain.groupby(["arm", "case", "tid", "call"], sort=False)["matched"].all()
            of = both.groupby(level=[0, 1], sort=False)
            whole.append(pd.DataFrame({"calls": of.size(), "matched": of.sum()}))
        return _added(paths, _KEYS), _added(whole, _KEYS[:2])

    def plot_paths(self, case: str | None = None) -> Figure:
        """Draws `df_paths`: the mean steps of each way that wake-ups took.

        Args:
            case: which case; by default the first.

        Raises:
            MemscError: no such case, or no wake-up at all.

        Example:
            >>> t.wakeup.plot_paths().savefig(file)
        """
        from memsc.analysis.figures.wakeup import plot_paths  # noqa: PLC0415 (slow to import)

        return plot_paths(self.df_paths(), case)

    def _chains(self) -> Iterator[pd.DataFrame]:
        known = {
            r.key
            for r in self._folder.session.rounds
            if {"sched", "ipi"} <= set(r.probes) and r.check == self._selection.checks
        } - lossy(self._folder, "sched", "ipi")
        slept = {n for n, arm in self._folder.session.arms.items() if arm.transport == "ipi"}
        kept = ["arm", "case", "round", "tid", "flags", *STAMPS]
        spans = _spans(self._folder)
        counted: dict[RoundKey, int] = {}
        wanted = list({*kept, *self._selection.columns})
        for table in self._folder.batches(CALLS, wanted, slept):
            mask = self._selection.mask(table)
            for key, rows in rounds_in(table):
                if key not in known or key.arm not in slept:
                    continue
                at = np.arange(table.num_rows)[rows]
                first = counted.get(key, 0)
                counted[key] = first + len(at)
                place = np.arange(first, first + len(at))
                if mask is not None:
                    place, at = place[mask[at]], at[mask[at]]
                if not len(at):
                    continue
                columns = {name: table[name].to_numpy()[at] for name in kept[3:]}
                frame = pd.DataFrame(columns).assign(call=place)
                yield self._round(key, frame, spans)

    def _round(self, key: RoundKey, frame: pd.DataFrame, spans: _Spans) -> pd.DataFrame:
        clock = self._folder.session.clock
        for name in STAMPS:
            frame[name] = clock.ns(frame[name].to_numpy(np.int64))
        margin = clock.margin_ns
        span = int(frame["called"].min()) - 1_000_000, int(frame["completed"].max()) + margin
        events = _load(spans, *span)
        both = [match(frame, events, direction, margin) for direction in DIRECTIONS]
        chain = pd.concat(both, ignore_index=True)
        return chain.assign(arm=key.arm, case=key.case, round=key.round)[COLUMNS]


def _added(parts: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)] or parts[:1]
    if not len(parts[0]):
        index = pd.MultiIndex.from_arrays([[]] * len(keys), names=keys)
        return parts[0].set_axis(index)
    return pd.concat(parts).groupby(level=list(range(len(keys))), sort=False).sum()


# ---- reading ----


_Spans = dict[str, list[tuple[Part, tuple[int, int]]]]


def _spans(folder: TraceFolder) -> _Spans:
    """First and last time of each part of events; all of time where a footer does not tell."""
    return {
        probe: [
            (part, range_of(part, "time") or (0, NEVER))
            for part in folder.parts.get(f"{EVENTS}/{probe}", [])
        ]
        for probe in ("sched", "ipi")
    }


def _load(spans: _Spans, start: int, end: int) -> Events:
    kinds: dict[str, list[pd.DataFrame]] = {}
    for probe, columns in (
        ("sched", ["time", "cpu", "tid", "target_tid", "target_cpu", "kind"]),
        ("ipi", ["time", "cpu", "tid", "target_cpu", "kind"]),
    ):
        for part, (low, high) in spans[probe]:
            if high < start or low > end:
                continue
            table = read_part(part, columns)
            codes, names = coded(table, "kind")
            frame = table.drop_columns(["kind"]).to_pandas()
            inside = frame["time"].between(start, end).to_numpy()
            for code, name in enumerate(names):
                mine = frame[inside & (codes == code)]
                kinds.setdefault(name, []).append(mine)

    def of(*names: str) -> pd.DataFrame:
        found = [frame for name in names for frame in kinds.get(name, [])]
        empty = {
            n: pd.Series(dtype=np.int64) for n in ("time", "cpu", "tid", "target_tid", "target_cpu")
        }
        frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame(empty)
        return frame.sort_values("time", ignore_index=True, kind="stable")

    waking, wakeup = of("waking"), of("wakeup", "wakeup_new")
    return Events(waking, wakeup, of("switch"), of("send"), of("wake_idle"), of(*ARRIVALS))
