# SPDX-License-Identifier: MIT
"""Matches the waits of calls to the kernel's events of one wake-up each: the chain, and its steps.

Keyed by thread, who is woken, and by CPU, where the interrupt goes: so one interrupt that serves
several wake-ups is told from one that is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.overlap import Ints
from memsc.tracer.format import FLAGS

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
DIRECTIONS = {"poll": ("posted", "picked"), "complete": ("executed", "completed")}
ARRIVALS = ("reschedule_entry", "call_function_single_entry")
COLUMNS = [
    *("arm", "case", "round", "tid", "call", "direction", "path", "matched"),
    *(f"{step}_ns" for step in STEPS),
    "total_ns",
]
NEVER = 1 << 62


class Events(NamedTuple):
    """The events of some time, by kind."""

    waking: pd.DataFrame
    wakeup: pd.DataFrame
    switch: pd.DataFrame
    send: pd.DataFrame
    polled: pd.DataFrame
    arrived: pd.DataFrame


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
        """Row and time of the first at or after start, not after end; -1 and `NEVER` for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), NEVER)
        at = np.searchsorted(self._packed, self._pack(key, start), "left")
        safe = np.minimum(at, len(self._packed) - 1)
        time = self._times[safe]
        good = (
            (at < len(self._packed)) & (self._keys[safe] == key) & (time >= start) & (time <= end)
        )
        return np.where(good, self._order[safe], -1), np.where(good, time, NEVER)

    def last(self, key: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Row and time of the last before a time; -1 and -1 for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), -1)
        at = np.searchsorted(self._packed, self._pack(key, before), "left") - 1
        safe = np.maximum(at, 0)
        good = (at >= 0) & (self._keys[safe] == key) & (self._times[safe] < before)
        return np.where(good, self._order[safe], -1), np.where(good, self._times[safe], -1)


def match(frame: pd.DataFrame, events: Events, direction: str, margin: int) -> pd.DataFrame:
    """The chains of one direction.

    Args:
        frame: calls of one round, stamps in ns.
        events: those of its time.
        direction: one of `DIRECTIONS`.
        margin: by how many nanoseconds stamps and events may disagree.

    Returns:
        One row per call: `COLUMNS` without arm, case and round.
    """
    first, last = DIRECTIONS[direction]
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
    after = np.where(was, asked, NEVER)
    _, runnable = _Keyed(events.wakeup["target_tid"], events.wakeup["time"]).first(
        woken, after, end
    )
    _, runs = _Keyed(events.switch["target_tid"], events.switch["time"]).first(woken, after, end)
    # The wake-up decides where the thread runs: a send after it may be for somebody else.
    known = np.minimum(np.where(runnable < NEVER, runnable, end), end)
    send = _Keyed(events.send["target_cpu"], events.send["time"])
    arrived = _Keyed(events.arrived["cpu"], events.arrived["time"])
    _, sent = send.first(cpu, after, np.maximum(known, after))
    late = (sent == NEVER) & was
    # A CPU that already runs the thread's queue is told after the thread became runnable.
    _, told = send.first(cpu, after, end)
    sent = np.where(late, told, sent)
    _, entered = arrived.first(cpu, np.where(sent < NEVER, sent, NEVER), end)
    _, spared = _Keyed(events.polled["target_cpu"], events.polled["time"]).first(cpu, after, end)
    turns = _Turns(events.switch)
    if direction == "poll":
        # Of the service the runtime knows whether it had parked. If it had said so and went on
        # before anybody woke it, its thread, known from the calls that did, never left its CPU.
        stayed = (frame["flags"].to_numpy(np.int64) & FLAGS["woke"]) == 0
        if was.any():
            threads, calls = np.unique(woken[was], return_counts=True)
            service = np.full(len(frame), threads[calls.argmax()])
            stayed |= ~turns.asleep(service, start) & turns.stayed(service, start, end)
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
    full = steps.was & (steps.runnable < NEVER) & (steps.runs < NEVER)
    # No send of its own: one that was on its way already, or being handled, served this too.
    arriving = earlier.arrived.first(steps.cpu, asked, end)[1] < NEVER
    handling = earlier.arrived.last(steps.cpu, asked)[1] >= earlier.sent.last(steps.cpu, asked)[1]
    path = np.full(len(end), BROKEN, object)
    path[full & (arriving | handling)] = JOINED
    path[full & (steps.spared < NEVER)] = POLLED
    path[full & (steps.sent < NEVER) & (steps.entered < NEVER)] = INTERRUPT
    path[full & (steps.cpu == steps.waker_cpu)] = LOCAL
    # It had announced its sleep, and was still about to begin it.
    awake = steps.was & (steps.runs == NEVER) & ~turns.asleep(steps.woken, asked)
    path[awake] = AWAKE
    path[~steps.was & stayed] = NO_SLEEP
    return path


def _rows(
    frame: pd.DataFrame, direction: str, path: NDArray[np.object_], times: tuple[Ints, ...]
) -> pd.DataFrame:
    first, last = DIRECTIONS[direction]
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
        has &= times[i] < NEVER
        # Clocks differ by tens of nanoseconds at the edges: a step is never negative.
        at = np.clip(times[i], before, end)
        out[f"{step}_ns"] = np.where(has, at - before, np.nan)
        before = np.where(has, at, before)
    out["pick_ns"] = (end - before).astype(np.float64)
    out["total_ns"] = (end - start).astype(np.float64)
    return out
