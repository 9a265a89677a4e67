# SPDX-License-Identifier: MIT
"""A trace in which one thing is changed: which checks turn red, and no others.

So no check is there that cannot fail: each one must be red under a mutation of this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tests.helpers import traces
from tests.unit.test_checks import IPI, SCHED, SYSCALLS

from memsc import analysis as ma
from memsc.probes.stages import PROBE as STATIC
from memsc.tracer import format as fmt
from memsc.tracer.format.writer import TraceWriter

ARM, CASE, PID, TID, ROUNDS, CALLS, WARM_UP = "memsc", "sync", 7, 101, 2, 1500, 500
SERVICE_CPU, APP_CPU = 0, 1
SKEW = int(2 * (traces.CLOCK.skew_bound_ns or 0))  # cycles
MEASURED, BETWEEN = 12, 50  # cycles: around each call, and between calls
SECOND = 2_000_000_000
KINDS = {
    "ipi": ["send", "wake_idle", "reschedule_entry", "reschedule_exit"],
    "sched": ["switch", "waking"],
    "syscalls": ["enter", "exit"],
    "stages": list(STATIC.kind_names),
}
LAYOUTS = {"ipi": IPI, "sched": SCHED, "syscalls": SYSCALLS, "stages": np.dtype(STATIC.layout())}
LATE_NS, HIT_NS = 300, 600
PROGRAMS = 100


@dataclass
class Content:
    """What a trace is written from; a mutation changes it.

    Attributes:
        calls: records of each round.
        timings: cycles of each interval of each round, a call each: those after the warm-up.
        events: of each probe, all rounds together.
    """

    calls: list[np.ndarray]
    timings: list[np.ndarray]
    events: dict[str, np.ndarray]
    rounds: list[fmt.Round]
    arm: fmt.Arm
    changes: dict[str, object] = field(default_factory=dict[str, object])

    def write(self, folder: Path) -> ma.Trace:
        with TraceWriter(folder) as writer:
            for done, rows, cycles in zip(self.rounds, self.calls, self.timings, strict=True):
                writer.calls(done.key, PID, rows, traces.NAMES)
                writer.timings(done.key, True, 1, cycles)
            for probe, events in self.events.items():
                writer.events(probe, events, {"kind": KINDS[probe]})
            probes = {
                name: fmt.ProbeStatus(True, seen=max(len(events), 1), lost=0)
                for name, events in self.events.items()
            }
            session = traces.session(self.rounds, {ARM: self.arm}, probes=probes)
            writer.session(replace(session, **self.changes))
        return ma.open(folder)


def sound() -> Content:
    """A trace of which every check holds."""
    generator = np.random.default_rng(5)
    calls: list[np.ndarray] = []
    rounds: list[fmt.Round] = []
    start = 2_000_000
    for number in range(ROUNDS):
        stages = 600 + traces.stages_like(ARM, CALLS, generator)
        rows = traces.records(stages, start=start + 1000, tid=TID)
        end = int(rows["completed"][-1]) + 1000
        ns = traces.CLOCK.ns(np.array([start, end]))
        rounds.append(
            fmt.Round(
                *(ARM, CASE, number),
                probes=list(KINDS),
                start_ns=int(ns[0]),
                end_ns=int(ns[1]),
                start_cycles=start,
                end_cycles=end,
                pids=[PID],
                exit_status=0,
                calls=CALLS,
                lost=0,
                made=CALLS,
                local=0,
                events_lost={"stages": 0},
                coverage=fmt.Coverage(PROGRAMS, "kernel", unseen=0),
            )
        )
        calls.append(rows)
        start = end + 1_000_000
    timings = [
        (rows["completed"] - rows["called"])[WARM_UP:].astype(np.int64) + MEASURED for rows in calls
    ]
    events = {name: np.zeros(0, LAYOUTS[name]) for name in KINDS}
    events["stages"] = observations(calls)
    total = ROUNDS * CALLS
    arm = fmt.Arm(ARM, "inline", [APP_CPU], [SERVICE_CPU], total, 0, total)
    return Content(calls, timings, events, rounds, arm)


def observations(calls: list[np.ndarray]) -> np.ndarray:
    """What the static probes see of `posted`, a little late, after a calibration."""
    hits = np.zeros(200, LAYOUTS["stages"])
    hits["kind"] = KINDS["stages"].index("calibrate")
    hits["entry"], hits["number"] = np.arange(200), 1000
    hits["result"] = round(HIT_NS / traces.CLOCK.ns_per_cycle)
    hits["time"] = traces.CLOCK.ns(np.array([1000]))[0] + 50
    rows = np.concatenate(calls)
    seen = np.zeros(len(rows), LAYOUTS["stages"])
    seen["kind"] = KINDS["stages"].index("posted")
    seen["time"] = traces.CLOCK.ns(rows["posted"].astype(np.int64)) + LATE_NS
    seen["tid"] = seen["caller"] = TID
    seen["number"] = rows["number"]
    return np.concatenate([hits, seen])


Mutation = Callable[[Content], object]


def stamp(name: str, cycles: int, call: int = 700) -> Mutation:
    """One call has a stamp later, or earlier."""

    def change(content: Content) -> None:
        content.calls[0][name][call] = int(content.calls[0][name][call]) + cycles

    return change


def at(name: str, other: str, cycles: int, call: int = 700) -> Mutation:
    """One call has a stamp so many cycles after another one."""

    def change(content: Content) -> None:
        content.calls[0][name][call] = int(content.calls[0][other][call]) + cycles

    return change


def stretched(by: float, first: int = WARM_UP) -> Mutation:
    """From some call on all take longer, as if their stamps were of a faster counter."""

    def change(content: Content) -> None:
        rows = content.calls[1]
        begun = rows["called"].astype(np.int64)
        for name in fmt.STAMPS:
            length = (rows[name].astype(np.int64) - begun) * by
            rows[name][first:] = (begun + length.astype(np.int64))[first:]

    return change


def shifted(cycles: int) -> Mutation:
    """A round's stamps are of a counter that is ahead, or behind."""

    def change(content: Content) -> None:
        for name in fmt.STAMPS:
            content.calls[0][name] = content.calls[0][name].astype(np.int64) + cycles

    return change


