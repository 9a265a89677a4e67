# SPDX-License-Identifier: MIT
"""Which events met which stages of which calls: on the CPU that the stage needs, while it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.causes.intervals import OWN, TASK
from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.overlap import Ints, Segments, flatten, overlaps
from memsc.tracer.format import FLAGS

APP, SERVICE = 0, 1
POST, POLL, EXECUTE, COMPLETE = range(4)

# A service interrupted between its last stamp and publishing: the event begins within this.
_PUBLISHING_NS = 300


class Met(NamedTuple):
    """Events and stages that met: columns of one length, as small as their values are.

    Attributes:
        call: row of the call.
        stage, side: of it.
        event: row of the event.
        ns: for how long; 0 for an event of which only the begin is known.
    """

    call: NDArray[np.int32]
    stage: NDArray[np.int8]
    side: NDArray[np.int8]
    event: NDArray[np.int32]
    ns: NDArray[np.float64]

    @staticmethod
    def of(parts: list[Met]) -> Met:
        """All of them, in order."""
        kinds = (np.int32, np.int8, np.int8, np.int32, np.float64)
        empty = [np.zeros(0, kind) for kind in kinds]
        return Met(*(np.concatenate(some) for some in zip(empty, *parts, strict=True)))

    def at(self, rows: Ints) -> Met:
        """Some of them."""
        return Met(
            self.call[rows], self.stage[rows], self.side[rows], self.event[rows], self.ns[rows]
        )


class _Span(NamedTuple):
    """Some calls' stage on one CPU."""

    stage: int
    side: int
    publishing: bool
    call: Ints
    start: Ints
    end: Ints


class Meetings:
    """Where the calls of a trace can be met.

    Args:
        frame: the calls, as `memsc.analysis.causes.slow.Slow` has them.
        stamps: theirs in nanoseconds, shape (5, n).
        probed: calls of rounds that have events: what seems to reach into others is no event.
    """

    def __init__(self, frame: pd.DataFrame, stamps: Ints, probed: NDArray[np.bool_]) -> None:
        names = ("app_cpu", "service_cpu", "flags", "called", "picked", "tid", "pid")
        columns = {name: frame[name].to_numpy(np.int64) for name in names}
        app, service, flags = (columns[name] for name in names[:3])
        self._tid, self._pid, self._stamps = columns["tid"], columns["pid"], stamps
        back = (flags & FLAGS["async"]) == 0  # of others nobody waits for the way back
        # Who sleeps is woken from the other CPU: then the stage needs both.
        woken = (flags & FLAGS["woke"]) > 0
        slept = (flags & FLAGS["slept"]) > 0
        two, direct = app != service, columns["picked"] == columns["called"]
        every = np.ones(len(frame), np.bool_)
        self._needs = (
            (POST, APP, app, every, False),
            (POLL, SERVICE, service, every, False),
            (POLL, APP, app, woken & two, False),
            (EXECUTE, SERVICE, service, ~direct, False),
            (EXECUTE, APP, app, direct, False),
            (COMPLETE, APP, app, back, False),
            (COMPLETE, SERVICE, service, back & slept & two, False),
            (COMPLETE, SERVICE, service, back & ~slept & two, True),
        )
        self._probed = probed
        self.cpus = distinct(np.concatenate([app[probed], service[probed]]))

    def _spans(self, one: int, *, publishing: bool) -> Iterator[_Span]:
        for stage, side, cpu, where, late in self._needs:
            calls = np.flatnonzero(where & self._probed & (cpu == one))
            if len(calls) and (publishing or not late):
                start, end = self._stamps[stage : stage + 2, calls]
                yield _Span(stage, side, late, calls, start, end)

    def intervals(self, events: pd.DataFrame) -> Met:
        """What had a CPU; turns of the call's own thread, or of its service, are left out.

        Args:
            events: `Found.of("intervals")`.
        """
        own = _Own(events, self._tid, self._pid)
        begins = events["start"].to_numpy(np.int64)
        parts: list[Met] = []
        for cpu, here in _by_cpu(events, self.cpus):
            columns = (events[name].to_numpy(np.int64)[here] for name in ("start", "end", "level"))
            segments = flatten(*columns)
            for span in self._spans(cpu, publishing=True):
                found = overlaps(span.start, span.end, segments)
                call, event = span.call[found.query], here[segments.owner[found.segment]]
                kept = ~own.turns(call, event, served=span.side == SERVICE)
                if span.publishing:
                    kept &= begins[event] <= span.start[found.query] + _PUBLISHING_NS
                parts.append(_met(span, call[kept], event[kept], found.ns[kept]))
        return Met.of(parts)

    def instants(self, events: pd.DataFrame) -> Met:
        """Events of which only the begin is known: they have no time, but may explain some.

        Args:
            events: `Found.of("instants")`.
        """
        tid, pid = (events[name].to_numpy() for name in ("tid", "pid"))
        alone = events["name"].isin(OWN).to_numpy()
        parts: list[Met] = []
        for cpu, here in _by_cpu(events, self.cpus):
            time = events["start"].to_numpy(np.int64)[here]
            # Instants that share a nanosecond would not ascend; which is found matters not.
            once = np.diff(time, prepend=-1) > 0
            points = Segments(time[once], time[once] + 1, here[once])
            for span in self._spans(cpu, publishing=False):
                found = overlaps(span.start, span.end, points)
                call, event = span.call[found.query], points.owner[found.segment]
                mine = tid[event] == self._tid[call]
                if span.side == SERVICE:
                    mine |= pid[event] == self._pid[call]
                kept = mine | ~alone[event]
                parts.append(_met(span, call[kept], event[kept], np.zeros(int(kept.sum()))))
        return Met.of(parts)

    def stolen(self, events: pd.DataFrame) -> NDArray[np.float64]:
        """What the steal clock says of the windows that overlap each stage, on its CPU.

        Args:
            events: `Found.of("stolen")`.

        Returns:
            Nanoseconds, shape (4, n).
        """
        out = np.zeros((len(self._stamps) - 1, self._stamps.shape[1]))
        for cpu, here in _by_cpu(events, self.cpus):
            starts, ends = (events[name].to_numpy(np.int64)[here] for name in ("start", "end"))
            segments = flatten(starts, ends, np.zeros(len(here), np.int64))
            amounts = events["stolen"].to_numpy(np.float64)[here]
            for span in self._spans(cpu, publishing=False):
                found = overlaps(span.start, span.end, segments)
                amount = amounts[segments.owner[found.segment]]
                np.maximum.at(out[span.stage], span.call[found.query], amount)
        return out


