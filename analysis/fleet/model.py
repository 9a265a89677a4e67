# SPDX-License-Identifier: MIT
"""The report of a fleet as data: what `report --json` prints of several traces."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from memsc.analysis.report.model import Stages, Verdict
from memsc.analysis.report.rows import Reason


class PartitionRow(msgspec.Struct, frozen=True):
    """One trace, and what became of it (`Fleet.df_partitions`)."""

    host: str | None
    run: str
    path: str
    created: str | None
    memsc: str | None
    calls: int | None
    lost: int | None
    status: str
    reason: str | None


class FleetCase(msgspec.Struct, frozen=True):
    """One case under one arm, calls of all traces together."""

    mode: str
    calls: int
    traces: int
    stages: Stages


class FleetArm(msgspec.Struct, frozen=True, kw_only=True):
    """One arm; `stages` are those of the case named in `case`."""

    calls: int | None
    calls_reason: Reason = UNSET
    lost: int | None
    lost_reason: Reason = UNSET
    made: int | None
    made_reason: Reason = UNSET
    case: str | None
    stages: Stages | None
    stages_reason: Reason = UNSET
    cases: dict[str, FleetCase]


class StageRow(msgspec.Struct, frozen=True):
    """The total of an arm and case on one host (`Stages.df_stages`)."""

    arm: str
    case: str
    syscall: str
    mode: str
    stage: str
    n: int
    rounds: int
    mean_ns: float | None
    mean_low_ns: float | None
    mean_high_ns: float | None
    share: float | None
    interval: str
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
    p50_reason: str | None
    p90_reason: str | None
    p99_reason: str | None
    p999_reason: str | None
    p9999_reason: str | None
    max_ns: float | None


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of several traces as one fleet.

    `unrecorded` says what ran and was not recorded, `uncounted` what nobody counted that may have
    been called besides, with the number of traces of which that is so. `arms` is as in the report
    of one trace, of all calls together; `hosts` has the total of each host's arms and cases;
    `environment` what all have in common, and null with a reason where they differ.
    """

    schema: int
    traces: int
    skipped: int
    verdict: Verdict
    unrecorded: list[str]
    uncounted: dict[str, int]
    partitions: list[PartitionRow]
    arms: dict[str, FleetArm]
    hosts: dict[str, list[StageRow]]
    environment: dict[str, Any]
