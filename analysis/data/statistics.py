# SPDX-License-Identifier: MIT
"""Intervals by resampling what was really replicated: rounds, then blocks within them.

A million calls of one round are one run, not a million: they share its placement, its frequency,
its neighbours. So rounds are drawn with replacement, and from each drawn round its blocks. The
percentile interval of few rounds is too narrow; its ends are moved outwards as Hesterberg (2015,
"What teachers should know about the bootstrap") gives it, which is exact for a mean of normal
rounds. Fewer than `FEWEST_ROUNDS` say nothing about other runs: then only the blocks are drawn, and
the interval is named so.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.histogram import Histogram, middle
from memsc.analysis.data.scan import BlockKey
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.data.student import normal_below, quantile

LEVEL = 0.95
RESAMPLES = 1000
FEWEST_ROUNDS = 4
FEWEST_ALONE = 10
"""Rounds from which resamples alone reach 95 %: of four, all lie on one side of the middle in an
eighth of all cases, and no resample is beyond them; of six, often none of those that are far off.
"""
FEWEST_BLOCKS = 4
SAMPLES_ABOVE = 20
"""Calls that must lie above a percentile for it to be reported."""
FEW = f"insufficient: fewer than {SAMPLES_ABOVE} calls"
"""What a figure says in place of a distribution."""

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}

Blocks = Mapping[BlockKey, Sketch]


class Interval(NamedTuple):
    """A confidence interval, and over what: "rounds", "blocks" (within one run) or "none"."""

    low: float
    high: float
    basis: str

    def scaled(self, factor: float) -> Interval:
        """The same in another unit."""
        return Interval(self.low * factor, self.high * factor, self.basis)


UNKNOWN = Interval(float("nan"), float("nan"), "none")


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often each block comes in each resample: shape (RESAMPLES, blocks)."""

    weights: NDArray[np.float32]
    units: int
    basis: str

    @staticmethod
    def of(rounds: Sequence[int], seed: str) -> Resampling:
        """Draws rounds, then blocks within.

        Args:
            rounds: for each block, the round it belongs to.
            seed: a name; the same name draws the same, other names independently.
        """
        generator = np.random.default_rng(zlib.crc32(seed.encode()))
        labels = np.asarray(rounds)
        found = sorted(set(rounds))
        over_rounds = len(found) >= FEWEST_ROUNDS
        if over_rounds:
            share = np.full(len(found), 1 / len(found))
            drawn = generator.multinomial(len(found), share, RESAMPLES)
        else:
            drawn = np.ones((RESAMPLES, len(found)), np.int64)
        weights = np.zeros((RESAMPLES, len(labels)), np.float32)
        for i, number in enumerate(found):
            mine = np.flatnonzero(labels == number)
            share = np.full(len(mine), 1 / len(mine))
            weights[:, mine] = generator.multinomial(drawn[:, i] * len(mine), share)
        if over_rounds:
            return Resampling(weights, len(found), "rounds")
        return Resampling(
            weights, len(labels), "blocks" if len(labels) >= FEWEST_BLOCKS else "none"
        )

    def interval(self, statistics: NDArray[np.floating]) -> Interval:
        """The expanded percentile interval of a statistic's resamples, shape (RESAMPLES,)."""
        return interval(statistics, [self])


def interval(statistics: NDArray[np.floating], sources: Sequence[Resampling]) -> Interval:
    """The interval of a statistic made of one or more independently resampled sides.

    Args:
        statistics: its resamples, shape (RESAMPLES,).
        sources: where they came from. Runs speak for other runs only if every side has them.
    """
    return intervals(statistics[None], sources)[0]


def intervals(statistics: NDArray[np.floating], sources: Sequence[Resampling]) -> list[Interval]:
    """The same of several statistics of the same sides: shape (m, RESAMPLES)."""
    bases = {source.basis for source in sources}
    basis = next(name for name in ("none", "blocks", "rounds") if name in bases)
    if basis == "none" or not len(statistics):
        return [UNKNOWN] * len(statistics)
    fewest = min(source.units for source in sources)
    freedom = sum(source.units - 1 for source in sources)
    known = [bool(np.isfinite(row).all()) for row in statistics]
    low, high = np.quantile(statistics[known], tails(fewest, freedom), axis=1)
    if basis == "rounds" and fewest < FEWEST_ALONE:
        low, high = _widened(statistics[known], low, high, fewest, freedom)
    found = iter(np.stack([low, high], axis=1).tolist())
    return [Interval(*next(found), basis=basis) if one else UNKNOWN for one in known]


