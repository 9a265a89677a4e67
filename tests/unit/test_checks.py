# SPDX-License-Identifier: MIT
"""The invariants: what must withhold a verdict does, and events are counted where they belong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.domains.busy import Spans
from memsc.analysis.domains.checks import Check
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.trust_text import trust_lines
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

EVENT = [("time", "u8"), ("cpu", "u4"), ("kind", "u4"), ("pid", "u4"), ("tid", "u4")]
IPI = np.dtype([*EVENT, ("target_cpu", "i4"), ("vector", "i4")])
SCHED = np.dtype([*EVENT, ("target_tid", "u4"), ("target_cpu", "i4"), ("state", "i4")])
SYSCALLS = np.dtype([*EVENT, ("number", "i8"), ("result", "i8")])
CALLS = 1009
TID = 7


def find(trace: ma.Trace, name: str, arm: str = "memsc") -> Check:
    return next(c for c in trace.checks.all() if c.name == name and c.arm == arm)


def test_a_lost_call_withholds_the_verdict(tmp_path: Path) -> None:
    trace = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=50, lost=1))
    assert find(trace, "lost").held is False
    assert find(trace, "counted").held
    assert trace.checks.withheld()[0] == "direct: 2 calls lost: record again with a larger --ring"


def test_an_uncounted_call_withholds_the_verdict(tmp_path: Path) -> None:
    rounds = [
        fmt.Round("memsc", "sync", 0, calls=10, lost=0, made=11),
        fmt.Round("memsc", "sync", 1, calls=10, lost=0, made=9),
    ]
    arms = {"memsc": fmt.Arm("memsc", calls=20, lost=0, made=20)}
    folder = prepare_output(tmp_path / "a.memsc")
    TraceWriter(folder).session(traces.session(rounds, arms))
    check = find(ma.open(folder), "counted")
    assert (check.value, check.held) == (2, False)


@pytest.mark.parametrize(
    ("arm", "transport", "status", "held"),
    [
        ("uring", "direct", 77, True),
        ("bpftrace", "memsc", 77, True),
        ("bpftrace", "memsc", 1, False),
        ("memsc", "memsc", 77, False),
        ("memsc-scanner", "memsc", 77, False),
        ("direct", "direct", 77, False),
    ],
)
def test_a_peer_that_the_machine_has_not_is_no_failure(
    arm: str, transport: str, status: int, held: bool, tmp_path: Path
) -> None:
    rounds = [fmt.Round(arm, "sync", 0, calls=0, lost=0, made=0, exit_status=status)]
    folder = prepare_output(tmp_path / "a.memsc")
    arms = {arm: fmt.Arm(transport, calls=0, lost=0, made=0)}
    TraceWriter(folder).session(traces.session(rounds, arms))
    assert find(ma.open(folder), "failed_rounds", arm).held is held


def test_a_session_that_did_not_end_withholds_the_verdict(tmp_path: Path) -> None:
    folder = prepare_output(tmp_path / "a.memsc")
    arms = {"memsc": fmt.Arm("memsc")}
    TraceWriter(folder).session(traces.session([], arms, complete=False))
    trace = ma.open(folder)
    assert find(trace, "lost").value is None
    assert trace.checks.withheld() == ["memsc: the session did not end in order"]


def probed(
    tmp_path: Path,
    *,
    local: int = 0,
    lost: int = 0,
    transport: str = "memsc",
    calls_made: int = CALLS,
    flags: int = 0,
) -> ma.Trace:
    """One round on CPU 1, served on CPU 0, with a prime count of each event; probed throughout."""
    folder = prepare_output(tmp_path / f"{transport}-{local}-{lost}.memsc")
    rows = traces.records(np.full((calls_made, 4), 1000), tid=TID)
    rows["flags"][:2] = flags
    stamps = np.array([int(rows["called"][0]), int(rows["completed"][-1])], np.int64)
    start, end = traces.CLOCK.ns(stamps).tolist()
    shown = fmt.Round(
        transport,
        "sync",
        0,
        check=not flags,
        probes=["ipi", "sched", "syscalls"],
        calls=calls_made,
        lost=0,
        made=calls_made,
        local=local,
    )
    arms = {transport: fmt.Arm(transport, "inline", [1], [0], calls_made, 0, calls_made)}
    probes = {name: fmt.ProbeStatus(True, seen=9, lost=lost) for name in shown.probes}
    with TraceWriter(folder) as writer:
        writer.calls(shown.key, 7, rows, traces.NAMES)

        def events(layout: np.dtype[np.void], kind: int, count: int, **fields: int) -> np.ndarray:
            made = np.zeros(count + 2, layout)
            # One before the first call and one after the last: they do not count.
            made["time"] = [start - 40, *np.linspace(start + 40, end - 40, count), end + 40]
            made["kind"] = kind
            for name, value in fields.items():
                made[name] = value
            return made

        kinds = ["send", "wake_idle", "reschedule_entry", "reschedule_exit"]
        ipi = [
            events(IPI, 0, 11, target_cpu=1),
            events(IPI, 0, 13, target_cpu=0),
            events(IPI, 0, 17, target_cpu=5),
            events(IPI, 1, 19, target_cpu=1),
            events(IPI, 2, 23, cpu=1),
            events(IPI, 3, 23, cpu=1),
        ]
        writer.events("ipi", np.concatenate(ipi), {"kind": kinds})
        sched = [
            events(SCHED, 0, 29, cpu=1, tid=TID, state=1),
            events(SCHED, 0, 31, cpu=1, tid=TID, state=256),
            events(SCHED, 0, 37, cpu=0, tid=8, state=1),
            events(SCHED, 1, 41, cpu=1, tid=TID),
        ]
        writer.events("sched", np.concatenate(sched), {"kind": ["switch", "waking"]})
        calls = [
            events(SYSCALLS, 0, 43, tid=TID),
            events(SYSCALLS, 1, 43, tid=TID),
            events(SYSCALLS, 0, 47, tid=8),
        ]
        writer.events("syscalls", np.concatenate(calls), {"kind": ["enter", "exit"]})
        writer.session(traces.session([shown], arms, probes=probes))
    return ma.open(folder)


EXPECTED = {
    "ipis_to_app_cpu": 11,
    "ipis_to_service_cpu": 13,
    "ipis_taken_by_app_cpu": 23,
    "ipis_taken_by_service_cpu": 0,
    "wakeups_without_ipi": 19,
    "app_sleeps": 29,
    "app_preemptions": 31,
    "app_cpu_switches": 60,
    "app_syscalls": 43,
}


def test_events_are_counted_where_and_when_they_belong(tmp_path: Path) -> None:
    trace = probed(tmp_path)
    row = trace.checks.df_events_per_round().iloc[0]
    assert {name: row[name] for name in EXPECTED} == EXPECTED
    assert row["calls"] == CALLS


@pytest.mark.parametrize("name", ["ipis_taken_by_app_cpu", "app_cpu_switches", "app_syscalls"])
def test_memsc_must_have_none_and_ipi_may(tmp_path: Path, name: str) -> None:
    check = find(probed(tmp_path), f"{name}_per_call")
    assert (check.value, check.expected, check.held) == (EXPECTED[name] / CALLS, 0, False)
    check = find(probed(tmp_path, transport="ipi"), f"{name}_per_call", "ipi")
    assert (check.value, check.expected, check.held) == (EXPECTED[name] / CALLS, None, None)


@pytest.mark.parametrize(
    ("calls", "name", "held"),
    [
        (999, "ipis_taken_by_service_cpu", None),
        (999, "app_cpu_switches", None),
        (1009, "ipis_taken_by_service_cpu", True),
        (1009, "ipis_to_app_cpu", None),
        (1009, "app_cpu_switches", False),
    ],
)
def test_a_handful_of_events_or_calls_judges_nothing(
    tmp_path: Path, calls: int, name: str, held: bool | None
) -> None:
    trace = probed(tmp_path, calls_made=calls)
    check = find(trace, f"{name}_per_call")
    says = f"{EXPECTED[name]} in {calls} calls"
    assert check.held is held
    assert check.value == EXPECTED[name] / calls
    assert check.reason == (f"insufficient: {says}" if held is None else says)


def test_what_is_insufficient_is_a_question_mark(tmp_path: Path) -> None:
    lines = list(trust_lines(summarise(probed(tmp_path, calls_made=101))))
    assert not [line for sign, line in lines if sign == "✗"]
    shown = "memsc: app syscalls: insufficient: 43 in 101 calls"
    assert ("?", shown) in lines
    assert not [line for _, line in lines if line.startswith("memsc: 0 per call")]


def test_what_a_wake_up_brings_is_not_held_against_the_transport(tmp_path: Path) -> None:
    check = find(probed(tmp_path, flags=fmt.FLAGS["woke"]), "app_cpu_switches_per_call")
    # Of the events spread over 1009 calls one of each kind falls into the first two.
    assert check.reason == "60 in 1009 calls, 2 of them while the program or one of 2 calls waited"
    assert (check.value, check.held) == (58 / 1007, False)


def sleepy(folder: Path, gap_ns: int, *, slept: bool = False) -> ma.Trace:
    """A thousand calls, and 300 µs behind each a switch on the application CPU."""
    stages, calls = np.full((2003, 4), 100), 2003
    rows = traces.records(stages, tid=TID)
    for stamp in fmt.STAMPS:
        rows[stamp] += (np.arange(calls) * gap_ns * 2).astype(np.uint64)
    rows["flags"] = fmt.FLAGS["slept"] if slept else 0
    times = traces.CLOCK.ns(rows["called" if slept else "completed"].astype(np.int64))
    sched = np.zeros(calls, SCHED)
    sched["time"] = times + (100 if slept else 300_000)
    sched["cpu"], sched["tid"], sched["state"] = 1, TID, 1
    key = fmt.RoundKey("memsc", "sync", 0)
    with TraceWriter(prepare_output(folder)) as writer:
        writer.calls(key, 7, rows, traces.NAMES)
        writer.events("sched", sched, {"kind": ["switch"]})
        shown = fmt.Round(*key, probes=["sched"], calls=calls, lost=0, made=calls)
        arms = {"memsc": fmt.Arm("memsc", "inline", [1], [0], calls, 0, calls)}
        probes = {"sched": fmt.ProbeStatus(True, seen=calls, lost=0)}
        writer.session(traces.session([shown], arms, probes=probes))
    return ma.open(folder)


def test_a_program_that_sleeps_between_calls_breaks_no_promise(tmp_path: Path) -> None:
    check = find(sleepy(tmp_path / "a.memsc", 500_000), "app_cpu_switches_per_call")
    assert (check.value, check.held) == (0, True)
    # With calls in between it would be the transport's: the same switches, but no time apart.
    check = find(sleepy(tmp_path / "b.memsc", 50_000), "app_cpu_switches_per_call")
    assert check.held is False


def test_where_every_call_waited_nothing_is_judged(tmp_path: Path) -> None:
    check = find(sleepy(tmp_path / "a.memsc", 1000, slept=True), "app_cpu_switches_per_call")
    assert (check.value, check.held) == (None, None)
    assert check.reason is not None
    assert check.reason.startswith("insufficient: every call waited")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=12),
    st.lists(st.integers(-5, 80), max_size=20),
)
def test_a_union_of_spans_holds_what_any_of_them_holds(
    spans: list[tuple[int, int]], times: list[int]
) -> None:
    start = np.array([at for at, _ in spans], np.int64)
    end = start + np.array([length for _, length in spans], np.int64)
    union = Spans.union(start, end)
    assert (union.start[1:] > union.end[:-1]).all()
    expected = [any(a <= t <= b for a, b in zip(start, end, strict=True)) for t in times]
    assert union.hit(np.array(times, np.int64)).tolist() == expected


def test_calls_that_are_local_on_purpose_are_the_callers_own(tmp_path: Path) -> None:
    check = find(probed(tmp_path, local=43), "app_syscalls_per_call")
    assert (check.value, check.held) == (0, True)
    assert check.reason == "43 in 1009 calls, 43 of them local on purpose"


def test_lost_events_are_no_zero(tmp_path: Path) -> None:
    check = find(probed(tmp_path, lost=3), "ipis_to_app_cpu_per_call")
    assert (check.value, check.held, check.reason) == (None, None, "3 events of ipi lost")


def test_without_probes_nothing_is_claimed(tmp_path: Path) -> None:
    trace = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=50))
    check = find(trace, "ipis_to_app_cpu_per_call")
    assert (check.value, check.held, check.reason) == (None, None, "record with --probes ipi")


def test_calls_that_a_killed_session_had_not_written_are_accounted_for(tmp_path: Path) -> None:
    """Of one whose rings were lost with it that is not known."""
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("direct",), rounds=1, calls=100)
    session = fmt.open_trace(folder).session
    for stopped, sign in (("killed", "✓"), (None, "?")):
        done = replace(session.rounds[0], exit_status=None, stopped=stopped)
        changed = replace(session, rounds=[done], complete=False)
        (folder / fmt.SESSION).write_bytes(changed.encode())
        lines = list(trust_lines(summarise(ma.open(folder))))
        assert ("✗", "the session did not end in order; what was written is shown") in lines
        said = next(line for mark, line in lines if mark == sign and "100 calls" in line)
        assert said.endswith("every one accounted for") == (stopped == "killed")
        killed = [line for _, line in lines if "the session was killed in round 0" in line]
        assert bool(killed) == bool(stopped)


def test_stamps_that_nothing_is_held_against_are_said_to_be_in_order_and_no_more(
    tmp_path: Path,
) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("direct",), rounds=1, calls=100)
    shutil.rmtree(folder / fmt.TIMINGS)
    session = fmt.open_trace(folder).session
    untimed = replace(session.rounds[0], start_cycles=None, end_cycles=None)
    (folder / fmt.SESSION).write_bytes(replace(session, rounds=[untimed]).encode())
    lines = list(trust_lines(summarise(ma.open(folder))))
    assert ("✓", "stamps in order") in lines
    why = "nobody measured the time around its rounds"
    assert ("?", f"not checked: whether calls fit into their rounds: {why}") in lines


def test_arms_that_an_interrupt_left_no_time_for_are_said_to_have_no_calls(tmp_path: Path) -> None:
    """And not to lack a probe, which was there; that it was cut short stands beside it."""
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("direct",), rounds=1, calls=100)
    session = fmt.open_trace(folder).session
    done = replace(session.rounds[0], exit_status=-2, stopped="interrupted")
    none = fmt.Arm("memsc", "inline", calls=0, lost=0, made=0)
    probes = {name: fmt.ProbeStatus(attached=True, seen=0, lost=0) for name in ("ipi", "sched")}
    changed = replace(session, rounds=[done], arms={**session.arms, "memsc": none}, probes=probes)
    (folder / fmt.SESSION).write_bytes(changed.encode())
    lines = list(trust_lines(summarise(ma.open(folder))))
    assert ("?", "memsc: no calls recorded") in lines
    assert ("✓", "stamps in order, every call within its round") in lines
    assert not [line for _, line in lines if "record with --probes" in line]
    assert [
        line for sign, line in lines if sign == "!" and "interrupted in round 0 of direct" in line
    ]
