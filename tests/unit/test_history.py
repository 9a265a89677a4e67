# SPDX-License-Identifier: MIT
"""A history: every metric by date, a true step is found, and none is named where there is none."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.history.steps import ALPHA, MOST, SIDE, fewest, find_steps
from memsc.commands.__main__ import main
from memsc.runtime.errors import USAGE, WITHHELD, MemscError
from memsc.tracer.session.build import build_of

ruptures = pytest.importorskip("ruptures")  # there is none for Python 3.14

MOODY: list[dict[str, float]] = json.loads(
    (Path(__file__).parent / "recorded" / "moody.json").read_text()
)
"""Sessions of a moody host: see test_verdicts.py."""
SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "docs/schemas/report.schema.json").read_text()
)
TRIALS = 300
Values = NDArray[np.float64]


def at_most(trials: int, alpha: float = ALPHA) -> float:
    """What chance allows. Seeds are fixed: none of this fails by chance."""
    return float(scipy.stats.binom.ppf(0.999, trials, alpha))


@pytest.mark.parametrize("figure", sorted(MOODY[0]))
@pytest.mark.parametrize("sessions", [12, 40])
def test_sessions_of_a_moody_host_show_a_step_as_seldom_as_stated(
    figure: str, sessions: int
) -> None:
    """In any order. As they were recorded they do: a mood that lasts is a step."""
    generator = np.random.default_rng(21)
    pool = np.array([one[figure] for one in MOODY])
    found = sum(
        bool(find_steps(generator.permutation(pool)[:sessions].tolist())) for _ in range(TRIALS)
    )
    assert found <= at_most(TRIALS), found


@pytest.mark.parametrize("at", [10, 20, 30])
def test_a_true_step_of_a_tenth_is_found_where_it_is(at: int) -> None:
    """In the best of 8 metrics, of sessions that differ by 4 %."""
    generator, found, near = np.random.default_rng(22), 0, 0
    for _ in range(100):
        values = np.exp(0.04 * generator.standard_normal(40))
        values[at:] *= 1.1
        steps = find_steps(values.tolist(), ALPHA / 8)
        found += bool(steps)
        near += any(abs(step - at) <= 2 for step in steps)
    assert found >= 90 and near >= 88, (found, near)


def test_what_came_and_went_is_two_steps_and_stairs_are_each() -> None:
    generator = np.random.default_rng(23)
    values = np.exp(0.01 * generator.standard_normal(40))
    values[14:24] *= 1.1
    assert find_steps(values.tolist()) == [14, 24]
    values[30:] *= 1.3
    assert find_steps(values.tolist()) == [14, 24, 30]


def test_outliers_are_no_steps_and_hide_none() -> None:
    generator = np.random.default_rng(24)
    values = np.exp(0.02 * generator.standard_normal(40))
    values[[7, 29]] *= 50
    assert find_steps(values.tolist()) == []
    values[20:] *= 1.1
    assert find_steps(values.tolist()) == [20]


def test_ruptures_places_a_step_where_all_places_tried_leave_least_over() -> None:
    generator = np.random.default_rng(25)
    values = generator.standard_normal(15)
    places = range(SIDE, 15 - SIDE + 1)
    left = {i: values[:i].var() * i + values[i:].var() * (15 - i) for i in places}
    found = ruptures.KernelCPD(kernel="linear", min_size=SIDE).fit(values).predict(n_bkps=1)
    assert found == [min(left, key=lambda i: left[i]), 15]


@pytest.mark.parametrize("metrics", [1, 4, 40])
def test_how_many_sessions_a_step_needs_is_counted(metrics: int) -> None:
    """From so many on the largest step is seen, and in fewer never one, in whatever order."""
    needed = fewest(ALPHA / metrics)
    for few in range(2 * SIDE, needed):
        step = [1.0] * (few // 2) + [2.0] * (few - few // 2)
        assert find_steps(step, ALPHA / metrics) == []
    half = needed // 2
    ranks = [float(i) for i in range(needed)]
    assert find_steps(ranks[:half] + [100 + r for r in ranks[half:]], ALPHA / metrics)


def test_six_sessions_never_show_one() -> None:
    assert not any(find_steps(order) for order in permutations([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))


def test_of_very_many_sessions_the_newest_are_searched() -> None:
    values = np.ones(MOST + 40)
    values[20:] = 2
    assert find_steps(values.tolist()) == []
    values[90:] = 3
    assert find_steps(values.tolist()) == [90]


Keep = Callable[..., str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty sessions in two folders; the program is slower by a fifth from the eleventh on."""
    folder, generator = tmp_path_factory.mktemp("history"), np.random.default_rng(26)
    for i in range(20):
        mood = np.exp(0.02 * generator.standard_normal())
        (folder / ("old" if i < 5 else "new")).mkdir(exist_ok=True)
        path = traces.fabricate(
            folder / ("old" if i < 5 else "new") / f"n{i:02}.memsc",
            arms=("memsc",),
            rounds=6 if i else 2,
            calls=1500,
            seed=i,
            scale=mood * (1.2 if i >= 10 else 1.0),
            lost=int(i == 3),
        )
        change(path, created=f"2026-11-{i + 1:02}T06:47:19+00:00", build="ab" if i < 10 else "cd")
    return folder


