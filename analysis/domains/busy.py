# SPDX-License-Identifier: MIT
"""When calls were forwarded without any wait: what a transport promises, it promises for then.

A program that sleeps between calls, or a call for which somebody had to be woken, rightly brings
interrupts and context switches; and while nothing is forwarded, those of others are not the
transport's either.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import rounds_in
from memsc.runtime.spans import union
from memsc.tracer.format import CALLS, FLAGS, RoundKey, TraceFolder

BEHIND_NS = 100_000
"""What happens up to so long after a call may be its doing: an interrupt takes 65 µs at most."""

_WAITS = FLAGS["slept"] | FLAGS["woke"]
_COLUMNS = ["arm", "case", "round", "tid", "called", "completed", "flags"]


class Spans(NamedTuple):
    """Disjoint spans of CLOCK_MONOTONIC in order, in nanoseconds."""

    start: Ints
    end: Ints

    def hit(self, time: Ints) -> NDArray[np.bool_]:
        """Which times lie within."""
        if not len(self.start):
            return np.zeros(len(time), np.bool_)
        at = np.searchsorted(self.start, time, "right") - 1
        return (at >= 0) & (time <= self.end[at])

    @staticmethod
    def union(start: Ints, end: Ints) -> Spans:
        """Of spans in any order."""
        return Spans(*union(start, end))


class Busy(NamedTuple):
    """A round's spans.

    Attributes:
        forwarding: calls that nobody waited in, and `BEHIND_NS` behind each or until the next.
        waiting: calls whose caller slept, or whose service had to be woken.
        waits: how many these are.
    """

    forwarding: Spans
    waiting: Spans
    waits: int

    def aside(self, time: Ints, *, own: bool) -> NDArray[np.bool_]:
        """Which events are not the transport's.

        Args:
            time: when they were.
            own: they are system calls of the program's threads, which it also makes itself between
                forwarded ones: only those within calls that waited are told.
        """
        forwarding = self.forwarding.hit(time)
        return ~forwarding & self.waiting.hit(time) if own else ~forwarding


def busy(trace: TraceFolder, wanted: Collection[RoundKey]) -> dict[RoundKey, Busy]:
    """Looks at the calls of the wanted rounds, a part at a time.

    Memory is bounded by the time that was recorded and not by the calls: ten thousand spans a
    second at most.
    """
    found: dict[RoundKey, list[Busy]] = {}
    for table in trace.batches(CALLS, _COLUMNS, wanted):
        columns = [table[name].to_numpy() for name in _COLUMNS[3:]]
        for key, rows in rounds_in(table):
            if key in wanted:
                tid, called, completed, flags = (column[rows] for column in columns)
                clock, waits = trace.session.clock, (flags & _WAITS) > 0
                one = _of(tid, clock.ns(called), clock.ns(completed), waits)
                found.setdefault(key, []).append(one)
    return {key: _joined(some) for key, some in found.items()}


def _of(tid: Ints, called: Ints, completed: Ints, waits: NDArray[np.bool_]) -> Busy:
    # Mostly those of one thread, one after the other.
    if (tid[1:] != tid[:-1]).any() or (called[1:] < called[:-1]).any():
        order = np.lexsort((called, tid))
        tid, called, completed, waits = tid[order], called[order], completed[order], waits[order]
    # What is behind a call ends where its thread's next one begins, which may be one that waits.
    behind = completed + BEHIND_NS
    follows = tid[1:] == tid[:-1]
    behind[:-1][follows] = np.minimum(behind[:-1], called[1:])[follows]
    end = np.maximum(completed, behind)
    if not waits.any():
        return Busy(Spans.union(called, end), Spans.union(called[:0], end[:0]), 0)
    return Busy(
        Spans.union(called[~waits], end[~waits]),
        Spans.union(called[waits], completed[waits]),
        int(waits.sum()),
    )


def _joined(parts: list[Busy]) -> Busy:
    def all_of(spans: list[Spans]) -> Spans:
        start, end = (
            np.concatenate([getattr(one, name) for one in spans]) for name in ("start", "end")
        )
        return Spans.union(start, end)

    forwarding, waiting = ([getattr(p, name) for p in parts] for name in ("forwarding", "waiting"))
    return Busy(all_of(forwarding), all_of(waiting), sum(part.waits for part in parts))
