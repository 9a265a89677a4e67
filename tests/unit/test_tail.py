# SPDX-License-Identifier: MIT
"""The tail is taken apart exactly, and its causes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.helpers import traces
from tests.unit.test_checks import IPI, SCHED

from memsc import analysis as ma
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

KEY = fmt.RoundKey("memsc", "sync", 0)
SLOW = (100, 500, 900)


def recorded(tmp_path: Path, probes: list[str]) -> ma.Trace:
    """A thousand equal calls but for three slow polls: preempted, interrupted, unexplained."""
    stages = np.tile([10, 40, 100, 50], (1000, 1))
    stages[list(SLOW), 1] = 10_000, 8_000, 6_000
    rows = traces.records(stages, tid=7)
    middle = rows["called"].astype(np.int64) + 1000
    time = traces.CLOCK.ns(middle)
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.calls(KEY, 7, rows, traces.NAMES)
        if probes:
            sched = np.zeros(2, SCHED)
            sched["time"] = time[SLOW[0]] + np.array([0, 4000])
            sched["tid"], sched["target_tid"], sched["cpu"] = (7, 9), (9, 7), 0
            writer.events("sched", sched, {"kind": ["switch"]})
            ipi = np.zeros(1, IPI)
            ipi["time"], ipi["cpu"] = time[SLOW[1]], 0
            writer.events("ipi", ipi, {"kind": ["reschedule_entry"]})
        rounds = [fmt.Round(*KEY, probes=probes, calls=1000, lost=0, made=1000)]
        arms = {"memsc": fmt.Arm("memsc", "inline", [1], [0], 1000, 0, 1000)}
        writer.session(traces.session(rounds, arms))
    return ma.open(folder)


def test_the_worst_calls_have_causes(tmp_path: Path) -> None:
    worst = recorded(tmp_path, ["sched", "ipi"]).tail.df_worst(4)
    assert worst["poll_ns"].tolist() == [5000, 4000, 3000, 20]
    causes = [
        "service preempted by thread 9",
        "interrupted by reschedule IPI",
        *2 * ["unexplained"],
    ]
    assert worst["cause"].tolist() == causes
    stages = worst[[f"{stage}_ns" for stage in fmt.STAGES]].sum(axis=1)
    assert (stages == worst["total_ns"]).all()


def test_without_probes_no_cause_is_invented(tmp_path: Path) -> None:
    assert set(recorded(tmp_path, []).tail.df_worst(3)["cause"]) == {"no probes"}


def test_bands_hold_every_call_once_and_their_means_add_up(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=3, calls=4000)
    trace = ma.open(folder)
    bands = trace.tail.df_bands().query("syscall == 'all'")
    stages = trace.stages.df_stages(intervals=False).query("syscall == 'all'")
    for arm, mine in bands.groupby("arm"):
        assert mine["n"].sum() == 12_000
        spent = (mine["n"] * mine["total_ns"]).sum()
        total = stages[(stages["arm"] == arm) & (stages["stage"] == "total")]["mean_ns"].iloc[0]
        assert spent / 12_000 == pytest.approx(total)
        parts = sum(mine[f"{stage}_ns"] for stage in fmt.STAGES)
        assert np.allclose(parts, mine["total_ns"])
        assert (np.diff(mine["total_ns"]) > 0).all()


def test_the_excess_names_the_stage(tmp_path: Path) -> None:
    stages = np.tile([10, 40, 100, 50], (4000, 1))
    stages[::100, 3] += 5000
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.calls(KEY, 7, traces.records(stages), traces.NAMES)
        rounds = [fmt.Round(*KEY, calls=4000, lost=0, made=4000)]
        writer.session(traces.session(rounds, {"memsc": fmt.Arm("memsc")}))
    excess = ma.open(folder).tail.df_excess().query("syscall == 'all'").set_index("stage")
    assert excess.loc["complete", "excess_share"] == pytest.approx(1)
    assert excess.loc["complete", "excess_ns"] == pytest.approx(2500)
    assert excess["excess_share"].sum() == pytest.approx(1)