def change(trace: Path, **fields: object) -> None:
    file = trace / "session.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_text_says_what_stepped_and_fits(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", f"{kept}/*/*.memsc", "--over-time"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "▲ a step at n10, 2026-11-11" in out
    words = " ".join(out.split())
    assert "there changed program ab → cd" in words
    assert re.search(r"memsc/sync.total.p50 \+[12]\d\.\d% \+\d+\.\d% to \+\d+\.\d% 9 10 n10", words)
    assert "1 of 20 sessions are in no step" in words and "6 calls lost" in words
    assert re.search(r"2026-11-04 06:47 +\S+✗", out)
    assert out.count("2026-11-") > 20


def test_folders_and_patterns_are_the_same_history(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    for places in ([f"{kept}/*/*.memsc"], [str(kept)], [f"{kept}/new", f"{kept}/old"]):
        assert main(["report", *places, "--over-time"]) == 0
        told.append(capsys.readouterr().out)
    assert len(set(told)) == 1


def test_json_has_every_point_with_its_interval(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(kept), "--over-time", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    assert [one["trace"] for one in told["traces"]] == [f"n{i:02}" for i in range(20)]
    assert {(one["stage"], one["metric"]) for one in told["metrics"]} == {
        *(("total", metric) for metric in ("mean", "p50", "p99")),
        ("program", "mean"),
    }
    for one in told["metrics"]:
        assert [point["trace"] for point in one["points"]] == list(range(20))
        assert 0.005 < one["spread"] < 0.05
        for point in one["points"][1:]:
            assert point["low_ns"] < point["value_ns"] < point["high_ns"]
            assert point["interval"] == "rounds"
        (step,) = one["steps"]
        assert 0.1 < step["low"] < 0.2 < step["high"] < 0.3
        assert step["trace"] == 10
    median = next(one for one in told["metrics"] if one["metric"] == "p50")
    assert median["points"][0]["interval"] == "blocks"


def test_the_page_says_what_the_text_says_and_has_a_picture(
    kept: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page, figure = tmp_path / "h.html", tmp_path / "h.svg"
    files = ["--html", str(page), "--figure", str(figure)]
    assert main(["report", str(kept), "--over-time", *files]) == 0
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text())).split())
    text = capfd.readouterr().out
    steps = re.findall(r"[+-][\d.]+% to [+-][\d.]+%", text)
    assert len(steps) == 4 and all(step in shown for step in steps)
    assert page.read_text().count("<svg") == 1 and "http" not in re.sub(
        r'xmlns(:\w+)?="[^"]*"', "", page.read_text()
    )
    assert "▲" in shown and figure.read_text().startswith("<?xml")
    assert main(["report", str(kept), "--over-time", "--html", "-"]) == 0
    assert capfd.readouterr().out.startswith("<!doctype html>")


