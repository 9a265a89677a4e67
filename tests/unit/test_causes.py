# SPDX-License-Identifier: MIT
"""Each slow call gets the cause that was put there, and none that was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.causes.shares import LOST
from memsc.probes.declaration import find
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

KEY = fmt.RoundKey("memsc", "sync", 0)
NOISE = find("noise")
EVENT = np.dtype(NOISE.layout())
CALLS = 4000
APP, SERVICE = 1, 0
TID = PID = 101
# Twenty cycles (10 ns) to a poll: what both sides usually do while they wait.
POLL = 20
STAGES = (20, 140, 260, 200)
Events = Callable[[int], list[dict[str, Any]]]
FIRST = 2_000_000


def base() -> np.ndarray:
    return np.tile(np.array(STAGES), (CALLS, 1))


def flags_of(stages: np.ndarray, away: Sequence[int] = ()) -> np.ndarray:
    """Both sides looked all the time, but for the calls of which they are said to have not."""
    usual = np.tile(np.array(STAGES), (len(stages), 1))
    seen = stages.copy()
    seen[list(away)] = usual[list(away)]
    app = seen[:, 1:].sum(axis=1) // POLL
    service = (seen[:, 1] + seen[:, 3] + 50 + seen[:, 0]) // POLL
    return (np.minimum(app, 2047) << 20) | (np.minimum(service, 2047) << 8)


def event(kind: str, cpu: int, time: float, duration: float = 0, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "cpu": cpu, "time": time, "duration": duration} | more


def trace(
    folder: Path,
    stages: np.ndarray,
    flags: np.ndarray,
    events: Sequence[dict[str, Any]],
    *,
    lost: int = 0,
    full: int = 0,
    virtual: bool = True,
    arm: str = "memsc",
) -> ma.Trace:
    """A round of calls, one after the other, and what the probe saw; times of events in ns."""
    rows = traces.records(stages, start=FIRST, tid=TID, flags=0)
    rows["flags"] = flags
    table = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        for name, value in one.items():
            table[i][name] = NOISE.kind_names.index(value) if name == "kind" else value
    path = prepare_output(folder, force=True)
    key = KEY._replace(arm=arm)
    transport, _, service = arm.partition("-")
    with TraceWriter(path, replace=True) as writer:
        writer.calls(key, PID, rows, traces.NAMES)
        units = {column.name: column.unit for column in NOISE.columns}
        writer.events("noise", table, {"kind": NOISE.kind_names}, units)
        n = len(rows)
        rounds = [
            fmt.Round(*key, probes=["noise"], calls=n, lost=0, made=n, events_lost={"noise": full})
        ]
        arms = {arm: fmt.Arm(transport, service or "inline", [APP], [SERVICE], n, 0, n)}
        probes = {"noise": fmt.ProbeStatus(attached=True, seen=len(events), lost=lost + full)}
        environment = fmt.Environment(virtual=virtual, interrupts={36: "disk"})
        writer.session(traces.session(rounds, arms, probes=probes, environment=environment))
    return ma.open(path)


def stamp_ns(stages: np.ndarray, call: int, stage: int) -> int:
    """When a stage of a call begins, in ns."""
    rows = traces.records(stages, start=FIRST)
    name = fmt.STAMPS[stage]
    return int(traces.CLOCK.ns(rows[name][call : call + 1].astype(np.int64))[0])


def cause(folder: Path, stage: int, ns: int, make: Events, **options: Any) -> str:
    """The cause of one call whose stage was longer by ns, given the events made for its begin."""
    stages = base()
    stages[1777, stage] += 2 * ns
    away = [1777] if options.pop("away", False) else []
    flags = flags_of(stages, away)
    flags[1777] |= options.pop("flags", 0)
    begin = stamp_ns(stages, 1777, stage)
    worst = trace(folder, stages, flags, make(begin), **options).tail.df_worst(1)
    assert worst["total_ns"].iloc[0] == sum(STAGES) / 2 + ns
    found: str = worst["cause"].iloc[0]
    return found


POLL_STAGE, EXECUTE, COMPLETE = 1, 2, 3


def nothing(_: int) -> list[dict[str, Any]]:
    return []


# Stage, kind and CPU of an event, its other fields, and the cause it is.
NAMED: list[tuple[int, str, int, dict[str, Any], str]] = [
    (COMPLETE, "timer", APP, {}, "interrupted by timer"),
    (POLL_STAGE, "timer", SERVICE, {}, "interrupted by timer"),
    (EXECUTE, "irq", SERVICE, {"number": 36}, "interrupted by disk"),
    (EXECUTE, "irq", SERVICE, {"number": 37}, "interrupted by irq 37"),
    (COMPLETE, "softirq", APP, {"number": 9}, "soft interrupt RCU"),
    (COMPLETE, "shootdown", APP, {"number": 3}, "TLB shoot-down"),
    (COMPLETE, "task", APP, {"name": b"kworker/0:1", "tid": 9}, "preempted by kworker"),
    (COMPLETE, "task", APP, {"name": b"memsc", "tid": 9}, "preempted by memsc's session"),
    (
        POLL_STAGE,
        "task",
        SERVICE,
        {"name": b"memsc-helper", "tid": 9},
        "service preempted by memsc's helper",
    ),
    (POLL_STAGE, "task", SERVICE, {"name": b"tar", "tid": 9}, "service preempted by tar"),
]


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case[-1])
def test_who_had_the_cpu_is_named(
    tmp_path: Path, case: tuple[int, str, int, dict[str, Any], str]
) -> None:
    stage, kind, cpu, more, wanted = case

    def events(begin: int) -> list[dict[str, Any]]:
        return [event(kind, cpu, begin + 1000, 17_000, **more)]

    assert cause(tmp_path / "a.memsc", stage, 20_000, events) == wanted


def test_an_interrupt_elsewhere_or_at_another_time_is_no_cause(tmp_path: Path) -> None:
    for cpu, shift in ((APP, 0), (SERVICE, 40_000)):

        def events(begin: int, cpu: int = cpu, shift: int = shift) -> list[dict[str, Any]]:
            return [event("timer", cpu, begin + 1000 + shift, 17_000)]

        found = cause(tmp_path / "a.memsc", POLL_STAGE, 20_000, events, away=False)
        assert found == "unexplained"


def test_turns_of_the_call_s_own_threads_preempt_nobody(tmp_path: Path) -> None:
    def own(begin: int) -> list[dict[str, Any]]:
        return [
            event("task", SERVICE, begin, 20_000, name=b"memsc-service", tid=102, pid=PID),
            event("task", APP, begin, 20_000, name=b"work", tid=TID, pid=PID),
        ]

    assert cause(tmp_path / "a.memsc", POLL_STAGE, 20_000, own) == "unexplained"
    assert cause(tmp_path / "a.memsc", COMPLETE, 20_000, own) == "host took the CPU"


def test_who_did_not_look_was_taken_away_by_the_host(tmp_path: Path) -> None:
    folder = tmp_path / "a.memsc"
    assert cause(folder, POLL_STAGE, 20_000, nothing, away=True) == "host took the CPU"
    assert cause(folder, POLL_STAGE, 20_000, nothing) == "unexplained"
    assert cause(folder, EXECUTE, 20_000, nothing) == "host took the CPU"
    # Too short for any hypervisor.
    assert cause(folder, POLL_STAGE, 600, nothing, away=True) == "cache line late"
    assert cause(folder, EXECUTE, 600, nothing) == "processor stalled"


def test_where_events_were_lost_nothing_is_concluded_from_their_absence(tmp_path: Path) -> None:
    folder = tmp_path / "a.memsc"
    assert cause(folder, POLL_STAGE, 20_000, nothing, away=True, lost=1) == "unexplained"
    assert cause(folder, POLL_STAGE, 20_000, nothing, away=True, full=1) == LOST


def test_what_a_whole_round_is_slower_by_is_no_event_of_its_calls(tmp_path: Path) -> None:
    path, first = prepare_output(tmp_path / "a.memsc"), FIRST
    slow = base()
    slow[:, COMPLETE] += 400
    rounds = [base(), base(), slow]
    for stages in rounds:
        stages[1777, COMPLETE] += 900  # 450 ns
    done: list[fmt.Round] = []
    with TraceWriter(path) as writer:
        for number, stages in enumerate(rounds):
            rows = traces.records(stages, start=first, tid=TID, flags=0)
            rows["flags"] = flags_of(stages)
            first += 10_000_000
            key = KEY._replace(round=number)
            writer.calls(key, PID, rows, traces.NAMES)
            probes = ["noise"]
            done.append(fmt.Round(*key, probes=probes, calls=CALLS, lost=0, made=CALLS))
        n = CALLS * len(rounds)
        arms = {"memsc": fmt.Arm("memsc", "inline", [APP], [SERVICE], n, 0, n)}
        status = {"noise": fmt.ProbeStatus(attached=True, seen=0, lost=0)}
        writer.session(traces.session(done, arms, probes=status))
    worst = ma.open(path).tail.df_worst(CALLS).sort_values("total_ns")
    assert worst[worst["round"] < 2]["cause"].tolist()[-2:] == ["cache line late"] * 2
    slower = worst[worst["round"] == 2]
    assert len(slower) > CALLS / 2
    assert slower["cause"].iloc[-1] == "cache line late"
    assert set(slower["cause"].iloc[:-1]) == {"slower the whole round"}
    assert slower["cause_ns"].iloc[:-1].tolist() == pytest.approx([200] * (len(slower) - 1))


def test_the_steal_clock_is_believed(tmp_path: Path) -> None:
    def events(begin: int) -> list[dict[str, Any]]:
        return [event("stolen", SERVICE, begin - 9_000, 60_000, number=19_000)]

    assert cause(tmp_path / "a.memsc", POLL_STAGE, 20_000, events) == "host took the CPU"


def test_calls_that_do_other_work_each_time_are_not_laid_to_the_host(tmp_path: Path) -> None:
    stages = base()
    stages[:, EXECUTE] = np.geomspace(200, 8_000, CALLS).astype(np.int64)
    stages[1777, EXECUTE] = 90_000
    worst = trace(tmp_path / "a.memsc", stages, flags_of(stages), []).tail.df_worst(1)
    assert worst["cause"].iloc[0] == "unexplained"


@pytest.mark.parametrize(
    ("stage", "flag", "wanted"),
    [
        (POLL_STAGE, "woke", "parked and woken"),
        (COMPLETE, "slept", "caller slept"),
        (POLL_STAGE, "pooled", "pool or takeover"),
        (EXECUTE, "pooled", "the call itself waited"),
    ],
)
def test_the_runtime_s_word_is_taken(tmp_path: Path, stage: int, flag: str, wanted: str) -> None:
    found = cause(tmp_path / "a.memsc", stage, 30_000, nothing, flags=fmt.FLAGS[flag])
    assert found == wanted


def test_a_page_fault_explains_what_a_fault_may_cost(tmp_path: Path) -> None:
    def fault(tid: int) -> Events:
        def events(begin: int) -> list[dict[str, Any]]:
            return [event("fault_user", APP, begin + 5, tid=tid, number=4096)]

        return events

    assert cause(tmp_path / "a.memsc", 0, 6_000, fault(TID)) == "page fault"
    assert cause(tmp_path / "a.memsc", 0, 6_000, fault(9)) == "host took the CPU"


def test_a_service_that_serves_others_is_busy(tmp_path: Path) -> None:
    """Two threads post at once; every hundredth time the other's call takes long."""
    n = 4000
    mine = np.tile(np.array(STAGES), (n, 1))
    slow = np.arange(50, n, 100)
    mine[slow, POLL_STAGE] += 30_000
    rows = traces.records(mine, start=FIRST, tid=TID)
    rows["flags"] = flags_of(mine, slow.tolist())
    other = traces.records(np.tile(np.array((20, 140, 29_500, 200)), (len(slow), 1)), tid=102)
    shift = rows["posted"][slow].astype(np.int64) + 50 - other["picked"].astype(np.int64)
    for name in fmt.STAMPS:
        other[name] = other[name].astype(np.int64) + shift
    path = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(path) as writer:
        writer.calls(KEY, PID, rows, traces.NAMES)
        writer.calls(KEY, PID, other, {110: "write"})
        rounds = [fmt.Round(*KEY, probes=["noise"], calls=n, lost=0, made=n)]
        arms = {"memsc": fmt.Arm("memsc", "inline", [APP], [SERVICE], n, 0, n)}
        probes = {"noise": fmt.ProbeStatus(attached=True, seen=0, lost=0)}
        writer.session(traces.session(rounds, arms, probes=probes))
    calls = ma.open(path).tail.df_calls()
    assert set(calls[calls["tid"] == TID]["cause"]) == {"service busy with another call"}