def of_round(**changes: object) -> Mutation:
    def change(content: Content) -> None:
        content.rounds[0] = replace(content.rounds[0], **changes)

    return change


def of_arm(**changes: object) -> Mutation:
    def change(content: Content) -> None:
        content.arm = replace(content.arm, **changes)

    return change


def timed(by: float) -> Mutation:
    """The program measured another time around its calls."""

    def change(content: Content) -> None:
        content.timings[0] = np.rint(content.timings[0] * by).astype(np.int64)

    return change


def rows(keep: Callable[[np.ndarray], np.ndarray]) -> Mutation:
    """A round's calls in the files are others than its session wrote."""

    def change(content: Content) -> None:
        content.calls[1] = keep(content.calls[1])

    return change


def happens(probe: str, kind: str, **columns: int) -> Mutation:
    """Something happens in every tenth call of the first round, in the midst of it."""

    def change(content: Content) -> None:
        some = content.calls[0][::10]
        events = np.zeros(len(some), LAYOUTS[probe])
        middle = some["called"].astype(np.int64) // 2 + some["completed"].astype(np.int64) // 2
        events["time"], events["kind"] = traces.CLOCK.ns(middle), KINDS[probe].index(kind)
        for name, value in columns.items():
            events[name] = value
        content.events[probe] = events

    return change


def observed(**columns: int) -> Mutation:
    """The static probes saw something else than the stamps say."""

    def change(content: Content) -> None:
        for name, value in columns.items():
            events = content.events["stages"]
            events[name][200:] = events[name][200:].astype(np.int64) + value

    return change


def of_session(**changes: object) -> Mutation:
    return lambda content: content.changes.update(changes)


def unrecorded(programs: int, calls: int) -> Mutation:
    """In one of the rounds."""
    static = [fmt.Unrecorded("static", "why", programs)] if programs else []
    cover = fmt.Coverage(PROGRAMS, "kernel", unrecorded=static, unseen=calls)
    return of_round(coverage=cover)


