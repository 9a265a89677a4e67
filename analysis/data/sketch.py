# SPDX-License-Identifier: MIT
"""What is kept of many calls: enough for every latency figure, small, and mergeable exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.counting import count_calls
from memsc.analysis.data.histogram import Histogram
from memsc.tracer.format import FLAGS, STAGES

TOTAL = "total"
QUANTITIES = (*STAGES, TOTAL)
"""What is measured of a call: the four stages and their sum."""

_BYTES = np.arange(256)  # the flags are bits of the lowest


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
    def of(
        stamps: Sequence[NDArray[np.int64]],
        flags: NDArray[np.int64],
        rows: slice | NDArray[np.int64] = slice(None),
    ) -> Sketch:
        """Sketches calls.

        Args:
            stamps: five columns, in cycles or another unit: stages are their differences.
            flags: the column of flag bits.
            rows: which calls, at least one.
        """
        found = count_calls(stamps, flags, rows)
        return Sketch(
            int(found.flags.sum()),
            found.sums,
            found.mins,
            found.maxs,
            found.negative,
            tuple(map(Histogram, found.bins, found.counts)),
            found.bands,
            np.array([found.flags[_BYTES & bit > 0].sum() for bit in FLAGS.values()], np.int64),
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
