# SPDX-License-Identifier: MIT
"""Comparisons: a change is found, none is not, and false alarms keep to their stated rate."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.comparison.comparison import LEAST_EFFECT
from memsc.analysis.comparison.conditions import parse
from memsc.analysis.data.sketch import QUANTITIES
from memsc.commands.__main__ import main
from memsc.runtime.errors import FAIL_IF_MET, USAGE, WITHHELD, MemscError

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def trace(name: str, **how: object) -> str:
        folder = tmp_path / f"{name}.memsc"
        options = {"arms": ("direct", "memsc"), "rounds": 2, "calls": 2000, "jitter": 0.005}
        return str(traces.fabricate(folder, **(options | how)))  # type: ignore[arg-type]

    return trace


def several(make: Make, name: str, sessions: int = 3, seed: int = 1, **how: object) -> list[str]:
    return [make(f"{name}{i}", seed=seed + i, **how) for i in range(sessions)]


def test_a_change_is_found_and_none_is_not(make: Make) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20, scale=1.2)
    slower = ma.compare(base, new).df_compare()
    p50 = slower.query("stage == 'total' and metric == 'p50' and arm == 'memsc'").iloc[0]
    assert p50["verdict"] == "slower"
    assert p50["low"] < 0.2 < p50["high"] + 0.01
    again = ma.compare(base, several(make, "again", seed=30)).df_compare()
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
        ("memsc.program.mean > 5% or memsc.total.p50 > +5%", FAIL_IF_MET),
        ("memsc.program.p50 > 5%", USAGE),
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
    base, new = several(make, "base"), several(make, "new", seed=20, scale=1.2)
    assert main(["compare", *base, "--", *new, "--fail-if", condition]) == status
    if status == USAGE:
        assert capsys.readouterr().err.count("\n") == 1


def test_a_large_but_uncertain_change_raises_no_alarm(make: Make) -> None:
    base = several(make, "base", jitter=0.5, rounds=1)
    new = several(make, "new", seed=9, jitter=0.5, rounds=1)
    outcome = ma.compare(base, new).judge(parse("memsc.total.mean > +1%"))[0]
    assert outcome.met is None and outcome.near


@pytest.mark.parametrize(
    ("condition", "figure", "met"),
    [
        ("> +10%", (0.15, 0.12, 0.18), True),
        ("> +10%", (0.15, 0.02, 0.28), True),  # a change for sure, and seen as large
        ("> +10%", (0.15, -0.02, 0.32), None),
        ("> +10%", (0.05, 0.02, 0.08), False),
        ("> +10%", (0.05, 0.02, 0.12), None),
        ("> +10%", (0.05, -0.01, 0.127), None),
        ("> +10%", (-0.03, -0.82, 4.18), None),
        ("> +10%", (0.0, -0.03, 0.03), False),
        ("< -10%", (-0.15, -0.28, -0.02), True),
        ("< -10%", (-0.05, -0.12, 0.02), None),
        ("< -10%", (0.05, -0.02, 0.12), False),
        ("> 300ns", (400, 350, 450), True),
        ("> 300ns", (400, 290, 510), None),
        ("> 300ns", (200, 100, 310), None),
        ("> 300ns", (200, 150, 250), False),
        ("< 300ns", (200, 150, 250), True),
        ("< 300ns", (250, 150, 350), None),
        ("< 300ns", (400, 310, 500), False),
    ],
)
def test_a_condition_is_met_or_ruled_out_or_not_settled(
    condition: str, figure: tuple[float, float, float], met: bool | None
) -> None:
    assert parse(f"memsc.total.p50 {condition}")[0].met(*figure) is met


def test_what_is_not_settled_is_no_tick(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """An interval across the bound rules nothing out: no status 0, and how it would be settled."""
    base = several(make, "base", jitter=0.5, rounds=1)
    new = several(make, "new", seed=9, jitter=0.5, rounds=1)
    condition = ["--fail-if", "memsc.total.mean > +10%"]
    assert main(["compare", *base, "--", *new, *condition]) == WITHHELD
    out = " ".join(capsys.readouterr().out.split())
    assert "? not settled: --fail-if memsc.total.mean > +10%: " in out
    assert "The interval reaches across the bound. To settle it, record both in turn" in out
    assert "Or record more sessions a side" in out and "✓" not in out
    assert main(["compare", *base, "--", *new, "--json", *condition]) == WITHHELD
    told = json.loads(capsys.readouterr().out)
    assert told["settle"].startswith("To settle it") and not told["verdict"]["withheld"]
    assert main(["compare", *base, "--", *new, "--fail-if", "memsc.total.mean > 1s"]) == 0
    assert re.search(r"✓ --fail-if memsc.total.mean > 1s: \S+ ns \(", capsys.readouterr().out)


def test_sides_are_named_by_what_tells_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths: list[list[str]] = []
    for seed, side in enumerate(("base", "new")):
        (tmp_path / side).mkdir()
        paths.append(
            [
                str(traces.fabricate(tmp_path / side / f"{i}.memsc", seed=5 * seed + i, calls=200))
                for i in range(3)
            ]
        )
    main(["compare", *paths[0], "--", *paths[1]])
    assert capsys.readouterr().out.startswith("base (3) → new (3) ")
    main(["compare", paths[0][0], paths[1][1]])
    assert capsys.readouterr().out.startswith("0 → 1 ")


def test_lost_calls_withhold_the_verdict(make: Make) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20, scale=2.0)
    new.append(make("lost", seed=40, scale=2.0, lost=1))
    assert main(["compare", *base, "--", *new, "--fail-if", "memsc.total.p50 > +5%"]) == WITHHELD


@pytest.mark.parametrize("condition", ["memsc.total.p50 > +5%", "memsc.execute.mean > 100ns"])
@pytest.mark.parametrize("rounds", [1, 8])
def test_one_session_a_side_gives_no_verdict(
    make: Make, condition: str, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the change, and however many rounds: those share the mood of their session."""
    pair = make("base", rounds=rounds), make("new", seed=2, scale=3.0, rounds=rounds)
    for more in ([], ["--fail-if", condition]):
        assert main(["compare", *pair, *more]) == WITHHELD
        out = capsys.readouterr().out
        assert "verdict withheld: one session a side" in out
        assert "no result: what was seen of each" in out
        assert "memsc compare base/*.memsc -- new/*.memsc" in " ".join(out.split())
        assert not re.search(r"slower|faster|no change seen|\*$", out, re.MULTILINE)
        assert max(map(len, out.splitlines())) <= 80
    assert main(["compare", *pair, "--json", "--fail-if", condition]) == WITHHELD
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["withheld"] and told["settle"].startswith("To settle it")
    assert {row["verdict"] for row in told["rows"]} == {"withheld", "insufficient"}
    assert all(row["low"] is None and row["high"] is None for row in told["rows"])
    assert [one["met"] for one in told["fail_if"]] == [None]


