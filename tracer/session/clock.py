# SPDX-License-Identifier: MIT
"""The fit between the cycle counter and CLOCK_MONOTONIC, and how far CPUs' counters disagree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import numpy as np

from memsc.runtime import library
from memsc.tracer.format import Clock
from memsc.tracer.helper.kernel.machine_time import monotonic_ns, own_offset_ns

COUNTER = {"x86_64": "tsc", "aarch64": "cntvct"}.get(os.uname().machine, "unknown")
_SETTLED_NS = 20_000_000  # two readings closer than this give no slope worth the name


class ClockTrack:
    """Readings of both clocks over a session; the fit is made from all of them."""

    def __init__(self) -> None:
        self._cycles: list[int] = []
        self._ns: list[int] = []
        self._step = library.counter_step().cycles
        self._skew: library.Skew | None = None
        self._skew_reason: str | None = "not measured: application and service share their CPUs"
        self.sample()
        # One more, a little later, so that there is a fit at any time from here on.
        while self._ns[-1] - self._ns[0] < _SETTLED_NS:
            self.sample()
            del self._cycles[1:-1], self._ns[1:-1]

    def sample(self) -> tuple[int, int]:
        """Read both clocks; returns (cycles, ns)."""
        sample = library.clock_sample()
        ns = sample.ns - own_offset_ns("monotonic")
        self._cycles.append(sample.cycles)
        self._ns.append(ns)
        return sample.cycles, ns

    def measure_skew(self, here: Iterable[int], there: Iterable[int]) -> None:
        """Bound the skew over all pairs of an application CPU and a service CPU."""
        pairs = [(a, b) for a in here for b in there if a != b]
        try:
            found = [library.clock_skew(a, b) for a, b in pairs]
        except OSError as error:
            self._skew, self._skew_reason = None, f"not measured: {error.strerror}"
            return
        if found:
            self._skew = max(found, key=lambda skew: skew.bound)
            self._skew_reason = None

    def fit(self) -> Clock:
        """The straight line through all readings, anchored at the first."""
        cycles = np.array(self._cycles, np.int64)
        ns = np.array(self._ns, np.int64)
        x = (cycles - cycles[0]).astype(np.float64)
        y = (ns - ns[0]).astype(np.float64)
        slope = float((x @ y) / (x @ x))
        residual = float(np.abs(y - slope * x).max())
        skew = None if self._skew is None else self._skew.bound * slope
        return Clock(
            counter=COUNTER,
            hz=1e9 / slope,
            anchor_cycles=int(cycles[0]),
            anchor_ns=int(ns[0]),
            ns_per_cycle=slope,
            residual_ns=residual,
            points=len(cycles),
            skew_bound_ns=skew,
            skew_reason=self._skew_reason,
            boottime_offset_ns=_beyond_monotonic(time.CLOCK_BOOTTIME) - own_offset_ns("boottime"),
            realtime_offset_ns=_beyond_monotonic(time.CLOCK_REALTIME),
            step_cycles=self._step,
        )


def _beyond_monotonic(clock: int) -> int:
    """How much more another clock shows: the closest of a few readings between two of ours."""

    def reading() -> tuple[int, int]:
        before = monotonic_ns()
        there = time.clock_gettime_ns(clock)
        after = monotonic_ns()
        return after - before, there - (before + after) // 2

    return min(reading() for _ in range(9))[1]
