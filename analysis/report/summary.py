# SPDX-License-Identifier: MIT
"""A trace's report as plain data: what `report --json` prints and every other view is drawn from.

Times are nanoseconds. A value that is not known is null with a reason beside it, never 0.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from memsc.analysis.data.order import natural
from memsc.analysis.data.requires import missing
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.domains import paths, stage_counters
from memsc.analysis.domains.counters import TABLE
from memsc.analysis.report.waterfall import waterfalls
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.tracer.format import FLAGS

SCHEMA = 1
_PATHS = 100  # call paths, of those that took most time

Json = dict[str, Any]


def summarise(trace: Trace) -> Json:
    """Everything a report says.

    Returns:
        `schema`, `trace`, `complete`, `interrupted` (the rounds that were), `verdict`
        {`withheld`, `reasons`}, `arms`, `ratios`, `causes`, `excess`, `worst`, `wakeups`
        {`paths`, `matched`}, `timings`, `snapshot` (or null), `counters` and `stage_counters`
        (or null), `perturbation`, `perturbation_at_start`, `environment`, `clock`, `isolation`,
        `probes`, `paths` (or null). Per arm: `calls`, `lost`, `made`, `checks`, `cases` by name,
        and `stages` of the case named in `case`.
    """
    session = trace.session
    verdict = verdict_of(trace)
    reasons = verdict["reasons"]
    return {
        "schema": SCHEMA,
        "trace": trace.name,
        "memsc": session.memsc,
        "created": session.created,
        "command": session.command,
        "complete": session.complete,
        "interrupted": [
            {"arm": r.arm, "case": r.case, "round": r.round}
            for r in session.rounds
            if r.stopped == "interrupted"
        ],
        "snapshot": msgspec.to_builtins(session.snapshot),
        "verdict": verdict,
        "arms": arms_of(trace),
        "ratios": [] if reasons else records(trace.ratios.df_ratios()),
        **({"ratios_reason": "the verdict is withheld"} if reasons else {}),
        "causes": records(trace.tail.df_causes()),
        "excess": records(trace.tail.df_excess().query("syscall == 'all'")),
        "worst": waterfalls(trace),
        "wakeups": _wakeups(trace),
        "timings": records(trace.timings.df_timings()),
        "perturbation": records(trace.timings.df_perturbation()),
        **_counters(trace),
        **_stage_counters(trace),
        **_paths(trace),
        "environment": msgspec.to_builtins(session.environment, str_keys=True),
        "clock": msgspec.to_builtins(session.clock),
        "perturbation_at_start": msgspec.to_builtins(session.perturbation),
        "isolation": msgspec.to_builtins(session.isolation),
        "probes": {name: msgspec.to_builtins(found) for name, found in session.probes.items()},
    }


def records(frame: pd.DataFrame) -> list[Json]:
    """A frame's rows as JSON objects: NaN becomes null."""
    rows = frame.to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in rows]


