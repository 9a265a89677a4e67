# SPDX-License-Identifier: MIT
"""A comparison as data: what `compare --json` prints."""

from __future__ import annotations

import msgspec

from memsc.analysis.report.model import Verdict

SCHEMA = 2


class CompareRow(msgspec.Struct, frozen=True):
    """The change of one figure of a stage (`Comparison.df_compare`).

    `low` and `high` are null where it is not known how much sessions differ; `verdict` is then
    "withheld", with the reason. `interval` says over what they are: "sessions" or "turns".
    """

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
    """A condition of `--fail-if`; `met` is null where it cannot be told, or is not settled."""

    condition: str
    met: bool | None
    found: str


class ComparisonReport(msgspec.Struct, frozen=True):
    """Two sides against each other; `differences` are those of their machines.

    `base` and `new` are the traces of each side, `replicas` how many sessions or turns each has,
    `history` how many further sessions told how much sessions differ, and `beside` is what was
    taken out. `settle` says how a verdict would come about, or a condition be settled, for which
    there are too few sessions or turns.
    `unrecorded` says what ran in any and was not recorded, `uncounted` what nobody counted that may
    have been called besides, with the number of traces of which that is so.
    """

    schema: int
    base: list[str]
    new: list[str]
    units: str
    replicas: list[int]
    history: int
    beside: str | None
    verdict: Verdict
    settle: str | None
    notes: list[str]
    unrecorded: list[str]
    uncounted: dict[str, int]
    differences: list[str]
    rows: list[CompareRow]
    fail_if: list[FailIf]
