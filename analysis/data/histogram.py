# SPDX-License-Identifier: MIT
"""Histograms of integer cycles with a fixed relative error that merge exactly.

The bins are log-linear, as HdrHistogram's: every power of two is cut into 2**PRECISION equal bins.
The bin of a value is the top of its float64 bit pattern (exponent and first PRECISION bits of the
mantissa), so binning a column is one conversion and one shift. Values below 2**(PRECISION + 1) are
kept exactly, larger ones within `RELATIVE_ERROR`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRECISION = 8
RELATIVE_ERROR = 2.0 ** -(PRECISION + 1)

_SHIFT = 52 - PRECISION
# The pattern of 1.0 comes out as bin 1; bin 0 holds zero and whatever is below it.
_BIAS = (1023 << PRECISION) - 1


def bins_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bin of each value. Values of 0 and below share bin 0."""
    return bins_of_floats(values.astype(np.float64))


def bins_of_floats(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same for integers that are floats already, of any shape."""
    pattern = values.view(np.int64) >> _SHIFT
    pattern -= _BIAS
    return np.maximum(pattern, 0, out=pattern)


def lowest(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The smallest value of each bin; 0 for bin 0."""
    pattern = (np.asarray(bins, np.int64) + _BIAS) << _SHIFT
    return np.where(bins > 0, pattern.view(np.float64), 0.0)


def middle(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The value that stands for each bin: the middle of the integers in it."""
    low = lowest(bins)
    width = np.ldexp(1.0, np.frexp(np.maximum(low, 1.0))[1] - 1 - PRECISION)
    return low + np.maximum(width - 1.0, 0.0) / 2


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of the bins that are not empty.

    Attributes:
        bins: shape (k,), ascending bin numbers.
        counts: shape (k,), all positive.

    Example:
        >>> h = Histogram.of(np.array([80, 90, 90]))
        >>> h.n, h.quantile(0.5)
        (3, 90.0)
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(values: NDArray[np.int64]) -> Histogram:
        """Counts integer values."""
        return Histogram.of_bins(bins_of(values))

    @staticmethod
    def of_bins(bins: NDArray[np.int64]) -> Histogram:
        """Counts values whose bins are known."""
        if not len(bins):
            return EMPTY
        # There are few bins, and looking for the lowest first costs as much as counting.
        counts = np.bincount(bins)
        found = np.flatnonzero(counts)
        return Histogram(found, counts[found])

    @staticmethod
    def merge(parts: Iterable[Histogram]) -> Histogram:
        """The histogram of all values together: counts add, exactly, in any order."""
        several = [part for part in parts if len(part.bins)]
        if len(several) < 2:
            return several[0] if several else EMPTY
        low = min(int(part.bins[0]) for part in several)
        high = max(int(part.bins[-1]) for part in several)
        counts = np.zeros(high - low + 1, np.int64)
        for part in several:
            counts[part.bins - low] += part.counts
        found = np.flatnonzero(counts)
        return Histogram(found + low, counts[found])

    @property
    def n(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """The value at rank ceil(q n), within `RELATIVE_ERROR`; NaN if empty."""
        n = self.n
        if not n:
            return float("nan")
        rank = min(max(int(np.ceil(q * n)), 1), n)
        at = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(middle(self.bins[at : at + 1])[0])

    def ceiling(self, q: float) -> float:
        """The largest value of the bin at rank ceil(q n): no call up to the quantile exceeds it."""
        n = self.n
        if not n:
            return float("nan")
        rank = min(max(int(np.ceil(q * n)), 1), n)
        at = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(lowest(self.bins[at : at + 1] + 1)[0]) - 1

    def above(self, q: float) -> int:
        """How many values lie above the rank of a quantile: what its estimate rests on."""
        n = self.n
        return n - min(max(int(np.ceil(q * n)), 1), n) if n else 0


EMPTY = Histogram(np.zeros(0, np.int64), np.zeros(0, np.int64))
