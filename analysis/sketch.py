# SPDX-License-Identifier: MIT
"""What is kept of many calls: enough for every latency figure, small, and mergeable exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.histogram import Histogram, bins_of
from memsc.tracer.format import FLAGS, STAGES

TOTAL = "total"
QUANTITIES = (*STAGES, TOTAL)
"""What is measured of a call: the four stages and their sum."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """The calls of one block.

    Attributes:
        n: calls.
        sums, mins, maxs: shape (5,), cycles, in the order of `QUANTITIES`.
        unequal: calls whose stages do not sum to their total exactly: always 0, and checked.
        negative: shape (5,), calls whose stage is below zero: a clock problem, never hidden.
        histograms: one per quantity.
        bands: shape (4, k), the sum of each stage over the calls in each bin of the total's
            histogram; means add, so bands of totals have mean stages.
        flags: shape (5,), calls with each flag, in the order of `FLAGS`.
    """

    n: int
    sums: NDArray[np.int64]
    mins: NDArray[np.int64]
    maxs: NDArray[np.int64]
    unequal: int
    negative: NDArray[np.int64]
    histograms: tuple[Histogram, ...]
    bands: NDArray[np.int64]
    flags: NDArray[np.int64]

    @staticmethod
    def of(stages: NDArray[np.int64], flags: NDArray[np.int64]) -> Sketch:
        """Sketches calls.

        Args:
            stages: shape (5, n), cycles: the stages and their total, n at least 1.
            flags: shape (n,), flag bits.
        """
        total_bins = bins_of(stages[-1])
        low = int(total_bins.min())
        histograms = (
            *(Histogram.of(stage) for stage in stages[:-1]),
            Histogram.of_bins(total_bins),
        )
        kept = histograms[-1].bins - low
        # Weights are summed as floats, exact up to 2**53 cycles: a month of one CPU.
        bands = np.stack([np.bincount(total_bins - low, stage)[kept] for stage in stages[:-1]])
        return Sketch(
            stages.shape[1],
            stages.sum(axis=1),
            stages.min(axis=1),
            stages.max(axis=1),
            int(np.count_nonzero(stages[:-1].sum(axis=0) != stages[-1])),
            np.count_nonzero(stages < 0, axis=1).astype(np.int64),
            histograms,
            bands.astype(np.int64),
            np.array([np.count_nonzero(flags & bit) for bit in FLAGS.values()], np.int64),
        )

    @staticmethod
    def merge(parts: Sequence[Sketch]) -> Sketch:
        """The sketch of all calls together, at least one part; exact, in any order."""
        if len(parts) == 1:
            return parts[0]
        histograms = tuple(
            Histogram.merge([part.histograms[i] for part in parts]) for i in range(len(QUANTITIES))
        )
        total = histograms[-1]
        bands = np.zeros((len(STAGES), len(total.bins)), np.int64)
        for part in parts:
            bands[:, np.searchsorted(total.bins, part.histograms[-1].bins)] += part.bands
        return Sketch(
            sum(part.n for part in parts),
            np.sum([part.sums for part in parts], axis=0),
            np.min([part.mins for part in parts], axis=0),
            np.max([part.maxs for part in parts], axis=0),
            sum(part.unequal for part in parts),
            np.sum([part.negative for part in parts], axis=0),
            histograms,
            bands,
            np.sum([part.flags for part in parts], axis=0),
        )