def test_how_much_a_machines_sessions_differ_others_may_tell(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    base, slow = several(make, "base", 2), several(make, "slow", 2, seed=30, scale=1.3)
    history = several(make, "history", 3, seed=50)
    few = [word for path in history[:2] for word in ("--history", path)]
    assert main(["compare", *base, "--", *slow, *few]) == WITHHELD
    condition = ["--fail-if", "memsc.total.p50 > +5%"]
    told = [*few, "--history", history[2], *condition]
    assert main(["compare", *base, "--", *slow, *told]) == FAIL_IF_MET
    capsys.readouterr()
    # A folder is all the traces in it. A single session on a side is never enough.
    everything = str(Path(history[0]).parent)
    assert main(["compare", base[0], slow[0], "--history", everything, *condition]) == WITHHELD
    assert main(["compare", everything, "--", slow[0], *condition]) == WITHHELD
    assert "a mood of the machine that comes seldom" in " ".join(capsys.readouterr().out.split())


def test_a_session_counts_once(make: Make) -> None:
    one, other = make("one"), make("other", seed=2)
    assert main(["compare", one, one, "--", other, one]) == USAGE
    assert main(["compare", one, other, one]) == USAGE
    assert main(["compare", one, "--"]) == USAGE
    assert main(["compare"]) == USAGE


def test_what_moves_all_arms_of_a_session_may_be_taken_out(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moods of 20 % that direct calls share hide a change of 10 %, but not beside them."""
    moods = [1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7, 1.15]
    how = {"jitter": 0.0, "calls": 4000}
    base = [make(f"base{i}", seed=i, scale=m, **how) for i, m in enumerate(moods)]
    new = []
    for i, mood in enumerate(moods):
        arms = make(f"new{i}", seed=20 + i, scale=mood * 1.1, **how)
        new.append(ma.open(arms).where(arm="memsc"))
    plain = ma.compare(base, new).df_compare()
    assert set(plain["verdict"]) <= {"no change seen", "insufficient"}
    assert main(["compare", *base[:4], "--", *base[4:], "--beside", "direct"]) == 0
    assert "beside direct" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", *base[:4], "--", *base[4:]]) == 0
    assert "--beside direct takes that out" in " ".join(capsys.readouterr().out.split())
    for wrong in (["--beside", "ipi"], ["--beside", "line", "--history", base[0]]):
        assert main(["compare", *base[:4], "--", *base[4:], *wrong]) == USAGE
    assert main(["compare", *base[:2], "--beside", "line"]) == USAGE


def test_sides_that_were_not_recorded_by_turns_are_told(make: Make, tmp_path: Path) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20)
    for i, path in enumerate([*base, *new]):
        file = Path(path) / "session.json"
        told = json.loads(file.read_text())
        file.write_text(json.dumps(told | {"created": f"2026-11-23T0{i}:00:00+00:00"}))
    (note,) = ma.compare(base, new).notes()
    assert "older than the other's" in note
    assert not ma.compare(base[::2] + new[1:], new[:1] + base[1:2]).notes()


def test_json_holds_every_row(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20)
    assert main(["compare", *base, "--", *new, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 2
    assert content["replicas"] == [3, 3]
    assert {row["stage"] for row in content["rows"]} == {*QUANTITIES, "program"}
    for row in content["rows"]:
        assert (row["change"] is None) == (row["verdict"] == "insufficient")
        assert (row["reason"] is None) == (row["verdict"] != "insufficient")
        assert row["change"] is None or row["low"] <= row["change"] <= row["high"]


def test_the_page_says_what_the_text_says(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base, new = several(make, "base"), several(make, "<b>new", seed=20, scale=1.2)
    page = tmp_path / "page.html"
    assert main(["compare", *base, "--", *new, "--html", str(page)]) == 0
    shown = html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))
    text = capfd.readouterr().out
    assert set(re.findall(r"[+-][\d.]+% to [+-][\d.]+% +\w+", text)) <= set(
        re.findall(r"[+-][\d.]+% to [+-][\d.]+% +\w+", shown)
    )
    assert "<b>" not in page.read_text()
    assert main(["compare", *base, "--", *new, "--html", "-"]) == 0
    assert capfd.readouterr().out.startswith("<!DOCTYPE html>")


def test_traces_that_share_nothing_have_nothing_to_judge(make: Make) -> None:
    base, new = make("base", case="a"), make("new", case="b")
    with pytest.raises(MemscError, match="do not share"):
        ma.compare(base, new).judge(parse("memsc.total.p50 > +5%"))


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
    base = several(make, "base", jitter=0.001)
    comparison = ma.compare(base, several(make, "new", seed=20, scale=1.2, jitter=0.001))
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
    base, new = (
        several(make, n, 6, s, scale=f, **how) for n, s, f in (("a", 1, 1.0), ("b", 20, 1.006))
    )
    frame = ma.compare(base, new).df_compare()
    row = frame.query("arm == 'memsc' and stage == 'execute' and metric == 'mean'").iloc[0]
    assert row["low"] > 0
    assert 0 < row["change"] < LEAST_EFFECT
    assert row["verdict"] == "no change seen"


def test_the_stages_that_changed_are_shown(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20, scale=1.2)
    assert main(["compare", *base, "--", *new]) == 0
    out = capsys.readouterr().out
    assert "mean of the stages that changed" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_change_of_many_times_is_a_factor(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = several(make, "base"), several(make, "new", seed=20, scale=30.0)
    assert main(["compare", *base, "--", *new]) == 0
    out = capsys.readouterr().out
    assert "×30" in out and "slower" in out
    assert max(map(len, out.splitlines())) <= 80
