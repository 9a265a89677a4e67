# SPDX-License-Identifier: MIT
"""What is replicated in a comparison, and the figures of one such replica.

Rounds of one session share the host's mood, the placing of pages and CPUs, so of traces that were
recorded apart a replica is a whole session. Where both sides were recorded in turn, it is what one
side did in one turn (A B B A).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, Sketch
from memsc.analysis.data.statistics import PERCENTILES, insufficient
from memsc.analysis.domains.timings import LINE
from memsc.analysis.trace import Trace
from memsc.tracer.format import Round

METRICS = ("mean", *PERCENTILES)
PROGRAM = "program"
"""Stands beside the stages for the time that the program took, its start and end included."""
QUANTITIES_COMPARED = {**dict.fromkeys(QUANTITIES, METRICS), PROGRAM: ("mean",)}
"""The metrics of each quantity that is compared."""
Figure = float | str
"""Nanoseconds, or why there are none."""
Metric = str | float
"""A name of `METRICS`, or a quantile between 0 and 1."""


@dataclass(frozen=True)
class Replica:
    """One session, or one side's rounds of one turn.

    Args:
        sketches: of its calls, by cell.
        ns: nanoseconds to a cycle.
        seconds: time of the program in each of its rounds, by arm and case.
        line_ns: one cache-line round trip, where it was measured.
    """

    sketches: Mapping[Cell, Sketch]
    ns: float
    seconds: Mapping[tuple[str, str], list[float]]
    line_ns: float | None = None

    @cached_property
    def timed(self) -> dict[tuple[str, str], Cell]:
        """The cell that speaks for a program as a whole: of all of its calls."""
        found: dict[tuple[str, str], Cell] = {}
        for cell in self.sketches:
            if cell.syscall == ALL:
                found.setdefault((cell.arm, cell.case), cell)
        return found

    def figure(self, cell: Cell, quantity: str, metric: Metric) -> Figure:
        """A figure of one of its cells."""
        if quantity == PROGRAM:
            known = self.seconds.get((cell.arm, cell.case))
            return float(np.mean(known)) * 1e9 if known else "insufficient: no program was timed"
        sketch, index = self.sketches[cell], QUANTITIES.index(quantity)
        if metric == "mean":
            return int(sketch.sums[index]) / sketch.n * self.ns
        q = PERCENTILES[metric] if isinstance(metric, str) else metric
        why = insufficient(sketch, index, q)
        return why or float(sketch.histograms[index].quantile(q)) * self.ns

    def figures(self, cell: Cell) -> Iterator[tuple[str, str, Figure]]:
        """Every quantity, metric and figure of a cell; of the program beside all of its calls."""
        for quantity, metrics in QUANTITIES_COMPARED.items():
            if quantity != PROGRAM or self.timed.get((cell.arm, cell.case)) == cell:
                for metric in metrics:
                    yield quantity, metric, self.figure(cell, quantity, metric)


def session(trace: Trace) -> Replica:
    """A whole trace as one replica."""
    line = trace.timings.line() if LINE in {r.case for r in trace.session.rounds} else None
    ns = trace.session.clock.ns_per_cycle
    sketches = {cell: trace.cells.whole(cell) for cell in trace.stages.cells() if _is_work(cell)}
    return Replica(sketches, ns, _seconds(trace.session.rounds), line and line.p50 * ns)


def rounds(trace: Trace, chosen: Iterable[Round], arm: str, case: str) -> Replica:
    """Some rounds of one arm and case as one replica.

    Args:
        trace: which.
        chosen: its rounds.
        arm: what theirs is called in the comparison.
        case: likewise.
    """
    chosen = list(chosen)
    keys = {r.key for r in chosen}
    sketches: dict[Cell, Sketch] = {}
    for cell, blocks in trace.cells.sketches.items():
        mine = [
            sketch for key, sketch in blocks.items() if (cell.arm, cell.case, key.round) in keys
        ]
        if mine and _is_work(cell):
            sketches[cell._replace(arm=arm, case=case)] = Sketch.merge(mine)
    times = [seconds for found in _seconds(chosen).values() for seconds in found]
    known = {(arm, case): times} if times else {}
    return Replica(sketches, trace.session.clock.ns_per_cycle, known)


def _is_work(cell: Cell) -> bool:
    """What is there to wait is not: how long a program had nothing to do is no change of calls."""
    return cell.mode != WAIT


def _seconds(of: Iterable[Round]) -> dict[tuple[str, str], list[float]]:
    """How long recorded programs took that were seen from beginning to end."""
    found: dict[tuple[str, str], list[float]] = {}
    for r in of:
        whole = r.recording and not (r.check or r.stopped or r.attached)
        if whole and r.start_ns is not None and r.end_ns is not None:
            found.setdefault((r.arm, r.case), []).append((r.end_ns - r.start_ns) / 1e9)
    return found
