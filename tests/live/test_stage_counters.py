# SPDX-License-Identifier: MIT
"""Counters by stage: exact on known work, the hit's own share taken off, nothing guessed."""

from __future__ import annotations

import os
import subprocess
from collections import Counter as Bag
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import traces
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus

from memsc import analysis as ma
from memsc.analysis.domains.stage_counters import EXECUTE, FROM_POSTED
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.probes.stage_counters import PROBE, READ, column
from memsc.probes.stages import EVERY
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper.kernel import perf_counters

KINDS = {name: number for number, name in enumerate(PROBE.kind_names)}
PAGES = 16
FAULTY = f"""
import mmap, os
file = os.memfd_create("pages")
os.write(file, bytes({PAGES} * mmap.PAGESIZE))
for _ in range(1009):
    with mmap.mmap(-1, {PAGES} * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as fresh:
        fresh.madvise(mmap.MADV_NOHUGEPAGE)
        assert os.preadv(file, [fresh], 0) == len(fresh)
"""
HARDWARE = [one.name for one in READ if one.device in ("hardware", "cache")]

# ---- real calls ----


@pytest.mark.bpf
@two_cpus
@layered
def test_page_faults_are_counted_in_the_stage_and_on_the_cpu_that_has_them(tmp_path: Path) -> None:
    folder = tmp_path / "faulty.memsc"
    command = [*MEMSC, "trace", "-o", str(folder)]
    command += ["--transport", "direct,memsc", "--probes", "stage_counters", "--no-calibrate"]
    command += ["--", "/usr/bin/python3", "-ISc", FAULTY]
    subprocess.run(command, check=True, capture_output=True)
    t = ma.open(folder)
    status = t.session.probes["stage_counters"]
    assert status.attached and status.lost == 0
    frame = t.stage_counters.df_stages()
    reads = frame.query("syscall == 'preadv2' and stage == @EXECUTE").set_index(["arm", "event"])
    for arm in ("direct", "memsc"):
        # The kernel touches the fresh pages while it executes the call, each of them once.
        faults: Any = reads.loc[(arm, "minor-faults")]
        assert faults["p50"] == PAGES
        assert faults["hit"] == 0
        # One call in so many is looked at, whatever it is; the program makes as many of others.
        assert faults["n"] > 1009 // EVERY // 2
        assert faults["told"] and faults["counted"] == 1
    every = set(frame["event"])
    assert {"minor-faults", "context-switches", "cpu-migrations"} <= every
    assert every | set(t.stage_counters.unavailable) == {one.name for one in READ}
    assert not every & set(t.stage_counters.unavailable)
    assert all(t.stage_counters.unavailable.values())
    said = to_string(summarise(t))
    assert "What stages did: program" in said
    assert "memsc execute" in said
    assert max(map(len, said.splitlines())) <= 80
    with pytest.raises(MemscError, match="select without syscall"):
        t.where(syscall="read").stage_counters.df_stages()


@pytest.mark.bpf
def test_a_cpu_s_own_counters_count_from_now_on_and_say_what_is_lacking() -> None:
    cpu = min(os.sched_getaffinity(0))
    found, reasons = perf_counters.open_on(cpu, READ, hardware=False)
    for descriptor in found.values():
        os.close(descriptor)
    assert set(found) | set(reasons) == {one.name for one in READ}
    assert {"context-switches", "minor-faults"} <= set(found)
    # Of others' doings on a CPU a user is told what perf would tell him.
    for name in HARDWARE:
        assert "perf_event_paranoid" in reasons[name]


# ---- as a PMU would count ----


def event(time: int, kind: str, cpu: int, tid: int, caller: int, **fields: int) -> dict[str, int]:
    row = {"time": time, "kind": KINDS[kind], "cpu": cpu, "tid": tid, "pid": 7, "caller": caller}
    row |= {"service": int(tid != caller), "number": 110}
    for one in READ:
        row[column(one)] = -1
    return row | fields


def written(folder: Path, events: list[dict[str, int]], **status: Any) -> Path:
    """A trace of one arm, with these events in its only round."""
    traces.fabricate(folder, arms=("memsc",), rounds=1, calls=1000)
    session = fmt.open_trace(folder).session
    columns = np.zeros(len(events), np.dtype(PROBE.layout()))
    for place, row in enumerate(events):
        for name, value in row.items():
            columns[name][place] = value
    (round_,) = session.rounds
    round_ = msgspec.structs.replace(round_, probes=["stage_counters"])
    known = fmt.ProbeStatus(attached=True, seen=len(events), lost=0, **status)
    with TraceWriter(folder) as writer:
        units = {one.name: one.unit for one in PROBE.columns}
        writer.events("stage_counters", columns, {"kind": PROBE.kind_names}, units)
        session = msgspec.structs.replace(
            session, rounds=[round_], probes={"stage_counters": known}
        )
        writer.session(session)
    return folder


def start_of(tmp_path: Path) -> int:
    traces.fabricate(tmp_path / "empty.memsc", arms=("memsc",), rounds=1, calls=1000)
    (round_,) = fmt.open_trace(tmp_path / "empty.memsc").session.rounds
    return round_.start_ns or 0


