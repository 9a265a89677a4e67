# SPDX-License-Identifier: MIT
"""What one of so many calls tells of all: figures of full recording are within its intervals.

Whole runs are drawn from as the runtime draws (record.h), again and again, so the figures of all
calls are known. They are to lie within the intervals of those drawn in 95 of 100 cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from tests.helpers import traces

from memsc.analysis.data.scan import BlockKey, stages_of
from memsc.analysis.data.sketch import QUANTITIES
from memsc.analysis.data.statistics import LEVEL, Resampled
from memsc.tracer.format import CALLS, open_trace

Ints = NDArray[np.int64]
RECORDED = Path(__file__).parent / "recorded"
TRIES, MADE, EVERY = 40, 32_768, 8
BLOCKS = 16
QS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def like_each_other(generator: np.random.Generator) -> Ints:
    return traces.stages_like("memsc", MADE, generator)


def now_and_then_slow(generator: np.random.Generator) -> Ints:
    """Bursts of them, as beside other work."""
    stages = like_each_other(generator)
    bursts = generator.random(MADE // 64) < 0.05
    stages[np.repeat(bursts, 64), 1] += generator.integers(500, 5_000, MADE)[np.repeat(bursts, 64)]
    return stages


def moody(generator: np.random.Generator) -> Ints:
    """The host's mood changes every thousand calls."""
    scale = np.repeat(np.exp(0.2 * generator.standard_normal(MADE // 1024)), 1024)
    return np.rint(like_each_other(generator) * scale[:, None]).astype(np.int64)


def in_a_rhythm(generator: np.random.Generator) -> Ints:
    """Each eighth call takes longer, and one of eight is drawn."""
    stages = like_each_other(generator)
    stages[::EVERY, 2] *= 5
    return stages


def recorded(_: np.random.Generator) -> Ints:
    """Real calls of a real run, in its order, until there are enough."""
    table = open_trace(RECORDED / "again.memsc").read(CALLS)
    mine = np.array(table.column("arm").to_pylist()) == "memsc"
    found = stages_of(table)[:-1].T[mine]
    return np.resize(found, (MADE, found.shape[1]))


def recorded_usual(generator: np.random.Generator) -> Ints:
    """The same without the longest of a hundred, which may be as long as thousands of others."""
    stages = recorded(generator)
    total = stages.sum(axis=1)
    return np.resize(stages[total <= np.quantile(total, 0.99)], stages.shape)


RUNS: tuple[Callable[[np.random.Generator], Ints], ...] = (
    like_each_other,
    now_and_then_slow,
    moody,
    in_a_rhythm,
    recorded_usual,
    recorded,
)


@cache
def _steps() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Each number that is drawn, as factor and summand of the first."""
    factor, summand = 1, 0
    found: list[tuple[int, int]] = []
    for _ in range(MADE):
        factor = factor * 6364136223846793005 % (1 << 64)
        summand = (summand * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        found.append((factor, summand))
    factors, summands = np.array(found, np.uint64).T
    return factors, summands


def drawn(start: int) -> NDArray[np.bool_]:
    """Which calls of a thread are recorded, from its first number on; as `memsc_draw`."""
    factors, summands = _steps()
    numbers = factors * np.uint64(start) + summands
    return (numbers >> np.uint64(32)) * np.uint64(EVERY) >> np.uint64(32) == 0


def starts() -> list[int]:
    """What threads begin with: the clock's reading, whichever it is, and their own number."""
    clock = np.random.default_rng(3).integers(1 << 44, size=TRIES).tolist()
    return [reading ^ (4_000 + i) << 32 for i, reading in enumerate(clock)]


def sketched(stages: Ints) -> Resampled:
    """As of one run that was recorded so."""
    edges = np.linspace(0, len(stages), BLOCKS + 1).astype(np.int64)
    blocks = {
        BlockKey(0, i): traces.sketch_of(stages[start:end])
        for i, (start, end) in enumerate(pairwise(edges.tolist()))
    }
    return Resampled(blocks, "sparse")


def figures(found: Resampled) -> dict[tuple[str, str], float]:
    """Mean and percentiles of each stage and of the total, cycles."""
    told: dict[tuple[str, str], float] = {}
    for i, name in enumerate(QUANTITIES):
        told[name, "mean"] = int(found.whole.sums[i]) / found.whole.n
        for p, q in QS.items():
            told[name, p] = found.whole.histograms[i].quantile(q)
    return told


def ends_of(found: Resampled) -> dict[tuple[str, str], tuple[float, float]]:
    """Their intervals."""
    told: dict[tuple[str, str], tuple[float, float]] = {}
    for i, name in enumerate(QUANTITIES):
        mean = found.mean_interval(i)
        told[name, "mean"] = (mean.low, mean.high)
        for p, interval in zip(QS, found.quantile_intervals(i, list(QS.values())), strict=True):
            told[name, p] = (interval.low, interval.high)
    return told


def missed(stages: Ints, chosen: list[NDArray[np.bool_]]) -> Counter[tuple[str, str]]:
    """How often the figure of all calls is outside the interval of those chosen."""
    full, wrong = figures(sketched(stages)), Counter[tuple[str, str]]()
    for each in chosen:
        for figure, (low, high) in ends_of(sketched(stages[each])).items():
            wrong[figure] += not low <= full[figure] <= high
    return wrong


def seldom() -> int:
    """Misses that chance allows at 5 %. Seeds are fixed: none of this fails by chance."""
    return int(scipy.stats.binom.ppf(0.999, TRIES, 1 - LEVEL))


@pytest.mark.parametrize("run", RUNS)
def test_what_all_calls_are_is_within_the_intervals(
    run: Callable[[np.random.Generator], Ints],
) -> None:
    wrong = missed(run(np.random.default_rng(1)), [drawn(start) for start in starts()])
    assert len(wrong) == len(QUANTITIES) * (1 + len(QS))
    if (
        run is recorded
    ):  # one call of 9 ms is a fifth of all time: a mean hangs on whether it was drawn
        wrong = Counter({figure: n for figure, n in wrong.items() if figure[1] != "mean"})
    assert max(wrong.values()) <= seldom(), wrong


@pytest.mark.parametrize("run", RUNS)
def test_means_are_unbiased(run: Callable[[np.random.Generator], Ints]) -> None:
    stages = run(np.random.default_rng(2))
    found = np.array([stages[drawn(start)].mean(axis=0) for start in starts()])
    error = found.std(axis=0, ddof=1) / np.sqrt(TRIES)
    assert (np.abs(found.mean(axis=0) - stages.mean(axis=0)) <= 4 * error).all()


def test_the_truth_behind_a_run_is_within_them_too() -> None:
    """Each time it is another run of the same program: what is drawn speaks for all of them."""
    true = float(np.mean([like_each_other(np.random.default_rng(i)).mean() for i in range(50)])) * 4
    wrong, widths = 0, list[float]()
    for i, start in enumerate(starts()):
        stages = like_each_other(np.random.default_rng(1_000 + i))[drawn(start)]
        low, high = ends_of(sketched(stages))["total", "mean"]
        wrong += not low <= true <= high
        widths.append((high - low) / (2 * 1.96 * stages.sum(axis=1).std() / np.sqrt(len(stages))))
    assert wrong <= seldom()
    assert (
        float(np.median(widths)) < 1.5
    )  # and they say something: of 16 blocks Student makes it 1.09


def test_a_fixed_step_would_be_found_out() -> None:
    """Of a program whose rhythm is its own it records one kind of calls alone."""
    stages = in_a_rhythm(np.random.default_rng(1))
    chosen = [np.arange(MADE) % EVERY == i % EVERY for i in range(TRIES)]
    assert missed(stages, chosen)["execute", "mean"] == TRIES
