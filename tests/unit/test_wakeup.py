# SPDX-License-Identifier: MIT
"""Wake-up chains: each path is told from the others, and steps add up to the stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.domains.wakeup_chains import STEPS
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.analysis.report.wakeup_text import wakeup_rows
from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

KEY = fmt.RoundKey("ipi", "sync", 0)
APP, SERVICE = 1, 0
CALLER, SERVER = 101, 102
FIRST = 4_000_000
# Cycles of 0.5 ns: 20 µs until picked, 20 µs until completed.
STAGES = (200, 40_000, 600, 40_000)
NOBODY = "asked for, and nobody asleep"
Event = tuple[str, int, int, int, int]  # kind, time after the wait's begin, cpu, tid, target


def wake(waker: int, woken: int, here: int, there: int) -> dict[str, list[tuple[str, Event]]]:
    """Each path's events after the wait began, in ns."""
    ask = ("sched", ("waking", 1_000, here, waker, woken))
    awake = ("sched", ("wakeup", 9_000, there, 0, woken))
    runs = ("sched", ("switch", 12_000, there, 0, woken))
    send = ("ipi", ("send", 2_000, here, waker, there))
    came = ("ipi", ("call_function_single_entry", 8_000, there, 0, there))
    return {
        "interrupt": [ask, send, came, awake, runs],
        "idle CPU polled": [ask, ("ipi", ("wake_idle", 1_500, here, waker, there)), awake, runs],
        "joined an interrupt": [("ipi", ("send", 400, here, waker, there)), ask, came, awake, runs],
        "still awake": [ask, ("sched", ("wakeup", 1_200, here, waker, woken))],
        "did not sleep": [],
        "not matched": [ask, send],
        NOBODY: [],
    }


def recorded(
    folder: Path, paths: Sequence[tuple[str, str]], perturbation: fmt.Perturbation | None = None
) -> ma.Trace:
    """A call for each pair of paths, there and back."""
    rows = traces.records(np.tile(STAGES, (len(paths), 1)), start=FIRST, tid=CALLER)
    rows["flags"] = [
        fmt.FLAGS["slept"] | fmt.FLAGS["woke"] * (p != "did not sleep") for p, _ in paths
    ]
    found: dict[str, list[Event]] = {"sched": [], "ipi": []}
    for row, (there, back) in zip(rows, paths, strict=True):
        posted, executed = traces.CLOCK.ns(
            row[["posted", "executed"]].item() + np.zeros(2, np.int64)
        )
        for begin, path, ends in (
            (posted, there, (CALLER, SERVER, APP, SERVICE)),
            (executed, back, (SERVER, CALLER, SERVICE, APP)),
        ):
            woken, cpu = ends[1], ends[3]
            if path in ("still awake", NOBODY):  # it came in before, and did not leave
                found["sched"].append(("switch", int(begin) - 600, cpu, 0, woken))
            elif path != "did not sleep":
                found["sched"].append(("switch", int(begin) - 500, cpu, woken, 0))
            for probe, (kind, after, on, tid, target) in wake(*ends)[path]:
                found[probe].append((kind, int(begin) + after, on, tid, target))
    path = prepare_output(folder)
    with TraceWriter(path) as writer:
        writer.calls(KEY, CALLER, rows, traces.NAMES)
        for probe, events in found.items():
            declared = find(probe)
            table = np.zeros(len(events), np.dtype(declared.layout()))
            for i, (kind, time, cpu, tid, target) in enumerate(events):
                table[i]["kind"] = declared.kind_names.index(kind)
                table[i]["time"], table[i]["cpu"], table[i]["tid"] = time, cpu, tid
                if probe == "ipi":
                    table[i]["target_cpu"] = target
                else:
                    table[i]["target_tid"] = target
                    table[i]["target_cpu"] = APP if target == CALLER else SERVICE
            writer.events(probe, table, {"kind": declared.kind_names})
        rounds = [fmt.Round(*KEY, probes=["sched", "ipi"], calls=len(rows), lost=0, made=len(rows))]
        arms = {"ipi": fmt.Arm("ipi", "inline", [APP], [SERVICE], len(rows), 0, len(rows))}
        probes = {p: fmt.ProbeStatus(attached=True, seen=len(e), lost=0) for p, e in found.items()}
        session = traces.session(rounds, arms, probes=probes)
        writer.session(msgspec.structs.replace(session, perturbation=perturbation))
    return ma.open(path)