def test_few_sessions_say_how_many_are_missing(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", f"{kept}/old", "--over-time"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    needed = fewest(ALPHA / 4)
    assert f"4 sessions, and a step in 4 metrics can be told from chance from {needed} on" in words
    assert "no step" not in words.replace("are in no step", "")


def test_what_direct_calls_do_as_well_is_the_machine(tmp_path: Path) -> None:
    for i in range(14):
        how = {"arms": ("direct", "memsc"), "rounds": 2, "calls": 1000, "seed": i, "jitter": 0.002}
        scale = 1.3 if i >= 7 else 1.0
        path = traces.fabricate(tmp_path / f"{i}.memsc", scale=scale, **how)  # type: ignore[arg-type]
        change(path, created=f"2026-11-{i + 1:02}T06:47:19+00:00")
    metrics = {(one.arm, one.stage, one.metric): one for one in _history(tmp_path).report.metrics}
    (step,) = metrics["memsc", "total", "p50"].steps
    assert (step.trace, step.references) == (7, ["direct"])
    assert metrics["direct", "total", "p50"].steps[0].references == []


def test_one_session_is_one_and_commands_are_shown_where_they_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (30000, 90000):
        path = traces.fabricate(tmp_path / f"{count}.memsc", rounds=1, calls=300)
        change(path, command=["dd", "if=/dev/zero", "of=/dev/null", "bs=512", f"count={count}"])
        assert main(["report", str(path), "--over-time"]) == 0
        assert capsys.readouterr().out.startswith("history of 1 session  ")
    assert main(["report", str(tmp_path), "--over-time"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith("history of 2 sessions ")
    assert "the command is not the same in all sessions: … count=30000 → … count=90000" in words


def test_sessions_that_differ_in_more_than_time_are_told(kept: Path, tmp_path: Path) -> None:
    one = traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=300)
    two = traces.fabricate(tmp_path / "b.memsc", rounds=1, calls=300)
    change(two, command=["other", "program"], created="2026-11-24T00:00:00+00:00")
    found = ma.over_time([str(one), str(two)]).report
    assert any("the command is not the same" in note for note in found.notes)


def test_what_cannot_be_is_refused_in_a_line(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--comm", "dd"], ["--results", "a.md"], ["--allow-unrecorded"]):
        assert main(["report", str(kept), "--over-time", *wrong]) == USAGE
        assert capsys.readouterr().err.count("\n") == 1
    broken = tmp_path / "broken.memsc"
    broken.mkdir()
    (broken / "session.json").write_text("{")
    for skip, status in (([], 1), (["--skip-failed"], 0)):
        assert main(["report", str(kept), str(broken), "--over-time", *skip]) == status
    assert "skipped" in capsys.readouterr().out
    lost = traces.fabricate(tmp_path / "lost.memsc", rounds=1, calls=300, lost=1)
    assert main(["report", str(lost), "--over-time"]) == WITHHELD
    with pytest.raises(MemscError, match="they have memsc/sync"):
        _history(kept).plot_history(arm="uring")


def test_without_ruptures_the_remedy_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 is newer than its wheels, and all else works there."""
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(MemscError, match="pip install ruptures"):
        find_steps([1.0] * 10 + [2.0] * 10)


def test_a_session_knows_which_build_it_ran(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    before, _ = build_of([str(program), "-x"])
    program.write_text("#!/bin/sh\ntrue\n")
    after, _ = build_of([str(program)])
    assert before and after and before != after and len(after) == 16
    for none in (["memsc", "bench"], [], [str(tmp_path)], [str(tmp_path / "none")]):
        build, why = build_of(none)
        assert build is None and why


def _history(place: Path) -> ma.History:
    return ma.over_time(str(place))