def _widened(
    statistics: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    units: int,
    freedom: int,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """No narrower than Student's interval, with the spread of the resamples.

    Of times, whose logarithms are more nearly normal, it is that of the logarithms.
    """
    times = np.min(statistics, axis=1, keepdims=True) > 0
    scale = np.where(times, np.log(np.where(times, statistics, 1)), statistics)
    spread = scale.std(axis=1) * math.sqrt(units / (units - 1))
    half = quantile((1 + LEVEL) / 2, freedom) * spread
    middle_of = scale.mean(axis=1)
    ends = (middle_of - half, middle_of + half)
    flat = np.ravel(times)
    under, over = (np.where(flat, np.exp(np.where(flat, end, 0)), end) for end in ends)
    return np.minimum(low, under), np.maximum(high, over)


def tails(units: int, freedom: int, level: float = LEVEL) -> tuple[float, float]:
    """The percentiles of resamples that bound an interval.

    Args:
        units: replicated units of the smallest side: sets how far resamples fall short in spread.
        freedom: degrees of freedom of all sides together.
        level: how often the interval is to hold the truth.
    """
    tail = normal_below(math.sqrt(units / (units - 1)) * quantile((1 - level) / 2, freedom))
    return tail, 1 - tail


class Resampled:
    """One cell's blocks and their resamples; every figure of the cell shares them.

    Args:
        blocks: a cell's sketches.
        seed: names the draw (see `Resampling.of`).
    """

    def __init__(self, blocks: Blocks, seed: str) -> None:
        self._keys = sorted(blocks)
        self._sketches = [blocks[key] for key in self._keys]
        self.whole = Sketch.merge(self._sketches)
        self.resampling = Resampling.of([key.round for key in self._keys], seed)
        self.rounds = len({key.round for key in self._keys})
        self._counts = np.array([sketch.n for sketch in self._sketches], np.float64)

    def means(self, quantity: int) -> NDArray[np.float64]:
        """Resampled means of a quantity (index into `QUANTITIES`), cycles."""
        sums = np.array([sketch.sums[quantity] for sketch in self._sketches], np.float64)
        weights = self.resampling.weights
        return (weights @ sums) / (weights @ self._counts)

    def quantiles(self, quantity: int, qs: Sequence[float]) -> NDArray[np.float64]:
        """Resampled quantiles of a quantity, cycles: shape (len(qs), RESAMPLES)."""
        histograms = [sketch.histograms[quantity] for sketch in self._sketches]
        return quantiles(self.resampling, histograms, qs)

    def mean_interval(self, quantity: int) -> Interval:
        """Interval of a mean, cycles."""
        return self.resampling.interval(self.means(quantity))

    def quantile_intervals(self, quantity: int, qs: Sequence[float]) -> list[Interval]:
        """Intervals of quantiles, cycles."""
        if self.resampling.basis == "none":
            return [UNKNOWN] * len(qs)
        return intervals(self.quantiles(quantity, qs), [self.resampling])


_FEW_BLOCKS = 4


def quantiles(
    resampling: Resampling, histograms: Sequence[Histogram], qs: Sequence[float]
) -> NDArray[np.float64]:
    """Resampled quantiles.

    Args:
        resampling: of the blocks.
        histograms: one per block.
        qs: shape (m,), between 0 and 1.

    Returns:
        Shape (m, RESAMPLES).
    """
    whole = Histogram.merge(histograms)
    values = middle(whole.bins)
    counts = np.zeros((len(histograms), len(whole.bins)), np.float32)
    for row, part in enumerate(histograms):
        counts[row, np.searchsorted(whole.bins, part.bins)] = part.counts
    np.cumsum(counts, axis=1, out=counts)
    # Of few blocks most draws are the same one again.
    weights, again = resampling.weights, None
    if len(histograms) <= _FEW_BLOCKS:
        weights, again = np.unique(weights, axis=0, return_inverse=True)
    below = weights @ counts
    ranks = np.ceil(np.asarray(qs) * below[:, -1:])
    found = values[_first_at_least(below, ranks)]
    return (found if again is None else found[again.ravel()]).T


def _first_at_least(below: NDArray[np.float32], ranks: NDArray[np.floating]) -> NDArray[np.int64]:
    """For each rank, the first column of its row that reaches it: halving, all rows at once."""
    low = np.zeros(ranks.shape, np.int64)
    high = np.full(ranks.shape, below.shape[1] - 1, np.int64)
    for _ in range(below.shape[1].bit_length()):
        middle_of = (low + high) // 2
        reached = np.take_along_axis(below, middle_of, axis=1) >= ranks
        high = np.where(reached, middle_of, high)
        low = np.where(reached, low, np.minimum(middle_of + 1, high))
    return high


def insufficient(sketch: Sketch, quantity: int, q: float) -> str | None:
    """Why a percentile may not be reported, or None if it may."""
    above = sketch.histograms[quantity].above(q)
    if above >= SAMPLES_ABOVE:
        return None
    return f"insufficient: {above} calls above it, {SAMPLES_ABOVE} needed"


def ratio(
    over: NDArray[np.floating], under: NDArray[np.floating], sources: Sequence[Resampling]
) -> Interval:
    """Interval of a ratio of two independently resampled statistics.

    Args:
        over: resamples of what is divided, shape (RESAMPLES,).
        under: resamples of what it is divided by, likewise.
        sources: where they came from.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(over / under, sources)
