# SPDX-License-Identifier: MIT
"""Causes and wake-up chains of a real session: nothing is lost, and every call is accounted for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memsc import analysis as ma
from memsc.analysis.causes.shares import LOST
from memsc.analysis.domains.wakeup_chains import STEPS
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.arms import ALL, place
from memsc.tracer.session.corunner import busy
from memsc.tracer.session.observe import probe_client, probe_set
from memsc.tracer.session.observe.probe_client import loading
from memsc.tracer.session.session import TraceSession
from memsc.tracer.session.work import Work

pytestmark = pytest.mark.bpf

CALLS = {"ipi": 997, "memsc": 29_989}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> ma.Trace:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    arms, _ = place(ALL, Launch(), None, None)
    arms = [arm for arm in arms if arm.arm in CALLS]
    folder = prepare_output(tmp_path_factory.mktemp("t") / "live.memsc")
    probes = ("sched", "ipi", "noise")
    with TraceWriter(folder) as writer, TraceSession(writer, ["test"], arms, probes) as session:
        assert session.probing.usable == set(probes)
        for arm, calls in CALLS.items():
            command = (str(WORK), "sync", str(calls), str(session.scratch / "timings"))
            beside = busy() if arm == "memsc" else ()
            work = Work("sync", command, layered=False, ring_records=1 << 16, beside=beside)
            session.round(arm, work, 0)
        command = (str(WORK), "sync", "997", str(session.scratch / "timings"))
        bare = Work("bare", command, layered=False, ring_records=1 << 16, bare=True)
        assert session.round("memsc", bare, 0).probes == []
    return ma.open(folder)


def test_rounds_whose_ring_was_full_have_no_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(probes: Sequence[str], _: object = None) -> tuple[str, dict[str, Any]]:
        return loading(probes, {"noise": 4096})

    for module in (probe_set, probe_client):
        monkeypatch.setattr(module, "loading", small)
    arms, _ = place(ALL, Launch(), None, None)
    ipi = [arm for arm in arms if arm.arm == "ipi"]
    folder = prepare_output(tmp_path / "full.memsc")
    probes = ("noise",)
    with (
        TraceWriter(folder) as writer,
        TraceSession(writer, ["test"], ipi, probes, calibrate=False) as session,
    ):
        command = (str(WORK), "sync", "9973", str(session.scratch / "timings"))
        work = Work("sync", command, layered=False, ring_records=1 << 16, ring_holds_all=True)
        done = session.round("ipi", work, 0)
    assert done.events_lost["noise"] > 0
    trace = ma.open(folder)
    assert set(trace.tail.df_calls()["cause"]) == {LOST}
    assert trace.session.probes["noise"].lost == done.events_lost["noise"]


def test_no_ring_of_the_usual_size_is_ever_full(recorded: ma.Trace) -> None:
    assert not any(sum(r.events_lost.values()) for r in recorded.session.rounds)


def test_each_wait_of_the_baseline_has_a_chain(recorded: ma.Trace) -> None:
    chain = recorded.wakeup.df_chain()
    made = recorded.session.arms["ipi"].calls
    assert made is not None
    assert len(chain) == 2 * made
    assert made >= CALLS["ipi"]
    steps = chain[[f"{step}_ns" for step in STEPS]].sum(axis=1)
    assert steps.tolist() == pytest.approx(chain["total_ns"].tolist())
    # A busy machine preempts, but who was woken was woken.
    assert recorded.wakeup.df_matched()["share"].iloc[0] > 0.9


def test_slow_calls_beside_a_busy_program_are_laid_to_it(recorded: ma.Trace) -> None:
    memsc = recorded.where(arm="memsc", case="sync")
    causes = memsc.tail.df_causes()
    for _, band in causes.groupby("band"):
        assert band["share"].sum() == pytest.approx(1)
    assert memsc.tail.df_worst(3)["cause"].str.contains("preempted by").any()
    noise = recorded.noise.df_noise()
    there = noise[(noise["arm"] == "memsc") & (noise["side"] == "service")]
    # A short round may see no more of stress-ng than its parent, before the child has its name.
    assert there["what"].str.startswith(("stress-ng", "sh")).any()
    assert (there["share"] <= 1).all()


def test_without_probes_no_cause_is_invented(recorded: ma.Trace) -> None:
    known = {"no probes", "parked and woken", "caller slept", "service busy with another call"}
    assert set(recorded.where(case="bare").tail.df_worst(5)["cause"]) <= known
