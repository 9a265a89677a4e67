# SPDX-License-Identifier: MIT
# pyarrow's and pandas' published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""How one CPU wakes a thread on another, step by step, in both directions of each call.

A call of the transport `ipi` waits twice: until the service has been woken (stage poll), and until
the caller has (stage complete). Each wait is cut at the kernel's events: the waker asks, an
interrupt is sent, it arrives, the thread becomes runnable, the thread runs. Steps are keyed by
thread and by CPU, so one interrupt that serves several wake-ups is told from one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.overlap import Ints
from memsc.analysis.requires import lossy, requires
from memsc.analysis.scan import coded, rounds_in
from memsc.analysis.selection import Selection
from memsc.tracer.format import (
    CALLS,
    EVENTS,
    FLAGS,
    STAMPS,
    Part,
    RoundKey,
    TraceFolder,
    range_of,
    read_part,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = ("ask", "send", "deliver", "wake", "run", "pick")
"""Until the waker asks, an interrupt is sent, it arrives, the thread may run, runs, goes on."""

INTERRUPT, POLLED, JOINED, AWAKE, LOCAL, NO_SLEEP, BROKEN = (
    "interrupt",
    "idle CPU polled",
    "joined an interrupt",
    "still awake",
    "same CPU",
    "did not sleep",
    "not matched",
)
PATHS = (INTERRUPT, POLLED, JOINED, AWAKE, LOCAL, NO_SLEEP, BROKEN)
_DIRECTIONS = {"poll": ("posted", "picked"), "complete": ("executed", "completed")}
_ARRIVALS = ("reschedule_entry", "call_function_single_entry")
_COLUMNS = [
    *("arm", "case", "round", "tid", "call", "direction", "path", "matched"),
    *(f"{step}_ns" for step in STEPS),
    "total_ns",
]
_NEVER = 1 << 62


class _Events(NamedTuple):
    """The events of some time, by kind."""

    waking: pd.DataFrame
    wakeup: pd.DataFrame
    switch: pd.DataFrame
    send: pd.DataFrame
    polled: pd.DataFrame
    arrived: pd.DataFrame


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
        """
        parts = [part for part in self._chains() if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)

    @requires("sched", "ipi", what="the wake-up chain")
    def df_paths(self) -> pd.DataFrame:
        """How wake-ups got through, and how long each step took.

        Returns:
            One row per arm, case, direction and path: calls, share (of the direction's calls), the
            mean of each step and of the total in ns.
        """
        keys = ["arm", "case", "direction", "path"]
        times = [*(f"{step}_ns" for step in STEPS), "total_ns"]
        chain = self.df_chain()
        if not len(chain):
            return pd.DataFrame(columns=[*keys, "calls", "share", *times])
        means = chain.groupby(keys, sort=False)[times].mean()
        calls = chain.groupby(keys, sort=False).size()
        whole = calls.groupby(level=[0, 1, 2], sort=False).transform("sum")
        frame = means.assign(calls=calls, share=calls / whole).reset_index()
        order = {path: i for i, path in enumerate(PATHS)}
        frame = frame.assign(rank=frame["path"].map(order))
        frame = frame.sort_values(["arm", "case", "direction", "rank"], ascending=True)
        return frame[[*keys, "calls", "share", *times]].reset_index(drop=True)

    @requires("sched", "ipi", what="the wake-up chain")
    def df_matched(self) -> pd.DataFrame:
        """How many calls have their whole chain, both ways.

        Returns:
            One row per arm and case: calls, matched, share.
        """
        chain = self.df_chain()
        if not len(chain):
            return pd.DataFrame(columns=["arm", "case", "calls", "matched", "share"])
        keys = ["arm", "case", "round", "tid", "call"]
        whole = chain.groupby(keys, sort=False)["matched"].all().groupby(level=[0, 1], sort=False)
        frame = pd.DataFrame({"calls": whole.size(), "matched": whole.sum(), "share": whole.mean()})
        return frame.reset_index()

    def plot_paths(self, case: str | None = None) -> Figure:
        """Draws `df_paths`: the mean steps of each way that wake-ups took.

        Args:
            case: which case; by default the first.

        Raises:
            MemscError: no such case, or no wake-up at all.
        """
        from memsc.analysis.slow_plots import plot_paths  # noqa: PLC0415 (slow to import)

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
        for table in self._folder.batches(CALLS, list({*kept, *self._selection.columns})):
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
                yield from self._round(key, frame, spans)

    def _round(self, key: RoundKey, frame: pd.DataFrame, spans: _Spans) -> Iterator[pd.DataFrame]:
        clock = self._folder.session.clock
        for name in STAMPS:
            frame[name] = clock.ns(frame[name].to_numpy(np.int64))
        margin = int(np.ceil((clock.residual_ns or 0) + (clock.skew_bound_ns or 0)))
        span = int(frame["called"].min()) - 1_000_000, int(frame["completed"].max()) + margin
        events = _load(spans, *span)
        for direction in _DIRECTIONS:
            chain = _match(frame, events, direction, margin)
            chain = chain.assign(arm=key.arm, case=key.case, round=key.round)
            yield chain[_COLUMNS]


# ---- reading ----


_Spans = dict[str, list[tuple[Part, tuple[int, int]]]]


def _spans(folder: TraceFolder) -> _Spans:
    """First and last time of each part of events; all of time where a footer does not tell."""
    return {
        probe: [
            (part, range_of(part, "time") or (0, _NEVER))
            for part in folder.parts.get(f"{EVENTS}/{probe}", [])
        ]
        for probe in ("sched", "ipi")
    }


def _load(spans: _Spans, start: int, end: int) -> _Events:
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
    return _Events(waking, wakeup, of("switch"), of("send"), of("wake_idle"), of(*_ARRIVALS))


# ---- matching ----


class _Keyed:
    """Events of one kind, found by a key and a time."""

    def __init__(self, key: pd.Series | Ints, time: pd.Series | Ints) -> None:
        keys, times = np.asarray(key, np.int64), np.asarray(time, np.int64)
        self._origin = int(times.min()) if len(times) else 0
        # A thread's number has 22 bits at most, so 42 hold an hour and more of nanoseconds.
        self._order = np.lexsort((times, keys))
        self._packed = self._pack(keys, times)[self._order]
        self._times, self._keys = times[self._order], keys[self._order]

    def _pack(self, key: Ints, time: Ints) -> Ints:
        return (key << 42) + np.clip(time - self._origin, 0, (1 << 42) - 1)

    def first(self, key: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Row and time of the first at or after start, not after end; -1 and `_NEVER` for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), _NEVER)
        at = np.searchsorted(self._packed, self._pack(key, start), "left")
        safe = np.minimum(at, len(self._packed) - 1)
        time = self._times[safe]
        good = (
            (at < len(self._packed)) & (self._keys[safe] == key) & (time >= start) & (time <= end)
        )
        return np.where(good, self._order[safe], -1), np.where(good, time, _NEVER)

    def last(self, key: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Row and time of the last before a time; -1 and -1 for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), -1)
        at = np.searchsorted(self._packed, self._pack(key, before), "left") - 1
        safe = np.maximum(at, 0)
        good = (at >= 0) & (self._keys[safe] == key) & (self._times[safe] < before)
        return np.where(good, self._order[safe], -1), np.where(good, self._times[safe], -1)


def _match(frame: pd.DataFrame, events: _Events, direction: str, margin: int) -> pd.DataFrame:
    first, last = _DIRECTIONS[direction]
    start = frame[first].to_numpy(np.int64) - margin
    end = frame[last].to_numpy(np.int64) + margin
    caller = frame["tid"].to_numpy(np.int64)
    waking = events.waking
    # Towards the service the waker is known, back the woken.
    by = "tid" if direction == "poll" else "target_tid"
    row, asked = _Keyed(waking[by], waking["time"]).first(caller, start, end)
    was = row >= 0
    at = np.maximum(row, 0)
    names = ("target_tid", "target_cpu", "cpu")
    woken, cpu, waker_cpu = (
        waking[name].to_numpy(np.int64)[at] if len(waking) else at for name in names
    )
    after = np.where(was, asked, _NEVER)
    _, runnable = _Keyed(events.wakeup["target_tid"], events.wakeup["time"]).first(
        woken, after, end
    )
    _, runs = _Keyed(events.switch["target_tid"], events.switch["time"]).first(woken, after, end)
    # The wake-up decides where the thread runs: a send after it may be for somebody else.
    known = np.minimum(np.where(runnable < _NEVER, runnable, end), end)
    send = _Keyed(events.send["target_cpu"], events.send["time"])
    arrived = _Keyed(events.arrived["cpu"], events.arrived["time"])
    _, sent = send.first(cpu, after, np.maximum(known, after))
    late = (sent == _NEVER) & was
    # A CPU that already runs the thread's queue is told after the thread became runnable.
    _, told = send.first(cpu, after, end)
    sent = np.where(late, told, sent)
    _, entered = arrived.first(cpu, np.where(sent < _NEVER, sent, _NEVER), end)
    _, spared = _Keyed(events.polled["target_cpu"], events.polled["time"]).first(cpu, after, end)
    turns = _Turns(events.switch)
    if direction == "poll":
        # Of the service the runtime knows whether it had parked.
        stayed = (frame["flags"].to_numpy(np.int64) & FLAGS["woke"]) == 0
    else:
        stayed = turns.stayed(caller, frame["posted"].to_numpy(np.int64), end)
    steps = _Steps(was, woken, cpu, waker_cpu, asked, sent, entered, spared, runnable, runs)
    path = _paths(steps, _Earlier(send, arrived), turns, stayed, end)
    return _rows(frame, direction, path, (asked, sent, entered, runnable, runs))


class _Steps(NamedTuple):
    was: NDArray[np.bool_]
    woken: Ints
    cpu: Ints
    waker_cpu: Ints
    asked: Ints
    sent: Ints
    entered: Ints
    spared: Ints
    runnable: Ints
    runs: Ints


class _Earlier(NamedTuple):
    sent: _Keyed
    arrived: _Keyed


class _Turns:
    """When threads left their CPU and came back."""

    def __init__(self, switch: pd.DataFrame) -> None:
        self._out = _Keyed(switch["tid"], switch["time"])
        self._in = _Keyed(switch["target_tid"], switch["time"])

    def asleep(self, tid: Ints, at: Ints) -> NDArray[np.bool_]:
        """Whether a thread's last switch before a time was off its CPU."""
        return self._out.last(tid, at)[1] > self._in.last(tid, at)[1]

    def stayed(self, tid: Ints, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Whether a thread did not leave its CPU between two times."""
        return self._out.first(tid, start, end)[0] < 0


def _paths(
    steps: _Steps, earlier: _Earlier, turns: _Turns, stayed: NDArray[np.bool_], end: Ints
) -> NDArray[np.object_]:
    asked = np.where(steps.was, steps.asked, 0)
    full = steps.was & (steps.runnable < _NEVER) & (steps.runs < _NEVER)
    # No send of its own: one that was on its way already, or being handled, served this too.
    arriving = earlier.arrived.first(steps.cpu, asked, end)[1] < _NEVER
    handling = earlier.arrived.last(steps.cpu, asked)[1] >= earlier.sent.last(steps.cpu, asked)[1]
    path = np.full(len(end), BROKEN, object)
    path[full & (arriving | handling)] = JOINED
    path[full & (steps.spared < _NEVER)] = POLLED
    path[full & (steps.sent < _NEVER) & (steps.entered < _NEVER)] = INTERRUPT
    path[full & (steps.cpu == steps.waker_cpu)] = LOCAL
    # It had announced its sleep, and was still about to begin it.
    awake = steps.was & (steps.runs == _NEVER) & ~turns.asleep(steps.woken, asked)
    path[awake] = AWAKE
    path[~steps.was & stayed] = NO_SLEEP
    return path


def _rows(
    frame: pd.DataFrame, direction: str, path: NDArray[np.object_], times: tuple[Ints, ...]
) -> pd.DataFrame:
    first, last = _DIRECTIONS[direction]
    start, end = frame[first].to_numpy(np.int64), frame[last].to_numpy(np.int64)
    out = frame[["tid", "call"]].assign(direction=direction, path=path, matched=path != BROKEN)
    uses = {
        INTERRUPT: (0, 1, 2, 3, 4),
        POLLED: (0, 3, 4),
        JOINED: (0, 3, 4),
        LOCAL: (0, 3, 4),
        AWAKE: (0, 3),
    }
    before = start.copy()
    for i, step in enumerate(STEPS[:-1]):
        has = np.isin(path.astype(str), [p for p, steps in uses.items() if i in steps])
        has &= times[i] < _NEVER
        # Clocks differ by tens of nanoseconds at the edges: a step is never negative.
        at = np.clip(times[i], before, end)
        out[f"{step}_ns"] = np.where(has, at - before, np.nan)
        before = np.where(has, at, before)
    out["pick_ns"] = (end - before).astype(np.float64)
    out["total_ns"] = (end - start).astype(np.float64)
    return out
