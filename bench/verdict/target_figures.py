# SPDX-License-Identifier: MIT
"""The figures that targets are about, made from what the work timed from outside.

Each raises KeyError, naming what is missing, where the trace does not hold what it is made from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from memsc.analysis.data.estimates import Estimate, Sampled, divide, median_of
from memsc.analysis.domains.timings import PerCall, Timed, side_by_side
from memsc.analysis.trace import Trace
from memsc.bench.verdict.tracing import relative, tracers

MOOD = 0.1
"""By so much may what a turn's calls take differ from the usual, and it has the usual mood."""


class Figures:
    """Figures of one benchmark.

    Args:
        trace: of the benchmark.
    """

    def __init__(self, trace: Trace) -> None:
        self._timings = trace.timings
        self._timed = trace.timings.per_call()
        self._ns = trace.session.clock.ns_per_cycle

    def off(self, arm: str, case: str) -> PerCall:
        """What an arm took for a case, not recorded."""
        return self._timed[Timed(arm, case, recording=False)]

    def mean(self, above: tuple[str, str], below: tuple[str, str]) -> Estimate:
        """Mean per call of one (arm, case) divided by another's."""
        return divide(self.off(*above).sampled("mean"), self.off(*below).sampled("mean"))

    def p50(self, above: tuple[str, str], below: tuple[str, str]) -> Estimate:
        """The same of medians."""
        return divide(self.off(*above).sampled("p50"), self.off(*below).sampled("p50"))

    def limit(self) -> Estimate:
        """A forwarded call ÷ a direct one plus one round trip of a cache line, medians."""
        line = self._timings.line()
        if line is None:
            raise KeyError("line")
        direct = self.off("direct", "sync").sampled("p50")
        return divide(self.off("memsc", "sync").sampled("p50"), direct, line.sampled("p50"))

    def tail(self) -> Estimate:
        """p99.9 ÷ p50 of forwarded calls."""
        above, below = self._p999("sync"), self.off("memsc", "sync").sampled("p50")
        ratios = above.values / below.values  # both of the same draw: rounds have one mood
        return Estimate.of(above.value / below.value, above.resampling.interval(ratios))

    def tail_beside_ring(self) -> Estimate:
        """p99.9 ÷ p50 of forwarded calls ÷ the bare ring's, of those turns that had one mood.

        A host that moves its CPUs about makes another machine of them. What the ring took in a turn
        tells how far they were from each other then: where that was as usual, the turn counts.
        """
        ours, bare = self.off("memsc", "ring"), self.off("bare-ring", "ring")
        usual = float(np.median(list(bare.p50_of.values())))
        alike = [
            turn
            for turn, p50 in bare.p50_of.items()
            if abs(p50 / usual - 1) <= MOOD and turn in ours.p50_of
        ]
        return divide(*(self._tail(arm, alike) for arm in ("memsc", "bare-ring")))

    def recorded_beside_ring(self) -> Estimate:
        """Median of forwarded calls that are all recorded ÷ that of the bare ring that does so."""
        on = self._timed[Timed("memsc", "ring-recorded", recording=True)].sampled("p50")
        return divide(on, self.off("bare-ring", "ring-recorded").sampled("p50"))

    def crowded_us(self) -> Estimate:
        """p99.9 while eight processes are registered, microseconds."""
        found = self._p999("shared-8")
        interval = found.resampling.interval(found.values)
        return Estimate.of(found.value, interval).scaled(self._ns / 1000)

    def recording(self) -> Estimate:
        """Median recorded ÷ not recorded, in the median turn."""
        on = self._timed[Timed("memsc", "sync", recording=True)]
        sides = side_by_side(on, self.off("memsc", "sync"))
        return median_of([recorded / plain for recorded, plain in sides], "recording")

    def tracing(self) -> Estimate:
        """What recording adds ÷ what the best other tracer adds, medians, in the median turn."""
        others = [relative(self._timed, name) for name in tracers(self._timed)[1:]]
        if not others:
            raise KeyError("other tracers")
        return max(others, key=lambda found: found.value)

    def best_peer(self, case: str) -> Estimate:
        """Mean per call ÷ that of the best that hands it to another thread; `direct` does not."""
        others = [
            found.sampled("mean")
            for key, found in self._timed.items()
            if key.case == case and key.arm != "direct" and not key.arm.startswith("memsc")
        ]
        if not others:
            raise KeyError(Timed("the peers", case, False))
        best = min(others, key=lambda found: found.value)
        # Which is best may differ from draw to draw, too.
        values = np.minimum.reduce([found.values for found in others])
        return divide(self.off("memsc", case).sampled("mean"), best._replace(values=values))

    def _tail(self, arm: str, turns: Sequence[int]) -> Sampled:
        found = self._timings.of_turns(Timed(arm, "ring", False), turns)
        if math.isnan(found.p999):
            raise KeyError("enough calls in turns of one mood")
        return Sampled(found.p999 / found.p50, found.p999s / found.p50s, found.resampling)

    def _p999(self, case: str) -> Sampled:
        found = self.off("memsc", case)
        if math.isnan(found.p999):
            raise KeyError(f"too few calls of {case}")
        return found.sampled("p999")
