# SPDX-License-Identifier: MIT
"""A history as data: what `report --over-time --json` prints.

Times are nanoseconds. A value that is not known is null, with a reason, never 0.
"""

from __future__ import annotations

import msgspec

SCHEMA = 1


class HistoryTrace(msgspec.Struct, frozen=True):
    """One session: when and by what it was recorded; the oldest comes first.

    `withheld` are the reasons why its figures may not be trusted: it is shown, but no step is made
    of it. `build` is of the program, where the session has it.
    """

    trace: str
    path: str
    created: str
    memsc: str
    build: str | None
    command: list[str]
    withheld: list[str]


class HistoryPoint(msgspec.Struct, frozen=True):
    """A metric of one session; `interval` says over what its bounds are, at 95 %.

    "rounds" of the session, "blocks" (within one run) or "none". No session knows how much sessions
    differ: `HistorySeries.spread` does. `reason` says why a value is null.
    """

    trace: int
    value_ns: float | None
    low_ns: float | None
    high_ns: float | None
    interval: str
    reason: str | None


class HistoryStep(msgspec.Struct, frozen=True):
    """A step between two sessions: relative, of the sessions up to the next step on each side.

    `trace` is the index of the first session after it; a small step may lie beside it. `low` and
    `high` bound the change over sessions, at 95 %. `differs` says what else changed from one
    session to the next near it; `references` are the arms that take no detour, such as direct
    calls, which step near it, too: it is then the machine, or the program.
    """

    trace: int
    before: str
    after: str
    created: str
    change: float
    low: float
    high: float
    sessions: list[int]
    differs: list[str]
    references: list[str]


class HistorySeries(msgspec.Struct, frozen=True):
    """A metric in all sessions.

    `spread` is by how much sessions between steps differ: the standard deviation of logarithms,
    0.05 for 5 %. `searched` is whether steps were looked for, `reason` why not.
    """

    arm: str
    case: str
    mode: str
    stage: str
    metric: str
    points: list[HistoryPoint]
    spread: float | None
    searched: bool
    reason: str | None
    steps: list[HistoryStep]


class HistoryReport(msgspec.Struct, frozen=True):
    """A history.

    `fewest` is how many sessions there must be for any step to be seen in so many metrics, and
    `missing` says what is missing; `skipped` are traces that could not be read, and why.
    """

    schema: int
    traces: list[HistoryTrace]
    skipped: dict[str, str]
    fewest: int | None
    missing: str | None
    notes: list[str]
    metrics: list[HistorySeries]
