# SPDX-License-Identifier: MIT
"""A figure together with its interval, however it was made: from resamples, turns, or others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.statistics import Interval, Resampling, ratio


class Estimate(NamedTuple):
    """A figure and the bounds of its interval at 95 %; None where too few rounds give none."""

    value: float
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(value: float, interval: Interval) -> Estimate:
        """With an interval, if it speaks for other runs than the one that was measured."""
        if interval.basis != "rounds":
            return Estimate(value)
        return Estimate(value, interval.low, interval.high)

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit."""
        return Estimate(*(None if each is None else each * factor for each in self))  # type: ignore[arg-type]

    def across(self, bound: float) -> bool | None:
        """Whether a bound lies within the interval; None if there is none."""
        return None if self.low is None or self.high is None else self.low < bound < self.high


class Sampled(NamedTuple):
    """A figure and its resamples, shape (RESAMPLES,)."""

    value: float
    values: NDArray[np.float64]
    resampling: Resampling


def divide(above: Sampled, *below: Sampled) -> Estimate:
    """A figure ÷ the sum of others, all resampled independently."""
    value = above.value / sum(each.value for each in below)
    values = np.sum([each.values for each in below], axis=0)
    sources = [each.resampling for each in (above, *below)]
    return Estimate.of(value, ratio(above.values, values, sources))


def median_of(values: Sequence[float], seed: str) -> Estimate:
    """The median of what each round or turn gave.

    Args:
        values: one each.
        seed: names the draw (see `Resampling.of`).
    """
    found = np.asarray(values, float)
    resampling = Resampling.of(range(len(found)), seed)
    ordered = np.sort(found)
    below = np.cumsum(resampling.weights[:, np.argsort(found)], axis=1)
    # As `median`: between the two in the middle, which are one and the same for odd counts.
    halves = ((len(found) + 1) // 2, len(found) // 2 + 1)
    lower, upper = (ordered[(below >= half).argmax(axis=1)] for half in halves)
    medians = (lower + upper) / 2
    return Estimate.of(float(np.median(found)), resampling.interval(medians))


def mean_of(values: Sequence[float], seed: str) -> Estimate:
    """The same of the mean."""
    found = np.asarray(values, float)
    resampling = Resampling.of(range(len(found)), seed)
    means = (resampling.weights @ found) / resampling.weights.sum(axis=1)
    return Estimate.of(float(found.mean()), resampling.interval(means))


def quotient(above: Estimate, below: Estimate) -> Estimate | None:
    """A ratio of two figures of which the intervals are known, but no resamples any more.

    By the method of variance estimates recovery (Donner and Zou 2012, "Closed-form confidence
    intervals for functions of the normal mean and standard deviation"), on logarithms: how far
    each side reaches adds up in squares. None if there is nothing to divide by.
    """
    if not below.value:
        return None
    value = above.value / below.value
    ends = (above.low, above.high, below.low, below.high)
    if any(end is None or end <= 0 for end in ends) or value <= 0:
        return Estimate(value)
    low, high, under, over = (math.log(end) for end in ends if end is not None)
    a, b = math.log(above.value), math.log(below.value)
    return Estimate(
        value,
        value * math.exp(-math.hypot(a - low, over - b)),
        value * math.exp(math.hypot(high - a, b - under)),
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """The same of what one figure is more than another."""
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value)
    return Estimate(
        value,
        value - math.hypot(one.value - one.low, other.high - other.value),
        value + math.hypot(one.high - one.value, other.value - other.low),
    )
