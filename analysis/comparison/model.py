# SPDX-License-Identifier: MIT
"""A comparison as data: what `compare --json` prints."""

from __future__ import annotations

import msgspec

from memsc.analysis.report.model import Verdict

SCHEMA = 1


class CompareRow(msgspec.Struct, frozen=True):
    """The change of one figure of a stage (`Comparison.df_compare`)."""

    arm: str
    case: str
    syscall: str
    mode: str
    stage: str
    metric: str
    base_ns: float | None
    new_ns: float | None
    change: float | None
    low: float | None
    high: float | None
    interval: str | None
    verdict: str
    reason: str | None


class FailIf(msgspec.Struct, frozen=True):
    """A condition of `--fail-if`; `met` is null where it cannot be told."""

    condition: str
    met: bool | None
    found: str


class ComparisonReport(msgspec.Struct, frozen=True):
    """Two traces against each other; `differences` are those of their machines.

    `unrecorded` says what ran in either and was not recorded.
    """

    schema: int
    base: str
    new: str
    verdict: Verdict
    unrecorded: list[str]
    differences: list[str]
    rows: list[CompareRow]
    fail_if: list[FailIf]
