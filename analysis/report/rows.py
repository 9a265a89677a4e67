# SPDX-License-Identifier: MIT
"""The rows of a report's tables (see `model`), each as its data frame has them.

Times are nanoseconds. A value that is not known is null, mostly with a reason beside it, never 0.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from memsc.tracer.format import Counters

Reason = str | UnsetType
"""Why the value beside it is null; left out if it is not."""


class SyscallTotal(msgspec.Struct, frozen=True):
    """All calls of one system call (`Totals.df_syscalls`): time, and errors by their names.

    `share` is of all work of the arm and case, or of all its waits.
    """

    arm: str
    case: str
    syscall: str
    mode: str
    calls: int
    total_ns: float
    mean_ns: float
    share: float | None
    errors: int
    errnos: dict[str, int]


class CallerTotal(msgspec.Struct, frozen=True, kw_only=True):
    """All calls of a program, a process or a thread (`Totals.df_threads`).

    `comm` is null where the trace does not know it; `pid` and `tid` where these are taken together.
    """

    arm: str
    case: str
    comm: str | None = None
    pid: int | None = None
    tid: int | None = None
    calls: int
    processes: int
    threads: int
    work_ns: float
    wait_ns: float
    errors: int


class TotalFigures(msgspec.Struct, frozen=True):
    """Sums over all calls; of callers the hundred that worked most."""

    syscalls: list[SyscallTotal]
    programs: list[CallerTotal]
    processes: list[CallerTotal]
    threads: list[CallerTotal]


class RatioRow(msgspec.Struct, frozen=True):
    """One arm against another, of synchronous calls of a case (`Ratios.df_ratios`)."""

    case: str
    arm: str
    base: str
    metric: str
    source: str
    value_ns: float
    base_ns: float
    ratio: float
    low: float | None
    high: float | None
    interval: str


class CauseRow(msgspec.Struct, frozen=True):
    """What made slow calls slow (`Tail.df_causes`)."""

    arm: str
    case: str
    mode: str
    band: str
    cause: str
    calls: int
    share: float
    mean_ns: float
    total_ns: float
    every: int


class ExcessRow(msgspec.Struct, frozen=True):
    """A stage in the tail against the same in the body (`Tail.df_excess`)."""

    arm: str
    case: str
    syscall: str
    mode: str
    stage: str
    body_ns: float
    tail_ns: float
    excess_ns: float
    excess_share: float | None


class SlowEvent(msgspec.Struct, frozen=True):
    """What had one of the CPUs while a call was under way, relative to its begin."""

    side: str
    what: str
    from_ns: int
    ns: int


class SlowCall(msgspec.Struct, frozen=True):
    """One of the slowest calls: its stages, and the cause of the largest part of its excess."""

    arm: str
    case: str
    syscall: str
    start_s: float
    cause: str
    cause_ns: float
    stage: str
    total_ns: float
    stages: dict[str, float]
    events: list[SlowEvent]


class WayRow(msgspec.Struct, frozen=True):
    """How wake-ups got through (`Wakeup.df_paths`)."""

    arm: str
    case: str
    direction: str
    path: str
    calls: int
    share: float
    ask_ns: float | None
    send_ns: float | None
    deliver_ns: float | None
    wake_ns: float | None
    run_ns: float | None
    pick_ns: float | None
    total_ns: float | None
    below: str


class MatchedRow(msgspec.Struct, frozen=True):
    """How many calls have their whole wake-up chain (`Wakeup.df_matched`)."""

    arm: str
    case: str
    calls: int
    matched: int
    share: float | None


class Wakeups(msgspec.Struct, frozen=True):
    """The baseline's wake-ups; empty without it or its events, with the reason."""

    paths: list[WayRow]
    matched: list[MatchedRow]
    reason: Reason = UNSET


class TimingRow(msgspec.Struct, frozen=True):
    """Time per call from outside (`Timings.df_timings`)."""

    arm: str
    case: str
    recording: bool
    calls: int
    intervals: int
    rounds: int
    mean_ns: float
    mean_low_ns: float | None
    mean_high_ns: float | None
    p50_ns: float
    p50_low_ns: float | None
    p50_high_ns: float | None
    p999_ns: float | None
    p999_low_ns: float | None
    p999_high_ns: float | None
    interval: str


class PerturbationRow(msgspec.Struct, frozen=True):
    """What recording adds (`Timings.df_perturbation`)."""

    arm: str
    case: str
    off_mean_ns: float
    on_mean_ns: float
    added_ns: float
    added_low_ns: float | None
    added_high_ns: float | None
    mean_ratio: float | None
    mean_ratio_low: float | None
    mean_ratio_high: float | None
    p50_ratio: float | None
    p50_ratio_low: float | None
    p50_ratio_high: float | None
    interval: str


class CounterRow(msgspec.Struct, frozen=True):
    """An event per call, by side (`Counters.df_counters`)."""

    arm: str
    case: str
    side: str
    event: str
    unit: str
    per_call: float | None
    low: float | None
    high: float | None
    interval: str
    rounds: int
    calls: int
    counted: float


class CounterRatioRow(msgspec.Struct, frozen=True):
    """One event by another (`Counters.df_ratios`)."""

    arm: str
    case: str
    side: str
    name: str
    ratio: float | None
    low: float | None
    high: float | None
    interval: str


class CounterFigures(Counters, frozen=True, kw_only=True):
    """What threads did, as perf events counted it."""

    rows: list[CounterRow]
    ratios: list[CounterRatioRow]


class StageCounterRow(msgspec.Struct, frozen=True):
    """An event per call and stage (`StageCounters.df_stages`)."""

    arm: str
    case: str
    syscall: str
    stage: str
    event: str
    unit: str
    per_call: float | None
    low: float | None
    high: float | None
    p50: float | None
    hit: float | None
    told: bool
    n: int
    counted: float


class StageCounterFigures(msgspec.Struct, frozen=True):
    """What stages were seen to do; `uncounted` are the events that could not be read, and why."""

    rows: list[StageCounterRow]
    uncounted: dict[str, str]


class PathRow(msgspec.Struct, frozen=True):
    """What calls from one place in the program took, estimated (`Paths.df_paths`).

    `path` has the frames from the outermost and the call; errors are standard errors.
    """

    arm: str
    case: str
    syscall: str
    post_ns: float
    poll_ns: float
    execute_ns: float
    complete_ns: float
    total_ns: float
    calls: float
    calls_error: float
    total_error_ns: float
    tail_ns: float
    failed: float
    samples: int
    path: list[str]


class PathFigures(msgspec.Struct, frozen=True):
    """Where calls were made: how many were looked at, and the paths that took most time.

    `nameless` has, by file, the share of all frames that lie in its functions without names.
    """

    calls: int
    rows: list[PathRow]
    nameless: dict[str, float]
