# SPDX-License-Identifier: MIT
"""The worst calls one by one: their stages, and what had the CPUs meanwhile, on one time line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from memsc.analysis.causes.intervals import TASK
from memsc.analysis.causes.shares import HOST
from memsc.analysis.report.rows import SlowCall, SlowEvent
from memsc.analysis.trace import Trace
from memsc.tracer.format import STAGES, RoundKey

WORST = 3
"""Calls shown of each arm."""
_EVENTS = 6
"""Events shown of each call: those that took longest."""


def waterfalls(trace: Trace, calls: int = WORST) -> list[SlowCall]:
    """The slowest calls of each arm.

    Returns:
        One per call, arms in their order, slowest first; of its events at most six, by time, cut to
        the call. What the host took is among them: so much of a stage as was laid to it, where no
        event fills the stage.
    """
    blamed = trace.tail.blame.worst(calls)
    frame = blamed.frame.sort_values("total_ns", ascending=False, kind="stable")
    frame = frame.groupby("arm", sort=False).head(calls)
    order = {arm: rank for rank, arm in enumerate(trace.arms)}
    frame = frame.sort_values("arm", kind="stable", key=lambda arms: arms.map(order))
    probed = {r.key for r in trace.session.rounds if r.probes}
    events = blamed.found.frame
    parts = blamed.shares.frame
    host = parts[parts["cause"] == HOST]
    return [
        _waterfall(
            row,
            events if RoundKey(row["arm"], row["case"], row["round"]) in probed else events[:0],
            host[host["call"] == number],
        )
        for number, row in zip(frame.index, frame.to_dict("records"), strict=True)
    ]


def _waterfall(call: dict[Any, Any], events: pd.DataFrame, host: pd.DataFrame) -> SlowCall:
    start, end = int(call["called"]), int(call["completed"])
    here = events["cpu"].isin([call["app_cpu"], call["service_cpu"]]) & (events["level"] >= 0)
    mine = events[here & (events["end"] >= start) & (events["start"] <= end)]
    name = mine["name"].astype(str)
    service = name.str.startswith("memsc-") & (mine["pid"] == call["pid"])
    own = (mine["level"] == TASK) & ((mine["tid"] == call["tid"]) | service)
    mine = mine[~own]
    begin = np.maximum(mine["start"].to_numpy(np.int64), start)
    length = np.minimum(mine["end"].to_numpy(np.int64), end) - begin
    side = np.where(mine["cpu"] == call["app_cpu"], "app", "service")
    found = pd.DataFrame(
        {"side": side, "what": mine["name"].to_numpy(), "from_ns": begin - start, "ns": length}
    )
    gaps = [_gap(call, part, found) for part in host.to_dict("records")]
    found = pd.concat([found, pd.DataFrame(gaps)], ignore_index=True) if gaps else found
    longest = found.nlargest(_EVENTS, "ns").sort_values("from_ns", kind="stable")
    return SlowCall(
        *(str(call[name]) for name in ("arm", "case", "syscall")),
        start_s=float(call["start_s"]),
        cause=str(call["cause"]),
        cause_ns=float(call["cause_ns"]),
        stage=str(call["stage"]),
        total_ns=float(call["total_ns"]),
        stages={stage: float(call[f"{stage}_ns"]) for stage in STAGES},
        events=[
            SlowEvent(str(one["side"]), str(one["what"]), int(one["from_ns"]), int(one["ns"]))
            for one in longest.to_dict("records")
        ],
    )


def _gap(call: dict[Any, Any], part: dict[Any, Any], events: pd.DataFrame) -> dict[str, Any]:
    """When the host had the CPU: no event says so, thus the longest time of the stage without."""
    before = STAGES[: STAGES.index(part["stage"])]
    begin = sum(float(call[f"{stage}_ns"]) for stage in before)
    end = begin + float(call[f"{part['stage']}_ns"])
    mine = events[events["side"] == part["side"]].sort_values("from_ns")
    starts = mine["from_ns"].to_numpy(np.float64).clip(begin, end)
    ends = (mine["from_ns"] + mine["ns"]).to_numpy(np.float64).clip(begin, end)
    free = np.append(begin, np.maximum.accumulate(ends))
    longest = int(np.argmax(np.append(starts, end) - free))
    ns = min(float(part["ns"]), end - free[longest])
    return {"side": part["side"], "what": HOST, "from_ns": int(free[longest]), "ns": int(ns)}
