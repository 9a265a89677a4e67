# SPDX-License-Identifier: MIT
"""Figures with intervals: of rounds, of turns, and of two figures divided."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import special
from tests.helpers.traces import fabricate

from memsc.analysis import open as open_analysis
from memsc.analysis.data import student
from memsc.analysis.data.estimates import Estimate, difference, mean_of, median_of, quotient
from memsc.analysis.data.timed import Block
from memsc.analysis.domains.timings import Timed, Timings
from memsc.bench.verdict.benchmark import benchmark
from memsc.bench.verdict.target_figures import Figures

ROUNDS = 12
RUNS = 300
SURELY = 0.88  # of intervals that are to hold the truth in 95 of 100


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    held = {"mean": 0, "median": 0, "quotient": 0, "difference": 0}
    for run in range(RUNS):
        one, other = (centre + generator.normal(size=ROUNDS) for centre in (20, 10))
        sides = mean_of(list(one), f"{run}/one"), mean_of(list(other), f"{run}/other")
        held["mean"] += bool(sides[0].across(20))
        held["median"] += bool(median_of(list(one), f"{run}").across(20))
        divided = quotient(*sides)
        assert divided is not None
        held["quotient"] += bool(divided.across(2))
        held["difference"] += bool(difference(*sides).across(10))
    assert min(held.values()) >= SURELY * RUNS, held


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0, 9.0], [5.0, 1.0, 4.0, 2.0, 3.0]])
def test_an_interval_over_four_or_five_reaches_beyond_them(values: list[float]) -> None:
    """In an eighth of all cases all of four lie on one side of the middle."""
    found = median_of(values, "x")
    assert found.low is not None and found.high is not None
    assert 0 < found.low < min(values) and max(values) < found.high
    turned = median_of([-value for value in values], "x")
    assert turned.low is not None and turned.low < -max(values)


@pytest.mark.parametrize(
    "values", [[3.0, 1, 2, 9, 4, 7, 5, 12, 6, 8], [5.0, 1, 4, 2, 3, 8, 6, 9, 11, 7, 10]]
)
def test_a_median_of_resamples_is_the_median_of_what_was_drawn(values: list[float]) -> None:
    found = median_of(values, "x")
    assert found.value == np.median(values)
    assert found.low is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


def test_few_rounds_have_no_interval() -> None:
    assert mean_of([1.0, 2.0, 3.0], "x") == Estimate(2.0)
    assert median_of([1.0], "x") == Estimate(1.0)
    assert quotient(Estimate(4.0), Estimate(2.0, 1.0, 3.0)) == Estimate(2.0)
    assert quotient(Estimate(4.0), Estimate(0.0)) is None
    assert Estimate(1.0).across(1.0) is None


def test_a_target_is_judged_by_its_figure_and_says_whether_its_bound_is_within(
    tmp_path: Path,
) -> None:
    trace = open_analysis(fabricate(tmp_path / "t.memsc", calls=500))
    timed = trace.timings.per_call()
    ipi, ours = (timed[Timed(arm, "sync", recording=False)] for arm in ("ipi", "memsc"))
    figure = Figures(trace).mean(("ipi", "sync"), ("memsc", "sync"))
    assert figure.value == ipi.mean / ours.mean
    (target,) = (t for t in benchmark(trace)["targets"] if t["name"] == "ipi ÷ memsc, sync, mean")
    assert (target["value"], target["low"], target["high"]) == figure
    assert target["low"] < target["value"] < target["high"]
    assert (target["held"], target["settled"]) == (True, True)
    few = open_analysis(fabricate(tmp_path / "few.memsc", calls=500, rounds=2))
    (target,) = (t for t in benchmark(few)["targets"] if t["name"] == "ipi ÷ memsc, sync, mean")
    assert (target["held"], target["low"], target["settled"]) == (True, None, None)


def test_students_quantiles_are_where_so_much_lies_below() -> None:
    """By SciPy's distribution: the quantiles of 1.13 are off by 2e-11, even of one degree."""
    for below in (0.005, 0.025, 0.3, 0.5, 0.9, 0.975):
        exact = math.tan(math.pi * (below - 0.5))
        assert student.quantile(below, 1) == pytest.approx(exact, rel=1e-14, abs=1e-14)
        for freedom in (*range(1, 40), 127, 255, 256, 999):
            found = float(special.stdtr(freedom, student.quantile(below, freedom)))
            assert found == pytest.approx(below, rel=5e-13)


def ring_turns(*moods: float) -> Figures:
    """Two calls in a thousand take thrice what others do; in odd moods, under memsc, 90 times."""
    blocks: dict[Timed, dict[int, list[Block]]] = {}
    for arm, body in (("memsc", 110), ("bare-ring", 100)):
        for turn, mood in enumerate(moods):
            cycles = np.full(30_000, round(body * mood))
            cycles[::500] *= 90 if arm == "memsc" and mood != 1 else 3
            block = Block.of(np.ones_like(cycles), cycles)
            blocks.setdefault(Timed(arm, "ring", recording=False), {})[turn] = [block]
    nothing: Any = None
    timed: Any = SimpleNamespace(blocks=blocks)
    clock = SimpleNamespace(ns_per_cycle=1.0)
    trace: Any = SimpleNamespace(
        timings=Timings(nothing, [], timed=timed), session=SimpleNamespace(clock=clock)
    )
    return Figures(trace)


@pytest.mark.parametrize("moods", [(1, 1, 1, 1), (1, 3, 1, 1, 3, 1, 1), (0.5, 1, 1, 0.5, 1)])
def test_tails_are_held_against_the_rings_where_both_had_the_usual_mood(
    moods: tuple[float, ...],
) -> None:
    assert ring_turns(*moods).tail_beside_ring().value == pytest.approx(1, rel=0.02)


def test_a_tail_of_the_usual_mood_is_not_passed_over() -> None:
    assert ring_turns(2, 2, 2, 1).tail_beside_ring().value == pytest.approx(30, rel=0.02)
