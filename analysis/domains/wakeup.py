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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.requires import lossy, requires
from memsc.analysis.data.rounds import coded, rounds_in
from memsc.analysis.data.selection import Selection
from memsc.analysis.domains.wakeup_chains import (
    DIRECTIONS,
    NEVER,
    PATHS,
    STEPS,
    Chain,
    Columns,
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
from memsc.tracer.format.arrays import numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEYS = ["arm", "case", "direction", "path"]
_TIMES = [*(f"{step}_ns" for step in STEPS), "total_ns"]
_COLUMNS = ["arm", "case", "round", "tid", "call", "direction", "path", "matched", *_TIMES]
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
        parts = [found.frame(direction) for found in self._chains() for direction in DIRECTIONS]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)

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
        times = _TIMES
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
        paths: list[dict[str, Any]] = []
        whole: list[dict[str, Any]] = []
        for found in self._chains():
            of = {"arm": found.key.arm, "case": found.key.case}
            for direction, chain in found.chains.items():
                times = np.vstack([chain.steps, chain.total])
                for path in np.flatnonzero(np.bincount(chain.path)).tolist():
                    mine = times[:, chain.path == path]
                    known = (~np.isnan(mine)).sum(axis=1)
                    named = [f"{name}_n" for name in _TIMES]
                    row = of | {"direction": direction, "path": PATHS[path], "calls": mine.shape[1]}
                    row |= dict(zip(_TIMES, np.nansum(mine, axis=1).tolist(), strict=True))
                    paths.append(row | dict(zip(named, known.tolist(), strict=True)))
            both = np.logical_and.reduce([chain.matched for chain in found.chains.values()])
            whole.append(of | {"calls": len(both), "matched": int(both.sum())})
        counts = [f"{name}_n" for name in _TIMES]
        return _added(paths, _KEYS, ["calls", *_TIMES, *counts]), _added(
            whole, _KEYS[:2], ["calls", "matched"]
        )

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

    def _chains(self) -> Iterator[_Found]:
        slept = {n for n, arm in self._folder.session.arms.items() if arm.transport == "ipi"}
        known = {
            r.key
            for r in self._folder.session.rounds
            if {"sched", "ipi"} <= set(r.probes)
            and r.check == self._selection.checks
            and r.arm in slept
        } - lossy(self._folder, "sched", "ipi")
        kept = ["arm", "case", "round", "tid", "flags", *STAMPS]
        events = _Events(self._folder)
        counted: dict[RoundKey, int] = {}
        wanted = list({*kept, *self._selection.columns})
        for table in self._folder.batches(CALLS, wanted, known):
            mask = self._selection.mask(table)
            for key, rows in rounds_in(table):
                if key not in known:
                    continue
                at = np.arange(table.num_rows)[rows]
                first = counted.get(key, 0)
                counted[key] = first + len(at)
                place = np.arange(first, first + len(at))
                if mask is not None:
                    place, at = place[mask[at]], at[mask[at]]
                if not len(at):
                    continue
                columns = {name: numbers(table[name])[at] for name in kept[3:]}
                yield self._round(key, place, columns, events)

    def _round(self, key: RoundKey, place: Ints, calls: dict[str, Ints], events: _Events) -> _Found:
        clock = self._folder.session.clock
        for name in STAMPS:
            calls[name] = clock.ns(calls[name])
        margin = clock.margin_ns
        span = int(calls["called"].min()) - 1_000_000, int(calls["completed"].max()) + margin
        here = events.between(*span)
        chains = {direction: match(calls, here, direction, margin) for direction in DIRECTIONS}
        return _Found(key, calls["tid"], place, chains)


class _Found(NamedTuple):
    """The chains of some calls of one round."""

    key: RoundKey
    tid: Ints
    call: Ints
    chains: dict[str, Chain]

    def frame(self, direction: str) -> pd.DataFrame:
        """As `Wakeup.df_chain` has them."""
        chain, key = self.chains[direction], self.key
        columns = {"arm": key.arm, "case": key.case, "round": key.round}
        columns |= {"tid": self.tid, "call": self.call, "direction": direction}
        columns |= {"path": np.array(PATHS, object)[chain.path], "matched": chain.matched}
        columns |= dict(zip(_TIMES, [*chain.steps, chain.total], strict=True))
        return pd.DataFrame(columns)


def _added(rows: list[dict[str, Any]], keys: list[str], sums: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[*keys, *sums])
    return frame.groupby(keys, sort=False)[sums].sum()


# ---- reading ----

_READ = {
    "sched": ["time", "cpu", "tid", "target_tid", "target_cpu"],
    "ipi": ["time", "cpu", "target_cpu"],
}


class _Events:
    """Reads events of one time after another; a part that two times share is read once."""

    def __init__(self, folder: TraceFolder) -> None:
        # First and last time of each part; all of time where a footer does not tell.
        self._spans: list[tuple[Part, str, tuple[int, int]]] = [
            (part, probe, range_of(part, "time") or (0, NEVER))
            for probe in _READ
            for part in folder.parts.get(f"{EVENTS}/{probe}", [])
        ]
        self._held: dict[Part, dict[str, Columns]] = {}

    def between(self, start: int, end: int) -> Events:
        """The events from one time to another, both included."""
        wanted = [one for one in self._spans if one[2][0] <= end and one[2][1] >= start]
        self._held = {
            part: held for part, _, _ in wanted if (held := self._held.get(part)) is not None
        }
        kinds: dict[str, list[Columns]] = {}
        for part, probe, _ in wanted:
            if part not in self._held:
                self._held[part] = _by_kind(read_part(part, [*_READ[probe], "kind"]))
            for kind, columns in self._held[part].items():
                first = int(np.searchsorted(columns["time"], start, "left"))
                last = int(np.searchsorted(columns["time"], end, "right"))
                of_time = {name: values[first:last] for name, values in columns.items()}
                kinds.setdefault(kind, []).append(of_time)
        return Events(kinds)


def _by_kind(table: pa.Table) -> dict[str, Columns]:
    """Events by kind, each by time."""
    codes, kinds = coded(table, "kind")
    columns = {name: numbers(table[name]) for name in table.column_names if name != "kind"}
    found: dict[str, Columns] = {}
    for code, kind in enumerate(kinds):
        at = np.flatnonzero(codes == code)
        if len(at):
            at = at[np.argsort(columns["time"][at], kind="stable")]
            found[kind] = {name: values[at] for name, values in columns.items()}
    return found
