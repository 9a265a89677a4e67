# SPDX-License-Identifier: MIT
"""What a session finds out about its own cost, and that nothing of that gets into its trace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus

from memsc.analysis import open as open_analysis
from memsc.analysis.report.conditions import calibration_lines
from memsc.analysis.report.summary import summarise
from memsc.runtime.files import WORK
from memsc.tracer.format import Added, Hit, Perturbation, TraceFolder, open_trace
from memsc.tracer.session import calibration
from memsc.tracer.session.calibration import PAIRS

pytestmark = [
    two_cpus,
    layered,
]
CALLS = 997


def trace(folder: Path, *options: str) -> TraceFolder:
    program = (str(WORK), "sync", str(CALLS), str(folder.parent / "timings"))
    command = [*MEMSC, "trace", "-o", str(folder), *options, "--"]
    subprocess.run([*command, *program], check=True, timeout=300, capture_output=True)
    return open_trace(folder)


def bounded(side: Added | None) -> bool:
    return side is not None and side.off_ns > 0 and side.low_ns <= side.added_ns <= side.high_ns


def test_recording_is_calibrated_without_privilege(tmp_path: Path) -> None:
    found = trace(tmp_path / "t.memsc", "--probes", "none")
    cost = found.session.perturbation
    assert cost is not None
    assert (cost.arm, cost.pairs) == ("memsc", PAIRS)
    assert bounded(cost.recording)
    assert cost.probes is None
    assert cost.probes_reason
    # The rounds of the calibration are no part of the trace.
    (made,) = (r.made or 0 for r in found.session.rounds)
    assert CALLS + 2000 <= made <= CALLS + 2100  # the work warms up, and makes a few of its own
    assert found.rows("calls") == made


@pytest.mark.bpf
def test_probes_are_calibrated_and_their_hits_counted(tmp_path: Path) -> None:
    found = trace(tmp_path / "t.memsc", "--probes", "sched,ipi,syscalls", "--transport", "ipi")
    cost = found.session.perturbation
    assert cost is not None
    assert cost.probes is not None
    assert cost.probes.names == ["sched", "ipi"]
    assert bounded(cost.probes)
    for name in ("sched", "ipi", "syscalls"):
        assert (cost.hits[name].hits or 0) > 0
        assert (cost.hits[name].cost_ns or 0) > 0
        status = found.session.probes[name]
        assert status.seen == found.rows(f"events/{name}")
        assert status.lost is not None  # a reader that gets no CPU may lose some, and says so
    report = summarise(open_analysis(str(tmp_path / "t.memsc")))
    assert report.perturbation_at_start == cost
    assert cost.hit_ns("sched") == cost.hits["sched"].cost_ns
    assert cost.hit_ns("nonsense") is None
    assert any("sched, ipi" in line for line in calibration_lines(report))


def test_a_hit_that_was_not_measured_costs_what_its_probe_declares() -> None:
    hits = {"uring": Hit(0, declared_ns=360), "stages": Hit(0, reason="no program")}
    cost = Perturbation(hits=hits)
    assert cost.hit_ns("uring") == 360
    assert cost.hit_ns("stages") is None


def test_a_median_is_resolved_between_the_ticks_of_a_coarse_counter() -> None:
    mostly = np.repeat([100, 126], [900, 100])
    half = np.repeat([100, 126], [500, 500])
    assert calibration._median(mostly) == pytest.approx(102.6)  # pyright: ignore[reportPrivateUsage]
    assert calibration._median(half) == 113  # pyright: ignore[reportPrivateUsage]


def test_it_can_be_left_out(tmp_path: Path) -> None:
    found = trace(tmp_path / "t.memsc", "--probes", "none", "--no-calibrate")
    assert found.session.perturbation is None
