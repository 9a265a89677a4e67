# SPDX-License-Identifier: MIT
"""What is kept of many calls: enough for every latency figure, small, and mergeable exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.histogram import Histogram, bins_of_floats
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
        # Weights are summed as floats, exact up to 2**53 cycles: a month of one CPU.
        spent = stages.astype(np.float64)
        bins = bins_of_floats(spent)
        histograms = tuple(Histogram.of_bins(row) for row in bins)
        kept = histograms[-1].bins
        bands = np.stack([np.bincount(bins[-1], stage)[kept] for stage in spent[:-1]])
        mins, none = stages.min(axis=1), np.zeros(len(QUANTITIES), np.int64)
        bits = list(FLAGS.values())
        return Sketch(
            stages.shape[1],
            stages.sum(axis=1),
            mins,
            stages.max(axis=1),
            np.count_nonzero(stages < 0, axis=1).astype(np.int64) if (mins < 0).any() else none,
            histograms,
            bands.astype(np.int64),
            np.array([np.count_nonzero(flags & bit) for bit in bits], np.int64)
            if flags.any()
            else np.zeros(len(bits), np.int64),
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
            np.sum([part.negative for part in parts], axis=0),
            histograms,
            bands,
            np.sum([part.flags for part in parts], axis=0),
        )