class _Own:
    """Tells the turns that are a call's own from those of others."""

    def __init__(self, events: pd.DataFrame, tid: Ints, pid: Ints) -> None:
        names, place = events["name"].cat.categories, events["name"].cat.codes.to_numpy()

        def begins(word: str) -> NDArray[np.bool_]:
            return np.array([name.startswith(word) for name in names], np.bool_)[place]

        self._turn = events["level"].to_numpy() == TASK
        self._service, self._nameless = begins("memsc-"), begins("thread ")
        self._of_tid, self._of_pid = (events[name].to_numpy() for name in ("tid", "pid"))
        self._tid, self._pid = tid, pid

    def turns(self, call: Ints, event: Ints, *, served: bool) -> NDArray[np.bool_]:
        """Which events are turns of the call's thread, or of the service that works for it."""
        service = self._service[event]
        if served:
            # Without names it is the thread of the caller's process on the CPU that serves it.
            service = service | self._nameless[event]
        service = service & (self._of_pid[event] == self._pid[call])
        return self._turn[event] & (service | (self._of_tid[event] == self._tid[call]))


def _by_cpu(events: pd.DataFrame, cpus: Ints) -> Iterator[tuple[int, Ints]]:
    of = events["cpu"].to_numpy()
    for cpu in cpus.tolist():
        here = np.flatnonzero(of == cpu)
        if len(here):
            yield cpu, here


def _met(span: _Span, call: Ints, event: Ints, ns: Ints | NDArray[np.float64]) -> Met:
    stage, side = (np.full(len(call), one, np.int8) for one in (span.stage, span.side))
    return Met(call.astype(np.int32), stage, side, event.astype(np.int32), ns.astype(np.float64))
