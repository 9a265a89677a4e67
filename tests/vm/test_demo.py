# SPDX-License-Identifier: MIT
"""What `make demo` does, each arm once and with few calls: that it works, never how fast."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.required import layered, two_cpus

from memsc.bench.suites import cases
from memsc.bench.suites.cases import Case
from memsc.commands.__main__ import main
from memsc.tracer.format import open_trace

ARMS = {"direct", "ipi", "memsc", "memsc-scanner"}
CALLS = 2003

pytestmark = [two_cpus, layered]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the benchmark `sync` alone: of each arm one round that is recorded, one that is not."""
    every = cases.suites

    def suites(arms: Sequence[str], quick: bool, disk: Path | None = None) -> dict[str, list[Case]]:
        once = dict.fromkeys(arms, 1)
        sync = [case for case in every(arms, quick, disk)["sync"] if case.name == "sync"]
        return {"sync": [replace(case, rounds=once, recorded=once) for case in sync]}

    monkeypatch.setattr(cases, "suites", suites)
    monkeypatch.setattr(cases, "_SYNC", {})
    for name in ("_SYNC_CALLS", "_RECORDED_CALLS"):
        monkeypatch.setattr(cases, name, CALLS)


@pytest.mark.usefixtures("few")
def test_every_arm_is_measured_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo.memsc"
    how = ("--quick", "--json", "--no-calibrate", "--probes", "none", "-o", str(folder))
    assert main(["bench", "sync", *how]) == 0
    said = json.loads(capsys.readouterr().out)
    timed = {row["arm"]: row for row in said["rows"] if row["metric"] == "p50_ns"}
    assert timed.keys() >= ARMS
    assert all(row["value"] > 0 for row in timed.values())
    found = open_trace(folder)
    assert {(r.arm, r.recording) for r in found.session.rounds} >= {
        (arm, recording) for arm in ARMS for recording in (True, False)
    }
    for r in found.session.rounds:
        assert r.exit_status == 0
        if r.recording:
            assert (r.calls or 0) >= CALLS
            assert (r.made, r.lost) == (r.calls, 0)
    assert main(["report", str(folder)]) == 0
    report = capsys.readouterr().out
    assert re.search("recorded, 0 lost, [a-z ]+ accounted for", " ".join(report.split()))
    assert set(report.split()) >= ARMS
    assert main(["report", str(folder), "--html", str(tmp_path / "demo.html")]) == 0
    assert (tmp_path / "demo.html").stat().st_size > 0


def test_doctor_misses_nothing_that_running_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "probes" in capsys.readouterr().out
