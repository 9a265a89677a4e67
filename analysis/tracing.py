# SPDX-License-Identifier: MIT
# pandas' stubs leave element types open; what passes through them is unknown to pyright.
# pyright: reportUnknownMemberType=false
"""What seeing every call costs: memsc's own recording beside other tracers at the same work."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import pandas as pd

from memsc.analysis.timings import PerCall, Timed, turns
from memsc.tracer.format import CALLS, Session, TraceFolder

CASE = "tracing"
OURS = "memsc"
_COLUMNS = [
    *("tracer", "calls", "p50_ns", "p99_ns", "added_p50_ns", "slowdown_p50", "slowdown_p99"),
    *("seen", "lost", "cpu_ns_per_call", "bytes_per_call"),
]


def relative(timed: Mapping[Timed, PerCall], tracer: str) -> float:
    """What memsc's recording adds to the median ÷ what another tracer adds, in the median turn.

    Both are differences, and small ones: rounds of one turn stand side by side, so that the host's
    moving of the CPUs falls out, which changes what recording adds several times.

    Raises:
        KeyError: one of them was not measured.
    """
    off, on, other = (
        timed[Timed(arm, CASE, recording=recording)]
        for arm, recording in ((OURS, False), (OURS, True), (tracer, False))
    )
    ours, theirs = dict(turns(on)), dict(turns(other))
    found = [
        (ours[turn] - plain) / (theirs[turn] - plain)
        for turn, plain in turns(off)
        if turn in ours and turn in theirs and theirs[turn] > plain
    ]
    if not found:
        raise KeyError(Timed(tracer, CASE, recording=False))
    return median(found)


def tracers(timed: Mapping[Timed, PerCall]) -> list[str]:
    """What was measured, memsc's own recording first."""
    found = [key.arm for key in timed if key.case == CASE and key.recording == (key.arm == OURS)]
    return sorted(found, key=lambda arm: (arm != OURS, timed_p50(timed, arm)))


def timed_p50(timed: Mapping[Timed, PerCall], tracer: str) -> float:
    """Median under a tracer, in cycles."""
    return timed[Timed(tracer, CASE, recording=tracer == OURS)].p50


def stored(trace: TraceFolder) -> float | None:
    """Bytes of a recorded call in the trace's files; None if there is none."""
    rows = trace.rows(CALLS)
    return sum(part.path.stat().st_size for part in trace.parts[CALLS]) / rows if rows else None


def df_tracing(trace: TraceFolder, timed: Mapping[Timed, PerCall]) -> pd.DataFrame:
    """Each tracer at work on synchronous calls under the arm memsc.

    Args:
        trace: with the rounds.
        timed: what they took.

    Returns:
        One row per tracer, memsc's own recording first: tracer, calls (timed), p50_ns, p99_ns,
        added_p50_ns, slowdown_p50 and slowdown_p99 (0 is none), seen (events), lost, and
        cpu_ns_per_call (of the tracer's own processes) and bytes_per_call, which are null where a
        tracer does not tell.
    """
    base = timed.get(Timed(OURS, CASE, recording=False))
    if base is None:
        return pd.DataFrame(columns=_COLUMNS)
    session = trace.session
    ns = session.clock.ns_per_cycle
    rows: list[dict[str, Any]] = []
    for tracer in tracers(timed):
        found = timed[Timed(tracer, CASE, recording=tracer == OURS)]
        measures = _measures(session, tracer)
        rows.append(
            {
                "tracer": tracer,
                "calls": found.calls,
                "p50_ns": found.p50 * ns,
                "p99_ns": found.p99 * ns,
                "added_p50_ns": (found.p50 - base.p50) * ns,
                "slowdown_p50": found.p50 / base.p50 - 1,
                "slowdown_p99": found.p99 / base.p99 - 1,
                "seen": measures.get("events"),
                "lost": measures.get("lost"),
                "cpu_ns_per_call": _each(measures.get("cpu_s"), 1e9, found.calls),
                "bytes_per_call": (
                    stored(trace)
                    if tracer == OURS
                    else _each(measures.get("bytes"), 1, found.calls)
                ),
            }
        )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _measures(session: Session, tracer: str) -> dict[str, float | None]:
    """Sums over the rounds; None where one of them does not tell."""
    rounds = [r for r in session.rounds if r.case == CASE and r.arm == tracer and not r.check]
    if tracer == OURS:
        recorded = [r for r in rounds if r.recording]
        return {
            "events": _sum([r.calls for r in recorded]),
            "lost": _sum([r.lost for r in recorded]),
        }
    names = {name for r in rounds for name in r.measures or {}}
    return {name: _sum([(r.measures or {}).get(name) for r in rounds]) for name in names}


def _sum(values: list[Any]) -> float | None:
    return None if None in values or not values else float(sum(values))


def _each(value: float | None, scale: float, calls: int) -> float | None:
    return None if value is None else value * scale / calls
