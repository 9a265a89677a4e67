# SPDX-License-Identifier: MIT
"""Every contestant makes the same table, whichever is faster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers import traces

from memsc.bench.race import answers, race
from memsc.bench.race.contestants import CONTESTANTS
from memsc.commands import bench
from memsc.commands.__main__ import main
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import open_trace


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Enough calls that every percentile has some above it.
    folder = tmp_path_factory.mktemp("race") / "source.memsc"
    return traces.fabricate(folder, rounds=2, calls=15_000)


def test_all_make_the_same_table_and_each_is_timed(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "ANALYSIS_CALLS", 70_000)
    output = str(tmp_path / "long.memsc")
    assert (
        main(["bench", "analysis", "--source", str(source), "-o", output, "--quick", "--json"]) == 0
    )
    content = json.loads(capsys.readouterr().out)
    assert content["environment"]["enlarged_from"] == "source.memsc"
    every = {row["arm"]: row for row in content["rows"] if row["metric"] == "seconds"}
    seconds = {name: row for name, row in every.items() if row["suite"] == "analysis"}
    assert list(seconds) == list(CONTESTANTS)
    assert all(
        row["n"] == 3 and row["low"] <= row["value"] <= row["high"] for row in seconds.values()
    )
    assert [target["held"] is None for target in content["targets"][:4]] == [False] * 4
    waited = {name: row for name, row in every.items() if row["suite"] == "answers"}
    assert list(waited) == list(answers.commands(source, tmp_path))
    for name in (answers.REPORT, answers.READING):
        assert waited[name]["n"] == 3, waited[name]
        assert waited[name]["low"] <= waited[name]["value"] <= waited[name]["high"]
    # What cannot be traced here says why.
    assert all(row["value"] or row["reason"] for row in waited.values())
    assert [t["name"] for t in content["targets"][4:]] == [
        *(f"{name}, seconds" for name in answers.MOST_SECONDS),
        f"{answers.REPORT} ÷ {answers.READING}",
        f"{answers.REPORT}, MB",
    ]


def test_a_table_that_differs_is_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frame = race.pd.DataFrame(
        {name: ["x"] for name in (*race.KEY, "stage")} | {name: [100.0] for name in race.FIGURES}
    )
    frame.to_parquet(tmp_path / "memsc.parquet")
    frame.assign(p99=120.0).to_parquet(tmp_path / "polars.parquet")
    with pytest.raises(MemscError, match=r"figures differ by 16\.5%"):
        race._compare(tmp_path, ["memsc", "polars"])  # pyright: ignore[reportPrivateUsage]
    frame.assign(arm="y").to_parquet(tmp_path / "polars.parquet")
    with pytest.raises(MemscError, match="other names"):
        race._compare(tmp_path, ["memsc", "polars"])  # pyright: ignore[reportPrivateUsage]


def test_a_peer_that_is_not_installed_is_said_and_not_judged(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(race, "contestants", lambda: ["pyarrow", "memsc"])
    runners = race.race(open_trace(source), 1, tmp_path)
    assert [runner.name for runner in runners] == list(CONTESTANTS)
    judged = {target.name: target for target in race.targets(runners)}
    assert judged["memsc ÷ duckdb"].held is None
    assert "memsc[peers]" in (judged["memsc ÷ duckdb"].reason or "")


def test_it_runs_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "analysis", "sync", "-o", str(tmp_path / "a")]) == USAGE
    assert "run it alone" in capsys.readouterr().err
