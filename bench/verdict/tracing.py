# SPDX-License-Identifier: MIT
"""What seeing every call costs: memsc's own recording beside other tracers at the same work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from memsc.analysis.data.estimates import Estimate, divide, mean_of, median_of
from memsc.analysis.domains.timings import PerCall, Timed
from memsc.tracer.format import CALLS, Session, TraceFolder

CASE = "tracing"
OURS = "memsc"
_COLUMNS = [
    *("tracer", "calls", "p50_ns", "p99_ns", "added_p50_ns", "slowdown_p50", "slowdown_p99"),
    *("slowdown_p50_low", "slowdown_p50_high", "slowdown_p99_low", "slowdown_p99_high"),
    *("seen", "lost", "cpu_ns_per_call", "bytes_per_call"),
    *("cpu_ns_per_call_low", "cpu_ns_per_call_high", "bytes_per_call_low", "bytes_per_call_high"),
]


def relative(timed: Mapping[Timed, PerCall], tracer: str) -> Estimate:
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
    ours, theirs = on.p50_of, other.p50_of
    found = [
        (ours[turn] - plain) / (theirs[turn] - plain)
        for turn, plain in off.p50_of.items()
        if turn in ours and turn in theirs and theirs[turn] > plain
    ]
    if not found:
        raise KeyError(Timed(tracer, CASE, recording=False))
    return median_of(found, f"{CASE}/{tracer}")


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
        added_p50_ns, slowdown_p50 and slowdown_p99 (0 is none), seen (events), lost,
        cpu_ns_per_call (of the tracer's own processes while it watches; memsc's until the calls
        are written) and bytes_per_call, which are null where a tracer does not tell; each of the
        four with its bounds, NAME_low and NAME_high, null with few rounds.
    """
    base = timed.get(Timed(OURS, CASE, recording=False))
    if base is None:
        return pd.DataFrame(columns=_COLUMNS)
    ns = trace.session.clock.ns_per_cycle
    rows: list[dict[str, Any]] = []
    for tracer in tracers(timed):
        found = timed[Timed(tracer, CASE, recording=tracer == OURS)]
        row = {"tracer": tracer, "calls": found.calls}
        row |= {"p50_ns": found.p50 * ns, "p99_ns": found.p99 * ns}
        row["added_p50_ns"] = (found.p50 - base.p50) * ns
        for p in ("p50", "p99"):
            times = divide(found.sampled(p), base.sampled(p))
            row |= _with_bounds(f"slowdown_{p}", times, less=1)
        told = _measures(trace.session, tracer)
        row |= {"seen": _sum(told["events"]), "lost": _sum(told["lost"])}
        each = found.calls / found.rounds
        cpu = _each(told["cpu_s"], 1e9 / each, f"{CASE}/{tracer}/cpu")
        row |= _with_bounds("cpu_ns_per_call", cpu)
        if tracer == OURS:  # all of its calls lie in the same files
            bytes_ = None if (size := stored(trace)) is None else Estimate(size)
        else:
            bytes_ = _each(told["bytes"], 1 / each, f"{CASE}/{tracer}/bytes")
        rows.append(row | _with_bounds("bytes_per_call", bytes_))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _with_bounds(name: str, found: Estimate | None, less: float = 0) -> dict[str, float | None]:
    ends = found or (None, None, None)
    names = (name, f"{name}_low", f"{name}_high")
    return {n: None if end is None else end - less for n, end in zip(names, ends, strict=True)}


def _measures(session: Session, tracer: str) -> dict[str, list[float | None]]:
    """What each round tells; None where it does not."""
    rounds = [r for r in session.rounds if r.case == CASE and r.arm == tracer and not r.check]
    if tracer == OURS:
        recorded = [r for r in rounds if r.recording]
        return {
            "events": [r.calls for r in recorded],
            "lost": [r.lost for r in recorded],
            "cpu_s": [r.tracer_cpu_s for r in recorded],
        }
    said = [r.measures or {} for r in rounds]
    return {n: [each.get(n) for each in said] for n in ("events", "lost", "cpu_s", "bytes")}


def _sum(values: list[float | None]) -> float | None:
    return None if None in values or not values else float(sum(each or 0 for each in values))


def _each(values: list[float | None], scale: float, seed: str) -> Estimate | None:
    known = [each * scale for each in values if each is not None]
    return mean_of(known, seed) if known and len(known) == len(values) else None
