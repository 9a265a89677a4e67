# SPDX-License-Identifier: MIT
"""Comparisons: a change is found, none is not, and false alarms keep to their stated rate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.comparison.comparison import LEAST_EFFECT, Comparison, parse
from memsc.analysis.data.scan import BlockKey
from memsc.analysis.data.sketch import QUANTITIES, TOTAL, Sketch
from memsc.analysis.data.statistics import LEVEL, Resampled, ratio
from memsc.commands.__main__ import main
from memsc.runtime.errors import FAIL_IF_MET, USAGE, WITHHELD, MemscError

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def trace(name: str, **how: object) -> str:
        folder = tmp_path / f"{name}.memsc"
        options = {"arms": ("direct", "memsc"), "rounds": 8, "calls": 2000, "jitter": 0.005}
        return str(traces.fabricate(folder, **(options | how)))  # type: ignore[arg-type]

    return trace


def test_a_change_is_found_and_none_is_not(make: Make) -> None:
    base, new = make("base", seed=1), make("new", seed=2, scale=1.2)
    slower = Comparison(ma.open(base), ma.open(new)).df_compare()
    p50 = slower.query("stage == 'total' and metric == 'p50' and arm == 'memsc'").iloc[0]
    assert p50["verdict"] == "slower"
    assert p50["low"] < 0.2 < p50["high"] + 0.01
    again = Comparison(ma.open(base), ma.open(make("again", seed=3))).df_compare()
    p50 = again.query("stage == 'total' and metric == 'p50' and arm == 'memsc'").iloc[0]
    assert p50["verdict"] == "no change seen"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("memsc.total.p50 > +5%", FAIL_IF_MET),
        ("memsc.total.p50 > +50%", 0),
        ("memsc.total.p50 < -5%", 0),
        ("memsc/sync.execute.mean > 100ns", FAIL_IF_MET),
        ("memsc.execute.mean > 1000ns", 0),
        ("direct.total.p50 < -5% or memsc.post.p90 > 5%", FAIL_IF_MET),
        ("memsc.total.p999 > +5%", WITHHELD),
        ("memsc.total.p99.9 > +5%", WITHHELD),
        ("memsc.execute.mean > 0.1us", FAIL_IF_MET),
        ("memsc.execute.mean > 5", USAGE),
        ("", USAGE),
        ("memsc.total.p50 +5%", USAGE),
        ("memsc.wait.p50 > +5%", USAGE),
        ("memsc.total.p51 > +5%", USAGE),
        ("uring.total.p50 > +5%", USAGE),
    ],
)
def test_fail_if(
    make: Make, condition: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    base, new = make("base", seed=1), make("new", seed=2, scale=1.2)
    assert main(["compare", base, new, "--fail-if", condition]) == status
    if status == USAGE:
        assert capsys.readouterr().err.count("\n") == 1


def test_a_large_but_uncertain_change_raises_no_alarm(make: Make) -> None:
    base, new = make("base", seed=1, jitter=0.5), make("new", seed=9, jitter=0.5)
    outcome = Comparison(ma.open(base), ma.open(new)).judge(parse("memsc.total.mean > +1%"))[0]
    assert outcome.met is False


def test_lost_calls_withhold_the_verdict(make: Make) -> None:
    base, new = make("base"), make("new", seed=2, scale=2.0, lost=1)
    assert main(["compare", base, new, "--fail-if", "memsc.total.p50 > +5%"]) == WITHHELD


def test_json_holds_every_row(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", make("base"), make("new", seed=2), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1
    assert {row["stage"] for row in content["rows"]} == set(QUANTITIES)
    for row in content["rows"]:
        assert (row["change"] is None) == (row["verdict"] == "insufficient")
        assert (row["reason"] is None) == (row["verdict"] != "insufficient")


def test_traces_that_share_nothing_have_nothing_to_judge(make: Make) -> None:
    base, new = make("base", case="a"), make("new", case="b")
    with pytest.raises(MemscError, match="do not share"):
        Comparison(ma.open(base), ma.open(new)).judge(parse("memsc.total.p50 > +5%"))


def test_traces_that_share_nothing_withhold_the_verdict(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = make("base", case="a"), make("new", case="b")
    says = "no arm and case is in both traces: BASE has direct/a, memsc/a, NEW has direct/b"
    assert main(["compare", *pair, "--fail-if", "memsc.total.p50 > +5%"]) == WITHHELD
    assert says[:50] in capsys.readouterr().out
    assert main(["compare", *pair, "--json"]) == WITHHELD
    content = json.loads(capsys.readouterr().out)
    assert content["verdict"]["reasons"][0].startswith(says)
    assert (content["rows"], content["fail_if"]) == ([], [])


def test_the_shift_function_tells_a_constant_cost_from_a_growing_one(make: Make) -> None:
    comparison = ma.compare(make("base", jitter=0.0), make("new", seed=2, scale=1.2, jitter=0.0))
    frame = comparison.df_shift().query("arm == 'memsc' and quantile in (0.1, 0.5, 0.9)")
    assert (frame["low_ns"] < frame["shift_ns"]).all()
    assert (frame["shift_ns"] < frame["high_ns"]).all()
    assert np.allclose(frame["shift_ns"] / frame["base_ns"], 0.2, atol=0.03)
    assert frame["shift_ns"].is_monotonic_increasing
    rare = comparison.df_shift().query("quantile == 0.999").iloc[0]
    assert np.isnan(rare["shift_ns"])
    assert "20 needed" in rare["reason"]
    with pytest.raises(MemscError, match="no such stage"):
        comparison.df_shift("wait")
    assert len(comparison.plot_shift("execute").axes[0].lines) == 3
    with pytest.raises(MemscError, match="the traces share sync"):
        comparison.plot_shift(case="none")


def test_a_change_that_is_sure_but_small_is_none(make: Make) -> None:
    how = {"jitter": 0.0, "calls": 20_000}
    base, new = make("a", seed=1, **how), make("b", seed=2, scale=1.006, **how)
    frame = ma.compare(base, new).df_compare()
    row = frame.query("arm == 'memsc' and stage == 'execute' and metric == 'mean'").iloc[0]
    assert row["low"] > 0
    assert 0 < row["change"] < LEAST_EFFECT
    assert row["verdict"] == "no change seen"


def test_the_stages_that_changed_are_shown(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", make("base"), make("new", seed=2, scale=1.2)]) == 0
    out = capsys.readouterr().out
    assert "mean of the stages that changed" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_change_of_many_times_is_a_factor(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", make("base"), make("new", seed=2, scale=30.0)]) == 0
    out = capsys.readouterr().out
    assert "×30" in out and "slower" in out
    assert max(map(len, out.splitlines())) <= 80


def side(generator: np.random.Generator, name: str, jitter: float) -> Resampled:
    blocks: dict[BlockKey, Sketch] = {}
    for index in range(6):
        shift = 1 + jitter * generator.standard_normal()
        for block in range(4):
            stages = traces.stages_like("memsc", 200, generator, shift)
            whole = np.vstack([stages.T, stages.sum(axis=1)])
            blocks[BlockKey(index, block)] = Sketch.of(whole, np.zeros(200, np.int64))
    return Resampled(blocks, name)


@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("metric", ["mean", "p50"])
def test_a_against_a_alarms_at_its_stated_rate(jitter: float, metric: str) -> None:
    """Never more often than stated. Blocks drawn within rounds only make it rarer."""
    generator = np.random.default_rng(11)
    total, trials, alarms = QUANTITIES.index(TOTAL), 120, 0
    for trial in range(trials):
        pair = [side(generator, f"{name}{trial}", jitter) for name in "ab"]
        if metric == "mean":
            figures = [one.means(total) for one in pair]
        else:
            figures = [one.quantiles(total, [0.5])[0] for one in pair]
        found = ratio(figures[1], figures[0], [one.resampling for one in pair])
        alarms += found.low > 1 or found.high < 1
    # The seed is fixed, so this cannot fail by chance; the bound is what chance would allow.
    assert alarms <= scipy.stats.binom.ppf(0.999, trials, 1 - LEVEL)
