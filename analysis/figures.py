# SPDX-License-Identifier: MIT
"""The figures that targets are about, made from what the work timed from outside.

Each raises KeyError, naming what is missing, where the trace does not hold what it is made from.
"""

from __future__ import annotations

import math
from statistics import median

from memsc.analysis.timings import PerCall, Timed, side_by_side
from memsc.analysis.trace import Trace
from memsc.analysis.tracing import relative, tracers


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

    def mean(self, above: tuple[str, str], below: tuple[str, str]) -> float:
        """Mean per call of one (arm, case) divided by another's."""
        return self.off(*above).mean / self.off(*below).mean

    def p50(self, above: tuple[str, str], below: tuple[str, str]) -> float:
        """The same of medians."""
        return self.off(*above).p50 / self.off(*below).p50

    def limit(self) -> float:
        """A forwarded call ÷ a direct one plus one round trip of a cache line, medians."""
        line = self._timings.line()
        if line is None:
            raise KeyError("line")
        return self.off("memsc", "sync").p50 / (self.off("direct", "sync").p50 + line.p50)

    def tail(self) -> float:
        """p99.9 ÷ p50 of forwarded calls."""
        return self._p999("sync") / self.off("memsc", "sync").p50

    def crowded_us(self) -> float:
        """p99.9 while eight processes are registered, microseconds."""
        return self._p999("shared-8") * self._ns / 1000

    def recording(self) -> float:
        """Median recorded ÷ not recorded, in the median turn."""
        on = self._timed[Timed("memsc", "sync", recording=True)]
        sides = side_by_side(on, self.off("memsc", "sync"))
        return median(recorded / plain for recorded, plain in sides)

    def tracing(self) -> float:
        """What recording adds ÷ what the best other tracer adds, medians, in the median turn."""
        others = [relative(self._timed, name) for name in tracers(self._timed)[1:]]
        if not others:
            raise KeyError("other tracers")
        return max(others)

    def best_peer(self, case: str) -> float:
        """Mean per call ÷ that of the best that hands it to another thread; `direct` does not."""
        others = [
            found.mean
            for key, found in self._timed.items()
            if key.case == case and key.arm != "direct" and not key.arm.startswith("memsc")
        ]
        if not others:
            raise KeyError(Timed("the peers", case, False))
        return self.off("memsc", case).mean / min(others)

    def _p999(self, case: str) -> float:
        found = self.off("memsc", case)
        if math.isnan(found.p999):
            raise KeyError(f"too few calls of {case}")
        return found.p999
