# SPDX-License-Identifier: MIT
"""The report, as text, JSON and figure. MEMSC_UPDATE_GOLDEN=1 rewrites what is expected."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.figures.files import save
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import WIDTH, to_string
from memsc.commands.__main__ import main
from memsc.runtime.errors import WITHHELD, MemscError
from memsc.tracer.format import STAGES, Arm, Round, RoundKey
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("t") / "demo.memsc"
    arms = ("direct", "ipi", "memsc", "memsc-scanner")
    return traces.fabricate(path, arms=arms, rounds=6, calls=2000)


def test_the_text_is_as_expected(folder: Path) -> None:
    text = to_string(summarise(ma.open(folder)))
    expected = GOLDEN / "report.txt"
    if os.environ.get("MEMSC_UPDATE_GOLDEN"):
        expected.write_text(text)
    assert text == expected.read_text()
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_a_coarse_counter_is_said(folder: Path) -> None:
    """Of 25 to 54 MHz, as on 64-bit Arm, one step of which is as long as a stage."""
    report = summarise(ma.open(folder))
    for step, ns, said in ((1, 0.5, False), (1, 18.5, True), (40, 1.0, True), (None, 18.5, False)):
        clock = msgspec.structs.replace(report.clock, step_cycles=step, ns_per_cycle=ns)
        text = to_string(msgspec.structs.replace(report, clock=clock))
        assert ("means hold" in text) is said
        assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_what_each_system_call_costs_more_is_said(folder: Path) -> None:
    report = summarise(ma.open(folder))
    for meltdown, said in (("Mitigation: PTI", True), ("Not affected", False)):
        environment = msgspec.structs.replace(
            report.environment, mitigations={"meltdown": meltdown}
        )
        text = to_string(msgspec.structs.replace(report, environment=environment))
        assert ("each system call changes page tables" in text) is said


def nulls_without_reason(value: Any, path: str = "") -> list[str]:
    if isinstance(value, list):
        return [f for i, v in enumerate(value) for f in nulls_without_reason(v, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    found = [f for key, v in value.items() for f in nulls_without_reason(v, f"{path}.{key}")]
    explained = "reason" in value or "interval" in value
    return found + [
        f"{path}.{key}"
        for key, v in value.items()
        if v is None and "reason" not in key and not explained and f"{key}_reason" not in value
    ]


def test_json_is_as_the_architecture_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    for name in ("direct", "ipi", "memsc", "memsc-scanner"):
        arm = report["arms"][name]
        assert (arm["calls"], arm["lost"], arm["case"]) == (12_000, 0, "sync")
        assert set(arm["stages"]) == {*STAGES, "total"}
        parts = [arm["stages"][stage] for stage in STAGES]
        assert sum(p["mean_ns"] for p in parts) == pytest.approx(arm["stages"]["total"]["mean_ns"])
        assert sum(p["share"] for p in parts) == pytest.approx(1)
        # Twelve calls lie above p99.9: too few for a figure, and it says so.
        assert arm["stages"]["total"]["p999_ns"] is None
        assert arm["stages"]["total"]["p999_reason"].startswith("insufficient: 1")
        assert arm["checks"]["app_syscalls_per_call"]["value"] is None
    assert report["environment"]["kernel"] == "6.18.0"
    assert not nulls_without_reason(report["arms"])


def test_ratios_are_what_was_fabricated(folder: Path) -> None:
    frame = ma.open(folder).ratios.df_ratios()
    row = frame.query(
        "arm == 'ipi' and base == 'direct' and metric == 'p50' and source == 'stamps'"
    )
    centre = sum(traces.CENTRE["ipi"]) / sum(traces.CENTRE["direct"])
    assert row["ratio"].iloc[0] == pytest.approx(centre, rel=0.05)
    assert row["low"].iloc[0] < centre * 1.05
    limit = frame.query("arm == 'memsc' and base == 'limit' and metric == 'p50'")
    assert len(limit) == 2
    assert (limit["base_ns"] > traces.CLOCK_LINE * traces.CLOCK.ns_per_cycle).all()


def test_a_withheld_verdict_shows_no_ratio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = traces.fabricate(tmp_path / "a.memsc", rounds=4, calls=500, lost=1)
    assert main(["report", str(path)]) == WITHHELD
    text = capsys.readouterr().out
    assert "✗ verdict withheld: memsc: 4 calls lost" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "Against each other" not in text


@pytest.mark.parametrize("complete", [True, False])
def test_an_empty_trace_is_reported_as_empty(
    tmp_path: Path, complete: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare_output(tmp_path / "a.memsc")
    arms = {"memsc": Arm("memsc")}
    TraceWriter(folder).session(traces.session([], arms, complete=complete))
    assert main(["report", str(folder)]) == WITHHELD
    assert ("did not end in order" in capsys.readouterr().out) or complete
    assert main(["report", str(folder), "--json"]) == WITHHELD
    assert json.loads(capsys.readouterr().out)["arms"]["memsc"]["stages"] is None
    with pytest.raises(MemscError, match="no call was recorded"):
        save(ma.open(folder).stages.plot_overview(), tmp_path / "a.svg")


def test_what_a_killed_session_lost_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = traces.fabricate(tmp_path / "a.memsc", rounds=4, calls=500, complete=False)
    main(["report", str(path)])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "? 6,000 calls recorded, 0 lost in rounds that ended; of the last one that is not" in said
    )
    assert "accounted for" not in said


def test_one_call_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = prepare_output(tmp_path / "a.memsc")
    key = RoundKey("memsc", "program", 0)
    with TraceWriter(folder) as writer:
        writer.calls(key, 1, traces.records(np.full((1, 4), 100)), traces.NAMES)
        rounds = [Round(*key, calls=1, lost=0, made=1)]
        writer.session(traces.session(rounds, {"memsc": Arm("memsc", None, [1], [0], 1, 0, 1)}))
    assert main(["report", str(folder), "--figure", str(tmp_path / "a.svg")]) == 0
    assert "program" in capsys.readouterr().out


def test_the_figure_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save(ma.open(folder).stages.plot_overview(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "memsc-scanner" in (tmp_path / "a.svg").read_text()
    with pytest.raises(MemscError, match="unknown format"):
        save(ma.open(folder).stages.plot_overview(), tmp_path / "a.gif")


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "none.memsc")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_program_whose_calls_nobody_counted_has_no_time_per_call(tmp_path: Path) -> None:
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        for index in range(3):
            key = RoundKey("direct", "dd", index)
            writer.timings(key, False, 1, np.array([9_000_000]))
            writer.timings(key._replace(arm="ipi"), False, 1000, np.array([9_000_000]))
        writer.session(traces.session([], {"direct": Arm("direct"), "ipi": Arm("ipi")}))
    frame = ma.open(folder).timings.df_timings()
    assert frame["arm"].tolist() == ["ipi"]
    assert frame["mean_ns"].tolist() == [4500]


def test_timings_are_streamed_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memsc.tracer.format.writer.PART_ROWS", 1000)
    folder = prepare_output(tmp_path / "a.memsc")
    cycles = np.random.default_rng(1).integers(100, 400, 7000)
    with TraceWriter(folder) as writer:
        writer.timings(RoundKey("memsc", "sync", 0), False, 1, cycles)
        writer.session(traces.session([], {"memsc": Arm("memsc")}))
    row = ma.open(folder).timings.df_timings().iloc[0]
    assert (row["calls"], row["intervals"], row["interval"]) == (7000, 7000, "blocks")
    assert row["mean_ns"] == pytest.approx(cycles.mean() * 0.5)
    assert row["p50_ns"] == pytest.approx(np.median(cycles) * 0.5, rel=4e-3)
