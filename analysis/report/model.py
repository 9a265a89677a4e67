# SPDX-License-Identifier: MIT
"""The report of a trace as data: what `report --json` prints, and what every view is drawn from.

Times are nanoseconds. A value that is not known is null, mostly with a reason beside it, never 0. A
field that may be left out is one that is only there if it has something to say.
docs/schemas/report.schema.json is made from this; SCHEMA grows when a field goes or changes its
meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from memsc.analysis.domains.coverage import ArmCoverage
from memsc.analysis.report.rows import (
    CauseRow,
    CounterFigures,
    ExcessRow,
    PathFigures,
    PerturbationRow,
    RatioRow,
    Reason,
    SlowCall,
    StageCounterFigures,
    TimingRow,
    TotalFigures,
    Wakeups,
)
from memsc.tracer.format import (
    Clock,
    Environment,
    Isolation,
    Perturbation,
    ProbeStatus,
    Snapshot,
    Surroundings,
)

SCHEMA = 1


class Verdict(msgspec.Struct, frozen=True):
    """Whether the verdict is withheld, and why."""

    withheld: bool
    reasons: list[str]


class Interrupted(msgspec.Struct, frozen=True):
    """A round that an interrupt cut short, or its session's being killed."""

    arm: str
    case: str
    round: int
    by: Literal["interrupted", "killed"] = "interrupted"


class StageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A stage, or the total, of some calls: mean, percentiles and their 95 % intervals.

    `interval` says over what those are: "rounds", "blocks" (within one run) or "none"; `share` is
    of the total.
    """

    mean_ns: float | None
    mean_low_ns: float | None
    mean_high_ns: float | None
    p50_ns: float | None
    p50_low_ns: float | None
    p50_high_ns: float | None
    p90_ns: float | None
    p90_low_ns: float | None
    p90_high_ns: float | None
    p99_ns: float | None
    p99_low_ns: float | None
    p99_high_ns: float | None
    p999_ns: float | None
    p999_low_ns: float | None
    p999_high_ns: float | None
    p9999_ns: float | None
    p9999_low_ns: float | None
    p9999_high_ns: float | None
    max_ns: float | None
    share: float | None
    interval: str
    p50_reason: Reason = UNSET
    p90_reason: Reason = UNSET
    p99_reason: Reason = UNSET
    p999_reason: Reason = UNSET
    p9999_reason: Reason = UNSET

    def percentile(self, name: str) -> float | None:
        """A percentile by its name: "p50" to "p9999"."""
        found: float | None = getattr(self, f"{name}_ns")
        return found

    def reason(self, name: str) -> str | None:
        """Why a percentile is not known."""
        found: Reason = getattr(self, f"{name}_reason")
        return found or None


Stages = dict[str, StageFigures]
"""By stage, and the total under `total`."""


class SyscallFigures(msgspec.Struct, frozen=True):
    """One system call of a case."""

    calls: int
    stages: Stages


class CaseFigures(msgspec.Struct, frozen=True):
    """One case under one arm: all its calls together, each system call, and calls by flag.

    `mode` is "sync", "async" (posted ahead) or "wait" (waiting is what its calls are for).
    """

    mode: str
    calls: int
    rounds: int
    stages: Stages
    syscalls: dict[str, SyscallFigures]
    flags: dict[str, int]


class CheckResult(msgspec.Struct, frozen=True):
    """One check: `held` is null where it could not be made, or nothing is promised."""

    value: float | None
    expected: float | None
    held: bool | None
    reason: str | None


class ArmFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One arm; `stages` are those of the case named in `case`."""

    calls: int | None
    calls_reason: Reason = UNSET
    lost: int | None
    lost_reason: Reason = UNSET
    made: int | None
    made_reason: Reason = UNSET
    skipped: int | UnsetType = UNSET
    """Calls that were made and not drawn; only there where one of so many was recorded."""
    transport: str
    service: str | None
    app_cpus: list[int]
    service_cpus: list[int]
    handoff: str | UnsetType = UNSET
    """How its two sides passed a line; absent where they do not."""
    case: str | None
    stages: Stages | None
    stages_reason: Reason = UNSET
    cases: dict[str, CaseFigures]
    checks: dict[str, CheckResult]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one trace.

    `selected` says which calls it is of, where it is not of all; checks always are.
    `interrupted` are the rounds that were; `environment` is the machine as the session found it;
    `perturbation_at_start` what observing cost then.
    """

    schema: int
    trace: str
    memsc: str
    created: str
    command: list[str]
    selected: list[str]
    complete: bool
    interrupted: list[Interrupted]
    snapshot: Snapshot | None
    record_every: int | UnsetType = UNSET
    """One of so many calls was recorded, at random; absent: each. `totals` are estimates then."""
    verdict: Verdict
    coverage: dict[str, ArmCoverage]
    surroundings: Surroundings | None
    arms: dict[str, ArmFigures]
    totals: TotalFigures | None
    totals_reason: Reason = UNSET
    ratios: list[RatioRow]
    ratios_reason: Reason = UNSET
    causes: list[CauseRow]
    excess: list[ExcessRow]
    worst: list[SlowCall]
    wakeups: Wakeups
    timings: list[TimingRow]
    perturbation: list[PerturbationRow]
    counters: CounterFigures | None
    counters_reason: Reason = UNSET
    stage_counters: StageCounterFigures | None
    stage_counters_reason: Reason = UNSET
    paths: PathFigures | None
    paths_reason: Reason = UNSET
    environment: Environment
    clock: Clock
    perturbation_at_start: Perturbation | None
    isolation: Isolation | None
    probes: dict[str, ProbeStatus]