def _wakeups(trace: Trace) -> Json:
    """How the baseline's wake-ups got through; empty without it or its events, with the reason."""
    if all(arm.transport != "ipi" for arm in trace.session.arms.values()):
        return {"paths": [], "matched": [], "reason": "no arm is woken at each call"}
    wakeup = trace.wakeup
    try:
        paths, matched = wakeup.df_paths(), wakeup.df_matched()
    except MemscError as error:
        return {"paths": [], "matched": [], "reason": error.why}
    return {"paths": records(paths), "matched": records(matched)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def verdict_of(trace: Trace) -> Json:
    """Whether a verdict is withheld, and why: `withheld`, `reasons`."""
    reasons = trace.checks.withheld()
    return {"withheld": bool(reasons), "reasons": reasons}


def arms_of(trace: Trace) -> Json:
    """What `summarise` has in `arms`: counts, stages and checks of each."""
    frame = trace.stages.df_stages()
    arms: Json = {}
    for name in trace.arms:
        side = trace.session.arms[name]
        cases = _cases(trace, frame[frame["arm"] == name])
        first = min(cases, key=natural, default=None)
        arms[name] = {
            **_known("calls", side.calls),
            **_known("lost", side.lost),
            **_known("made", side.made),
            "transport": side.transport,
            "service": side.service,
            "app_cpus": side.app_cpus,
            "service_cpus": side.service_cpus,
            "case": first,
            "stages": cases[first]["stages"] if first else None,
            **({} if first else {"stages_reason": "no calls recorded"}),
            "cases": cases,
            "checks": {
                check.name: {
                    "value": check.value,
                    "expected": check.expected,
                    "held": check.held,
                    "reason": check.reason,
                }
                for check in trace.checks.all()
                if check.arm == name
            },
        }
    return arms


def _counters(trace: Trace) -> Json:
    """What was counted: events, rows per call and ratios; or null, with the reason."""
    lacking = missing(trace.folder, TABLE)
    found = trace.session.counters
    if lacking or found is None:
        return {"counters": None, "counters_reason": lacking[0].reason if lacking else "damaged"}
    told = {"rows": records(trace.counters.df_counters())}
    told["ratios"] = records(trace.counters.df_ratios())
    return {"counters": msgspec.to_builtins(found) | told}


def _stage_counters(trace: Trace) -> Json:
    """What stages were seen to do, and what cannot be; or null, with the reason."""
    if lacking := missing(trace.folder, stage_counters.NAME):
        return {"stage_counters": None, "stage_counters_reason": lacking[0].reason}
    found = trace.stage_counters
    told = {"rows": records(found.df_stages()), "uncounted": found.unavailable}
    return {"stage_counters": told}


def _paths(trace: Trace) -> Json:
    """Where calls were made: how many were looked at, and the paths; or null, with the reason."""
    if lacking := missing(trace.folder, paths.PROBE):
        return {"paths": None, "paths_reason": lacking[0].reason}
    frame = trace.paths.df_paths()
    looked = int(frame["samples"].sum())
    rows = records(frame.head(_PATHS).drop(columns="stack"))
    for row, stack in zip(rows, frame["stack"].head(_PATHS).tolist(), strict=True):
        row["path"] = [*trace.paths.path(stack).names, f"{row['syscall']}()"]
    return {"paths": {"calls": looked, "rows": rows}}


def _known(name: str, value: int | None) -> Json:
    if value is not None:
        return {name: value}
    return {name: None, f"{name}_reason": "the session did not end in order"}


def _cases(trace: Trace, frame: pd.DataFrame) -> Json:
    cases: Json = {}
    for (case, mode), rows in frame.groupby(["case", "mode"], sort=False):
        # A program may do both; its asynchronous calls are then a case of their own.
        name = str(case) if case not in cases else f"{case} ({mode})"
        by_call = {str(call): mine for call, mine in rows.groupby("syscall", sort=False)}
        whole = by_call.pop(ALL)
        cases[name] = {
            "mode": str(mode),
            "calls": int(whole["n"].iloc[0]),
            "rounds": int(whole["rounds"].iloc[0]),
            "stages": stages_json(whole),
            "syscalls": {
                call: {"calls": int(mine["n"].iloc[0]), "stages": stages_json(mine)}
                for call, mine in by_call.items()
            },
            "flags": _flags(trace, str(whole["arm"].iloc[0]), str(case), str(mode)),
        }
    return cases


def stages_json(rows: pd.DataFrame) -> Json:
    """Rows of `df_stages` of one cell, by stage."""
    return {row["stage"]: _stage(row) for row in records(rows)}


def _stage(row: Json) -> Json:
    names = ["mean", *PERCENTILES]
    wanted = [f"{name}{end}_ns" for name in names for end in ("", "_low", "_high")]
    found = {name: row[name] for name in [*wanted, "max_ns", "share", "interval"]}
    reasons = {p: row[f"{p}_reason"] for p in PERCENTILES}
    return found | {f"{p}_reason": reason for p, reason in reasons.items() if reason}


def _flags(trace: Trace, arm: str, case: str, mode: str) -> dict[str, int]:
    for cell in trace.stages.cells():
        if cell == (arm, case, ALL, mode):
            flags = trace.stages.resampled(cell).whole.flags
            return dict(zip(FLAGS, flags.tolist(), strict=True))
    return {}