SNAPSHOT = fmt.Snapshot("total>1us", "total", 1000, 0)
FITS, ORDER, CALLER = "fits_outside", "stamps_in_order", "service_within_caller"
MUTATIONS: Mapping[str, tuple[Mutation, set[str]]] = {
    "nothing": (lambda _: None, set()),
    "posted a cycle before called": (at("posted", "called", -1), {ORDER}),
    "executed a cycle before picked": (at("executed", "picked", -1), {ORDER}),
    "picked before posted, as clocks may": (at("picked", "posted", -SKEW), set()),
    "picked before posted, more than clocks may": (at("picked", "posted", -SKEW - 1), {CALLER}),
    "completed before executed, as clocks may": (at("completed", "executed", -SKEW), set()),
    "completed before executed, more than that": (
        at("completed", "executed", -SKEW - 1),
        {CALLER},
    ),
    "completed before called": (at("completed", "called", -1), {ORDER, CALLER}),
    "all calls 2 % longer": (stretched(1.02), {FITS}),
    "all calls 2 % shorter": (stretched(0.98), set()),
    "the warm-up longer": (stretched(1.02, 0), {FITS}),
    "one call ends a millisecond late": (stamp("completed", SECOND // 1000), {FITS}),
    "one call of the warm-up ends a second late": (stamp("completed", SECOND, 3), {FITS}),
    "one call begins a second early": (stamp("called", -SECOND // 1000), {FITS}),
    "a round's counter ahead": (shifted(SECOND // 1000), {FITS}),
    "a round's counter behind": (shifted(-SECOND // 1000), {FITS}),
    "the program measured less": (timed(0.95), {FITS}),
    "the program measured more": (timed(1.05), set()),
    "the round ended before its last call": (
        lambda content: of_round(end_cycles=int(content.calls[0]["completed"][-1]) - SKEW - 1)(
            content
        ),
        {FITS},
    ),
    "the round began behind its first call": (
        lambda content: of_round(start_cycles=int(content.calls[0]["called"][0]) + SKEW + 1)(
            content
        ),
        {FITS},
    ),
    "a call is missing in the files": (rows(lambda some: some[1:]), {"rows"}),
    "a call is twice in the files": (
        rows(lambda some: np.concatenate([some[:1], some])),
        {"rows"},
    ),
    "timed calls are twice in the files": (
        rows(lambda some: np.concatenate([some, some[-20:]])),
        {"rows", FITS},
    ),
    "a call was not written": (of_round(calls=CALLS - 1), {"counted", "rows"}),
    "a call was made that nobody saw": (of_round(made=CALLS + 1), {"counted"}),
    "a call was lost": (of_arm(lost=1), {"lost"}),
    "events were lost": (of_round(events_lost={"stages": 10_000}), {"events_lost"}),
    "few events were lost": (of_round(events_lost={"stages": 2}), set()),
    "programs ran unrecorded": (unrecorded(ROUNDS + 1, 0), {"unrecorded_programs"}),
    "few programs ran unrecorded": (unrecorded(ROUNDS, 0), set()),
    "calls were made unrecorded": (unrecorded(0, CALLS * ROUNDS // 50), {"unrecorded_calls"}),
    "few calls were made unrecorded": (unrecorded(0, CALLS * ROUNDS // 200), set()),
    "a program failed": (of_round(exit_status=1), {"failed_rounds"}),
    "only slow calls were kept": (of_session(snapshot=SNAPSHOT), {"all_kept"}),
    "an interrupt is sent to the application": (
        happens("ipi", "send", target_cpu=APP_CPU),
        {"ipis_to_app_cpu_per_call"},
    ),
    "an interrupt is sent to the service": (
        happens("ipi", "send", target_cpu=SERVICE_CPU),
        {"ipis_to_service_cpu_per_call"},
    ),
    "an interrupt arrives at the application": (
        happens("ipi", "reschedule_entry", cpu=APP_CPU),
        {"ipis_taken_by_app_cpu_per_call"},
    ),
    "an interrupt arrives at the service": (
        happens("ipi", "reschedule_entry", cpu=SERVICE_CPU),
        {"ipis_taken_by_service_cpu_per_call"},
    ),
    "the application's CPU switches": (
        happens("sched", "switch", cpu=APP_CPU, tid=TID, state=1),
        {"app_cpu_switches_per_call"},
    ),
    "the application makes system calls": (
        happens("syscalls", "enter", tid=TID),
        {"app_syscalls_per_call"},
    ),
    "the probes come later than a hit costs": (observed(time=HIT_NS), {"stamps_off"}),
    "the probes come before their stamps": (observed(time=-2 * LATE_NS), {"stamps_off"}),
    "the probes see other calls": (observed(number=1), {"stamps_off"}),
}
"""What is changed, and the checks that turn red by it."""


def red(trace: ma.Trace) -> set[str]:
    frame = trace.checks.df_checks()
    return set(frame.loc[frame["held"] == False, "name"])  # noqa: E712 (a column)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_turns_its_checks_red_and_no_others(name: str, tmp_path: Path) -> None:
    mutate, expected = MUTATIONS[name]
    content = sound()
    mutate(content)
    trace = content.write(tmp_path / "t.memsc")
    assert red(trace) == expected
    withholding = {check.name for check in trace.checks.all() if check.withholds}
    assert bool(trace.checks.withheld()) == bool(expected & withholding)


def test_every_check_of_a_trace_can_fail(tmp_path: Path) -> None:
    content = sound()
    of_session(snapshot=SNAPSHOT)(content)
    checks = [*sound().write(tmp_path / "a.memsc").checks.all()]
    checks += content.write(tmp_path / "b.memsc").checks.all()
    judged = {check.name for check in checks if check.expected is not None or check.withholds}
    assert judged == set().union(*(expected for _, expected in MUTATIONS.values()))
    assert {check.name for check in checks if check.held} | {"all_kept"} == judged
