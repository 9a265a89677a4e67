# SPDX-License-Identifier: MIT
"""Matches the waits of calls to the kernel's events of one wake-up each: the chain, and its steps.

Keyed by thread, who is woken, and by CPU, where the interrupt goes: so one interrupt that serves
several wake-ups is told from one that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
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
NEVER = 1 << 62

Columns = Mapping[str, Ints]
"""Columns of one length, by name."""


class Chain(NamedTuple):
    """The waits of some calls in one direction.

    Attributes:
        path: shape (n,), places in `PATHS`.
        steps: shape (6, n), ns, in the order of `STEPS`; NaN where the path has none.
        total: shape (n,), ns.
    """

    path: NDArray[np.int8]
    steps: NDArray[np.float64]
    total: NDArray[np.float64]

    @property
    def matched(self) -> NDArray[np.bool_]:
        """Whether all events of the path are there."""
        return self.path != PATHS.index(BROKEN)


class Events:
    """The events of some time, to be looked for by thread and by CPU.

    Args:
        kinds: by kind, columns time, cpu, tid, target_tid and target_cpu as far as the kind has
            them.
    """

    def __init__(self, kinds: Mapping[str, Sequence[Columns]]) -> None:
        self._kinds = kinds

    def column(self, name: str, *kinds: str) -> Ints:
        """A column of some kinds."""
        found = [one[name] for kind in kinds for one in self._kinds.get(kind, ())]
        return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, np.int64), *found])

    def _keyed(self, by: str, *kinds: str) -> _Keyed:
        return _Keyed(self.column(by, *kinds), self.column("time", *kinds))

    @cached_property
    def asking(self) -> _Keyed:
        """Who wakes, by the waker."""
        return self._keyed("tid", "waking")

    @cached_property
    def asked(self) -> _Keyed:
        """Who wakes, by the woken."""
        return self._keyed("target_tid", "waking")

    @cached_property
    def runnable(self) -> _Keyed:
        """Threads that may run now."""
        return self._keyed("target_tid", "wakeup", "wakeup_new")

    @cached_property
    def came(self) -> _Keyed:
        """Threads that get a CPU."""
        return self._keyed("target_tid", "switch")

    @cached_property
    def left(self) -> _Keyed:
        """Threads that leave theirs."""
        return self._keyed("tid", "switch")

    @cached_property
    def sent(self) -> _Keyed:
        """Interrupts, by the CPU they are for."""
        return self._keyed("target_cpu", "send")

    @cached_property
    def spared(self) -> _Keyed:
        """Idle CPUs that look, and need none."""
        return self._keyed("target_cpu", "wake_idle")

    @cached_property
    def arrived(self) -> _Keyed:
        """Interrupts, by the CPU that takes them."""
        return self._keyed("cpu", *ARRIVALS)

    def asleep(self, tid: Ints, at: Ints) -> NDArray[np.bool_]:
        """Whether a thread's last switch before a time was off its CPU."""
        return self.left.last(tid, at)[1] > self.came.last(tid, at)[1]

    def stayed(self, tid: Ints, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Whether a thread did not leave its CPU between two times."""
        return self.left.first(tid, start, end)[0] < 0


class _Keyed:
    """Events of one kind, found by a key and a time."""

    def __init__(self, keys: Ints, times: Ints) -> None:
        self._origin = int(times.min()) if len(times) else 0
        # A thread's number has 22 bits at most, so 42 hold an hour and more of nanoseconds.
        packed = self._pack(keys, times)
        self._order = np.argsort(packed, kind="stable")
        self._packed = packed[self._order]
        self._times, self._keys = times, keys

    def _pack(self, key: Ints, time: Ints) -> Ints:
        return (key << 42) + np.clip(time - self._origin, 0, (1 << 42) - 1)

    def first(self, key: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Row and time of the first at or after start, not after end; -1 and `NEVER` for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), NEVER)
        at = np.searchsorted(self._packed, self._pack(key, start), "left")
        row = self._order[np.minimum(at, len(self._packed) - 1)]
        time = self._times[row]
        good = (at < len(self._packed)) & (self._keys[row] == key) & (time >= start) & (time <= end)
        return np.where(good, row, -1), np.where(good, time, NEVER)

    def last(self, key: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Row and time of the last before a time; -1 and -1 for none."""
        if not len(self._packed):
            return np.full(len(key), -1), np.full(len(key), -1)
        at = np.searchsorted(self._packed, self._pack(key, before), "left") - 1
        row = self._order[np.maximum(at, 0)]
        time = self._times[row]
        good = (at >= 0) & (self._keys[row] == key) & (time < before)
        return np.where(good, row, -1), np.where(good, time, -1)


def match(calls: Columns, events: Events, direction: str, margin: int) -> Chain:
    """The chains of one direction.

    Args:
        calls: tid, flags and stamps in ns of calls of one round.
        events: those of its time.
        direction: one of `DIRECTIONS`.
        margin: by how many nanoseconds stamps and events may disagree.
    """
    first, last = DIRECTIONS[direction]
    start, end, caller = calls[first] - margin, calls[last] + margin, calls["tid"]
    # Towards the service the waker is known, back the woken.
    by = events.asking if direction == "poll" else events.asked
    row, asked = by.first(caller, start, end)
    was = row >= 0
    at = np.maximum(row, 0)
    known = (events.column(name, "waking") for name in ("target_tid", "target_cpu", "cpu"))
    woken, cpu, waker_cpu = (column[at] if len(column) else at for column in known)
    after = np.where(was, asked, NEVER)
    _, runnable = events.runnable.first(woken, after, end)
    _, runs = events.came.first(woken, after, end)
    # The wake-up decides where the thread runs: a send after it may be for somebody else.
    until = np.minimum(np.where(runnable < NEVER, runnable, end), end)
    _, sent = events.sent.first(cpu, after, np.maximum(until, after))
    late = (sent == NEVER) & was
    # A CPU that already runs the thread's queue is told after the thread became runnable.
    _, told = events.sent.first(cpu, after, end)
    sent = np.where(late, told, sent)
    _, entered = events.arrived.first(cpu, np.where(sent < NEVER, sent, NEVER), end)
    _, spared = events.spared.first(cpu, after, end)
    if direction == "poll":
        # Of the service the runtime knows whether it had parked. If it had said so and went on
        # before anybody woke it, its thread, known from the calls that did, never left its CPU.
        stayed = (calls["flags"] & FLAGS["woke"]) == 0
        if was.any():
            threads, often = np.unique(woken[was], return_counts=True)
            service = np.full(len(caller), threads[often.argmax()])
            stayed |= ~events.asleep(service, start) & events.stayed(service, start, end)
    else:
        stayed = events.stayed(caller, calls["posted"], end)
    steps = _Steps(was, woken, cpu, waker_cpu, asked, sent, entered, spared, runnable, runs)
    path = _paths(steps, events, stayed, end)
    return _cut(calls[first], calls[last], path, (asked, sent, entered, runnable, runs))


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


def _paths(steps: _Steps, events: Events, stayed: NDArray[np.bool_], end: Ints) -> NDArray[np.int8]:
    asked = np.where(steps.was, steps.asked, 0)
    full = steps.was & (steps.runnable < NEVER) & (steps.runs < NEVER)
    # No send of its own: one that was on its way already, or being handled, served this too.
    arriving = events.arrived.first(steps.cpu, asked, end)[1] < NEVER
    handling = events.arrived.last(steps.cpu, asked)[1] >= events.sent.last(steps.cpu, asked)[1]
    path = np.full(len(end), PATHS.index(BROKEN), np.int8)
    path[full & (arriving | handling)] = PATHS.index(JOINED)
    path[full & (steps.spared < NEVER)] = PATHS.index(POLLED)
    path[full & (steps.sent < NEVER) & (steps.entered < NEVER)] = PATHS.index(INTERRUPT)
    path[full & (steps.cpu == steps.waker_cpu)] = PATHS.index(LOCAL)
    # It had announced its sleep, and was still about to begin it.
    awake = steps.was & (steps.runs == NEVER) & ~events.asleep(steps.woken, asked)
    path[awake] = PATHS.index(AWAKE)
    path[~steps.was & stayed] = PATHS.index(NO_SLEEP)
    return path


_USES = {
    INTERRUPT: (0, 1, 2, 3, 4),
    POLLED: (0, 3, 4),
    JOINED: (0, 3, 4),
    LOCAL: (0, 3, 4),
    AWAKE: (0, 3),
}
"""Steps of each path, beside the last."""


def _cut(start: Ints, end: Ints, path: NDArray[np.int8], times: tuple[Ints, ...]) -> Chain:
    steps = np.empty((len(STEPS), len(path)))
    before = start
    for i, time in enumerate(times):
        has = np.array([i in _USES.get(name, ()) for name in PATHS])[path] & (time < NEVER)
        # Clocks differ by tens of nanoseconds at the edges: a step is never negative.
        at = np.clip(time, before, end)
        steps[i] = np.where(has, at - before, np.nan)
        before = np.where(has, at, before)
    steps[-1] = end - before
    return Chain(path, steps, (end - start).astype(np.float64))
