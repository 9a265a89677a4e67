# SPDX-License-Identifier: MIT
"""Stamps against static probes: late by what a hit costs, warm or cold, and by no more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.domains.agreement import COLD_NS
from memsc.probes.stages import PROBE
from memsc.tracer import format as fmt
from memsc.tracer.format.writer import TraceWriter

CALLS = 5000
WARM_NS, COLD = 1000, 2000
KINDS = {name: number for number, name in enumerate(PROBE.kind_names)}


def observed(folder: Path, every: int, late_ns: int) -> Path:
    """A trace whose calls pass `posted` so late, one of so many, after a calibration."""
    traces.fabricate(folder, arms=("memsc",), rounds=1, calls=CALLS, scale=13)
    found = fmt.open_trace(folder)
    clock = found.session.clock
    calls = found.read("calls", ["posted", "tid", "number"]).to_pandas().iloc[::every]
    hits = np.zeros(200, np.dtype(PROBE.layout()))
    hits["kind"], hits["entry"] = KINDS["calibrate"], np.arange(200)
    # Each tells what the one before it took; the odd ones came after a sleep.
    cost = np.where(np.arange(200) % 2 == 0, COLD, WARM_NS)
    hits["result"] = np.rint(cost / clock.ns_per_cycle)
    hits["time"], hits["number"] = clock.ns(np.array([1000]))[0] + 50, 1000
    events = np.zeros(len(calls), np.dtype(PROBE.layout()))
    events["kind"] = KINDS["posted"]
    events["time"] = clock.ns(calls["posted"].to_numpy(np.int64)) + late_ns
    events["tid"] = events["caller"] = calls["tid"]
    events["number"] = calls["number"]
    seen = len(hits) + len(events)
    (done,) = found.session.rounds
    with TraceWriter(folder) as writer:
        units = {column.name: column.unit for column in PROBE.columns}
        for some in (hits, events):
            writer.events("stages", some, {"kind": PROBE.kind_names}, units)
        session = msgspec.structs.replace(
            found.session,
            rounds=[msgspec.structs.replace(done, probes=["stages"])],
            probes={"stages": fmt.ProbeStatus(attached=True, seen=seen, lost=0)},
        )
        writer.session(session)
    return folder


@pytest.mark.parametrize(
    ("every", "late_ns", "agree"),
    [(1, 900, True), (1, 1500, False), (100, 1500, True), (100, 2200, False), (1, -300, False)],
)
def test_a_hit_is_warm_where_its_thread_has_passed_a_probe_just_before(
    tmp_path: Path, every: int, late_ns: int, agree: bool
) -> None:
    t = ma.open(observed(tmp_path / "a.memsc", every, late_ns))
    # A call takes a few microseconds.
    rows = t.agreement.df_observations()
    assert rows["cold"].iloc[1:].eq(every > 10).all()
    assert rows["cold"].iloc[0]
    (found,) = t.agreement.df_agreement().to_dict("records")
    assert found["agree"] is agree
    assert found["bound_ns"] == pytest.approx(COLD if every > 10 else WARM_NS, abs=20)
    assert found["within"] == pytest.approx(float(agree), abs=0.02)
    assert COLD_NS > 2 * WARM_NS