@st.composite
def disturbed(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    stages = base()
    slow = generator.choice(CALLS, 60, replace=False)
    stages[slow, generator.integers(0, 4, 60)] += generator.integers(100, 200_000, 60)
    flags = flags_of(stages, slow[::2].tolist())
    flags[slow] |= generator.integers(0, 32, 60) & ~fmt.FLAGS["async"]
    length = int(stages.sum() + 50 * CALLS) // 2
    start = int(traces.CLOCK.ns(np.array([FIRST]))[0])
    kinds = [*NOISE.kind_names]
    events = [
        event(
            kinds[generator.integers(len(kinds))],
            int(generator.integers(2)),
            start + int(generator.integers(length)),
            int(generator.integers(0, 40_000)),
            number=int(generator.integers(0, 12)),
            tid=int(generator.integers(99, 103)),
            name=b"other",
        )
        for _ in range(draw(st.integers(0, 200)))
    ]
    return stages, flags, events


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(disturbed())
def test_causes_partition_the_calls_and_never_exceed_them(
    tmp_path: Path, made: tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]
) -> None:
    found = trace(tmp_path / "a.memsc", *made)
    blamed = found.tail.blame.tail
    spent = blamed.shares.frame.groupby("call")["ns"].sum()
    totals = blamed.frame["total_ns"].to_numpy()
    # Half a nanosecond of rounding per stamp.
    assert np.all(spent.to_numpy() <= totals[spent.index.to_numpy()] + 4)
    assert np.all(blamed.shares.frame["ns"] > 0)
    causes = found.tail.df_causes()
    for band, calls in causes.groupby("band"):
        assert calls["share"].sum() == pytest.approx(1)
        above = blamed.frame["above"]
        wanted = (above == "p999").sum() if band == "p999" else (above != "").sum()
        assert calls["calls"].sum() == wanted


