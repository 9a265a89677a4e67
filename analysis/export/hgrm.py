# SPDX-License-Identifier: MIT
"""HdrHistogram's percentile distribution (`.hgrm`): what its plotters and many tools read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.histogram import PRECISION, Histogram, middle

TICKS = 5
"""Lines per halving of the distance to 100 %."""


def percentiles(n: int) -> NDArray[np.float64]:
    """The percentiles a histogram of n values is given at: ever denser towards 1, then 1."""
    halvings = max(math.ceil(math.log2(n)), 0) + 1 if n else 0
    start = 1 - 2.0 ** -np.arange(halvings + 1)
    steps = np.arange(TICKS) / TICKS
    levels = (start[:-1, None] + np.diff(start)[:, None] * steps).ravel()
    return np.append(levels[1 - levels >= 1 / max(n, 1)], 1.0)


def to_hgrm(histogram: Histogram, scale: float, mean: float, spread: float, largest: float) -> str:
    """The text of a `.hgrm` file.

    Args:
        histogram: of integer values.
        scale: what a value is multiplied with, to be in the unit of the file.
        mean: in the unit of the file, like all that follows.
        spread: standard deviation.
        largest: the exact maximum.
    """
    n, below = histogram.n, np.cumsum(histogram.counts)
    levels = percentiles(n)
    ranks = np.clip(np.ceil(levels * n), 1, n).astype(np.int64)
    at = np.searchsorted(below, ranks)
    values = middle(histogram.bins)[at] * scale if n else np.zeros(len(levels))
    values[-1] = largest
    rows = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n"]
    for level, value, count in zip(levels, values, below[at] if n else [0], strict=True):
        beyond = f"{1 / (1 - level):14.2f}" if level < 1 else f"{'inf':>14}"
        rows.append(f"{value:12.3f} {level:2.12f} {int(count):10d} {beyond}")
    rows.append(f"#[Mean    = {mean:12.3f}, StdDeviation   = {spread:12.3f}]")
    rows.append(f"#[Max     = {largest:12.3f}, Total count    = {n:12d}]")
    rows.append(f"#[Buckets = {64 - PRECISION:12d}, SubBuckets     = {1 << PRECISION:12d}]")
    return "\n".join(rows) + "\n"


def deviation(histogram: Histogram, mean: float) -> float:
    """The standard deviation of binned values around their exact mean."""
    spread = (middle(histogram.bins) - mean) ** 2
    return math.sqrt(float(spread @ histogram.counts) / max(histogram.n, 1))