NAMES = sorted(set(wake(0, 0, 0, 1)) - {NOBODY})


def test_every_path_is_told_from_the_others(tmp_path: Path) -> None:
    paths = [(there, back) for there in NAMES for back in NAMES]
    chain = recorded(tmp_path / "a.memsc", paths).wakeup.df_chain()
    for direction, place in (("poll", 0), ("complete", 1)):
        mine = chain[chain["direction"] == direction].sort_values("call")
        assert mine["path"].tolist() == [pair[place] for pair in paths]
        assert (mine["matched"] == (mine["path"] != "not matched")).all()
        assert (mine["total_ns"] == 20_000).all()
    steps = chain[[f"{step}_ns" for step in STEPS]]
    assert (steps.fillna(0) >= 0).all(axis=None)
    assert steps.sum(axis=1).tolist() == chain["total_ns"].tolist()


def test_the_steps_of_an_interrupt(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "a.memsc", [("interrupt", "interrupt")] * 7)
    paths = trace.wakeup.df_paths()
    assert paths["calls"].tolist() == [7, 7]
    for step, ns in zip(STEPS, (1000, 1000, 6000, 1000, 3000, 8000), strict=True):
        assert paths[f"{step}_ns"].tolist() == [ns, ns]
    matched = trace.wakeup.df_matched().iloc[0]
    assert (matched["calls"], matched["matched"], matched["share"]) == (7, 7, 1)


def test_who_was_to_be_woken_but_never_left_the_cpu_did_not_sleep(tmp_path: Path) -> None:
    pairs = [("interrupt", "interrupt"), (NOBODY, "interrupt"), ("not matched", "interrupt")]
    chain = recorded(tmp_path / "a.memsc", pairs).wakeup.df_chain()
    poll = chain[chain["direction"] == "poll"].sort_values("call")
    assert poll["path"].tolist() == ["interrupt", "did not sleep", "not matched"]


def test_steps_shorter_than_a_hit_are_not_told(tmp_path: Path) -> None:
    hits = {"sched": fmt.Hit(1, 999.0), "ipi": fmt.Hit(0, None, 1001.0)}
    pairs = [("interrupt", "interrupt"), ("interrupt", "idle CPU polled")]
    cost = fmt.Perturbation(reason="not of interest", hits=hits)
    trace = recorded(tmp_path / "a.memsc", pairs, cost)
    poll = trace.wakeup.df_paths().iloc[0]
    assert poll["below"] == "send, wake"
    assert poll[["send_ns", "wake_ns"]].isna().all()
    assert poll[["ask_ns", "deliver_ns", "run_ns", "pick_ns"]].tolist() == [1000, 6000, 3000, 8000]
    summary = summarise(trace)
    (title, matched, directions), *_ = wakeup_rows(summary)
    assert (title, matched) == ("ipi sync", "100.0 % of chains whole")
    assert [direction for direction, _ in directions] == ["poll", "complete"]
    assert directions[0][1][0][:3] == ["interrupt", "100.0 %", "1,000"]
    assert "–" in directions[0][1][0]
    said = to_string(summary)
    assert max(map(len, said.splitlines())) <= 80
    trace.wakeup.plot_paths().canvas.draw()


def test_a_call_counts_when_both_ways_are_matched(tmp_path: Path) -> None:
    pairs = [("interrupt", "interrupt"), ("interrupt", "not matched"), ("not matched", "interrupt")]
    found = recorded(tmp_path / "a.memsc", pairs).wakeup.df_matched().iloc[0]
    assert (found["calls"], found["matched"]) == (3, 1)


def test_a_trace_without_the_probes_says_which_to_ask_for(tmp_path: Path) -> None:
    trace = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=50))
    with pytest.raises(MemscError, match=r"wake-up chain.*--probes"):
        trace.wakeup.df_chain()
    with pytest.raises(MemscError, match=r"took the CPUs away.*--probes"):
        trace.noise.df_noise()