SCHED = find("sched")


def test_a_service_that_parked_is_not_taken_for_a_thief_where_no_turn_has_a_name(
    tmp_path: Path,
) -> None:
    stages, slow, service, thief = base(), [1000, 2000], 102, 900
    stages[slow, 1] = 40_000
    stages[100:140, 1] = 30_000  # enough slow calls for a percentile
    rows = traces.records(stages, start=FIRST, tid=TID, flags=0)
    rows["flags"] = flags_of(stages)
    posted, picked = (traces.CLOCK.ns(rows[s].astype(np.int64)) for s in ("posted", "picked"))
    moments: list[tuple[int, int, int, int]] = []  # time, pid and tid that leave, tid that comes
    for call, (tid, pid) in zip(slow, ((service, PID), (thief, 77)), strict=True):
        start, end = int(posted[call]), int(picked[call])
        moments += [(start + 1000, 0, 0, tid), (end - 1000, pid, tid, 0)]
    table = np.zeros(len(moments), SCHED.layout())
    for row, (time, pid, tid, comes) in zip(table, moments, strict=True):
        row["time"], row["cpu"], row["pid"], row["tid"] = time, SERVICE, pid, tid
        row["target_tid"], row["kind"] = comes, SCHED.kind_names.index("switch")
    path = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(path) as writer:
        writer.calls(KEY, PID, rows, traces.NAMES)
        writer.events("sched", table, {"kind": SCHED.kind_names}, {})
        rounds = [fmt.Round(*KEY, probes=["sched"], pids=[PID], calls=CALLS, lost=0, made=CALLS)]
        arms = {"memsc": fmt.Arm("memsc", "inline", [APP], [SERVICE], CALLS, 0, CALLS)}
        probes = {"sched": fmt.ProbeStatus(attached=True, seen=len(table), lost=0)}
        writer.session(traces.session(rounds, arms, probes=probes))
    causes = ma.open(path).tail.df_calls()["cause"].value_counts().to_dict()
    assert causes.get(f"service preempted by thread {thief}") == 1
    assert f"service preempted by thread {service}" not in causes