def with_pmu(tmp_path: Path) -> list[dict[str, int]]:
    """A hit is 5000 cycles and 3000 instructions; a call executes 9000 and 6000 beside it.

    Every second call the instructions wait for their turn.
    """
    time, cycles, instructions, waited = start_of(tmp_path), 0, 0, 0
    out: list[dict[str, int]] = []

    def hit(kind: str, entry: int, more: int) -> None:
        nonlocal cycles, instructions
        cycles, instructions = cycles + 5000 + more, instructions + 3000 + more * 2 // 3
        fields = {"cycles": cycles, "instructions": instructions, "entry": entry}
        fields |= {"instructions_waited": waited}
        out.append(event(time, kind, 0, 9, 9 if kind == "calibrate" else 8, **fields))

    for entry in range(200):
        # An odd one comes after a sleep.
        hit("calibrate", entry, 100_000 if entry % 2 else 0)
    for call in range(100):
        time += 1
        hit("picked", 0, 70_000)
        waited += 50 * (call % 2)
        time += 1
        hit("executed", 0, 9000)
    return out


def test_what_a_hit_counts_itself_is_taken_off(tmp_path: Path) -> None:
    reason = "this processor's PMU does not count it"
    folder = written(
        tmp_path / "a.memsc", with_pmu(tmp_path), uncounted={"dTLB-load-misses": reason}
    )
    t = ma.open(folder)
    frame = t.stage_counters.df_stages().set_index(["syscall", "event"])
    assert set(frame.index.get_level_values("syscall")) == {"all", "getppid"}
    cycles: Any = frame.loc[("all", "cycles")]
    assert (cycles["stage"], cycles["hit"], cycles["n"]) == (EXECUTE, 5000, 100)
    assert (cycles["per_call"], cycles["p50"]) == (9000, 9000)
    assert cycles["low"] <= 9000 <= cycles["high"]
    assert cycles["told"]
    instructions: Any = frame.loc[("all", "instructions")]
    # Those that had to wait for their turn would be told with too few.
    assert (instructions["per_call"], instructions["n"]) == (6000, 50)
    assert instructions["counted"] == 0.5
    summary = summarise(t)
    assert summary.stage_counters is not None
    assert summary.stage_counters.uncounted == {"dTLB-load-misses": reason}
    said = to_string(summary)
    assert "not read: dTLB-load-misses: this processor's PMU does not count it" in said
    assert "took turns at the PMU: instructions (of 50 % of the stages)" in said


def test_what_is_less_than_a_hit_is_not_told(tmp_path: Path) -> None:
    events = with_pmu(tmp_path)
    first = next(row for row in events if row["kind"] == KINDS["picked"])["cycles"]
    for call, row in enumerate(row for row in events if row["kind"] <= KINDS["executed"]):
        row["cycles"] = first + call * 5400
    t = ma.open(written(tmp_path / "a.memsc", events))
    frame = t.stage_counters.df_stages().query("event == 'cycles'")
    assert set(frame["per_call"]) == {400}
    assert set(frame["told"]) == {False}
    assert "–: less than a hit of the probe counts itself (cycles 5,000)" in to_string(summarise(t))


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["posted", "picked", "executed", "completed"]),
            st.integers(0, 1),
            st.integers(0, 1),
            st.integers(0, 2),
        ),
        max_size=60,
    )
)
def test_only_neighbouring_hits_of_one_call_on_one_cpu_are_a_pair(
    tmp_path_factory: pytest.TempPathFactory, hits: list[tuple[str, int, int, int]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("pairs")
    start = start_of(tmp_path)
    rows = [
        event(start + at, kind, cpu, 20 + caller if own else 10, 20 + caller, tsc=at)
        for at, (kind, cpu, caller, own) in enumerate(hits)
    ]
    last: dict[tuple[int, int], dict[str, int]] = {}
    expected = Bag[str]()
    pair = {("picked", "executed"): EXECUTE, ("posted", "completed"): FROM_POSTED}
    for row in rows:
        who = (row["caller"], row["tid"])
        before = last.get(who)
        last[who] = row
        if before is None or before["cpu"] != row["cpu"]:
            continue
        names = (PROBE.kind_names[before["kind"]], PROBE.kind_names[row["kind"]])
        expected[pair.get(names, "")] += 1
    del expected[""]
    t = ma.open(written(tmp_path / "a.memsc", rows, reason=None))
    frame = (
        t.stage_counters.df_stages() if rows else pd.DataFrame(columns=["syscall", "stage", "n"])
    )
    found = frame.query("syscall == 'all'").set_index("stage")["n"].to_dict()
    assert found == dict(expected)


def test_a_trace_without_them_says_what_brings_them(tmp_path: Path) -> None:
    t = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10))
    with pytest.raises(MemscError, match="record again with --probes stage_counters"):
        t.stage_counters.df_stages()
    assert t.stage_counters.unavailable == {}
    summary = summarise(t)
    assert summary.stage_counters is None
    assert "not asked for" in str(summary.stage_counters_reason)
