# SPDX-License-Identifier: MIT
"""Many callers at once: what gets through in the closed loop, how late calls are in the open."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from memsc.analysis.data.estimates import mean_of
from memsc.analysis.data.statistics import UNKNOWN
from memsc.analysis.domains.timings import PerCall, Timed
from memsc.tracer.format import Session

_CASE = re.compile(r"(closed|open)-(\d+)x(\d+)(?:-batch-(\d+)|-(\d+))?")
_COLUMNS = [
    *("case", "arm", "loop", "processes", "threads", "batch", "offered_per_s", "calls", "rounds"),
    *("per_s", "per_s_low", "per_s_high", "p50_ns", "p99_ns", "p999_ns", "behind"),
    *(f"{p}_ns_{end}" for p in ("p50", "p99", "p999") for end in ("low", "high")),
]


def is_load(case: str) -> bool:
    """Whether a case is one of these."""
    return _CASE.fullmatch(case) is not None


def df_throughput(session: Session, timed: Mapping[Timed, PerCall]) -> pd.DataFrame:
    """Calls per second and, under a given load, how late they are.

    Returns:
        One row per case and arm: case, arm, loop ("closed" or "open"), processes, threads (of each
        process), batch, offered_per_s (open loop), calls, rounds, per_s with its interval, p50_ns,
        p99_ns and p999_ns with theirs (open loop: from when a call was meant to begin until its
        end; bounds end in _low and _high), behind
        (rounds in which the callers fell a tenth of a second behind and gave up; then the arm does
        not carry the load, and no lateness is told). What is not known is NaN.
    """
    found = {(r.case, r.arm): r for r in session.rounds if is_load(r.case) and not r.recording}
    rows = [_row(session, timed, case, arm) for case, arm in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(session: Session, timed: Mapping[Timed, PerCall], case: str, arm: str) -> dict[str, Any]:
    match = _CASE.fullmatch(case)
    assert match is not None
    loop, processes, threads, batch, offered = match.groups()
    row: dict[str, Any] = dict.fromkeys(_COLUMNS, math.nan)
    row |= {"case": case, "arm": arm, "loop": loop, "behind": 0}
    row |= {"processes": int(processes), "threads": int(threads), "batch": int(batch or 1)}
    per_call = timed.get(Timed(arm, case, recording=False))
    if loop == "closed":
        return row | (_closed(per_call, session.clock.ns_per_cycle) if per_call else {})
    return row | {"offered_per_s": int(offered)} | _open(session, per_call, case, arm)


def _closed(found: PerCall, ns: float) -> dict[str, Any]:
    bounds = found.resampling.interval(found.means).scaled(ns)
    known = bounds if bounds.basis == "rounds" else UNKNOWN
    return {
        "calls": found.calls,
        "rounds": found.rounds,
        "per_s": 1e9 / (found.mean * ns),
        "per_s_low": 1e9 / known.high,
        "per_s_high": 1e9 / known.low,
    }


def _open(session: Session, found: PerCall | None, case: str, arm: str) -> dict[str, Any]:
    ns = session.clock.ns_per_cycle
    said = [r.measures for r in session.rounds if (r.case, r.arm) == (case, arm) and r.measures]
    made = [each["made"] or 0 for each in said]
    seconds = sum((each["cycles"] or 0) * ns for each in said) / 1e9
    behind = sum(made < (each["wanted"] or 0) for made, each in zip(made, said, strict=True))
    row: dict[str, Any] = {"calls": int(sum(made)), "rounds": len(said), "behind": behind}
    row["per_s"] = sum(made) / seconds if seconds else math.nan
    if seconds and all(each["cycles"] for each in said):
        rates = [(each["made"] or 0) / ((each["cycles"] or 0) * ns / 1e9) for each in said]
        bounds = mean_of(rates, f"{case}/{arm}")
        row |= {"per_s_low": bounds.low, "per_s_high": bounds.high}
    if found is not None and not behind:
        for p in ("p50", "p99", "p999"):
            late = found.sampled(p)
            bounds = found.resampling.interval(late.values).scaled(ns)
            known = UNKNOWN if math.isnan(late.value) or bounds.basis != "rounds" else bounds
            row |= {f"{p}_ns": late.value * ns}
            row |= {f"{p}_ns_low": known.low, f"{p}_ns_high": known.high}
    return row