def test_of_very_many_slow_calls_some_are_looked_at_and_the_worst_are_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = traces.fabricate(tmp_path / "many.memsc", rounds=4, calls=5000)
    whole = ma.open(folder).tail
    assert (whole.df_causes()["every"] == 1).all()
    monkeypatch.setattr("memsc.analysis.causes.blame.MOST", 60)
    some = ma.open(folder).tail
    causes = some.df_causes()
    assert (causes["every"] == 4).all()
    kept, all_of_them = (tail.df_calls().groupby("arm").size() for tail in (some, whole))
    assert kept.tolist() == (-(-all_of_them // 4)).tolist()
    assert causes.groupby(["arm", "band"])["share"].sum().tolist() == pytest.approx([1.0] * 6)
    pd.testing.assert_frame_equal(some.df_worst(5), whole.df_worst(5))


def wakes(cpu: int, after: float) -> Events:
    return lambda begin: [event("reschedule", cpu, begin + after, 500)]


WAKE_UPS: list[tuple[str, int, Events, str]] = [
    ("ipi", POLL_STAGE, wakes(SERVICE, 39_000), "wake-up interrupt late"),
    ("ipi", COMPLETE, wakes(APP, 39_000), "wake-up interrupt late"),
    # It was there at once; or it went to the other CPU, and nobody had to be interrupted here.
    ("ipi", POLL_STAGE, wakes(SERVICE, 20), "wake-up took longer"),
    ("ipi", POLL_STAGE, wakes(APP, 39_000), "wake-up took longer"),
    ("ipi", COMPLETE, nothing, "wake-up took longer"),
    ("memsc-scanner", POLL_STAGE, nothing, "wake-up took longer"),
    ("memsc-scanner", COMPLETE, nothing, "host took the CPU"),
]


@pytest.mark.parametrize(("arm", "stage", "make", "expected"), WAKE_UPS)
def test_a_slow_wake_up_is_cut_at_its_interrupt(
    arm: str, stage: int, make: Events, expected: str, tmp_path: Path
) -> None:
    assert cause(tmp_path / "t", stage, 40_000, make, arm=arm) == expected


def test_a_slow_wake_up_of_which_something_may_have_gone_unseen_is_not_named(
    tmp_path: Path,
) -> None:
    found = cause(tmp_path / "t", POLL_STAGE, 40_000, nothing, arm="ipi", lost=500)
    assert found == "unexplained"
