# SPDX-License-Identifier: MIT
"""Makes a trace's report (see `model`): everything that any view of it says."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
from msgspec import UNSET

from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.order import natural
from memsc.analysis.data.requires import missing
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.domains import paths, stage_counters
from memsc.analysis.domains.counters import TABLE
from memsc.analysis.domains.coverage import together
from memsc.analysis.domains.totals import BY
from memsc.analysis.report.model import (
    SCHEMA,
    ArmFigures,
    CaseFigures,
    CheckResult,
    Interrupted,
    Report,
    StageFigures,
    Stages,
    SyscallFigures,
    Verdict,
)
from memsc.analysis.report.rows import (
    CallerTotal,
    CauseRow,
    CounterFigures,
    CounterRatioRow,
    CounterRow,
    ExcessRow,
    MatchedRow,
    PathFigures,
    PathRow,
    PerturbationRow,
    RatioRow,
    Reason,
    StageCounterFigures,
    StageCounterRow,
    SyscallTotal,
    TimingRow,
    TotalFigures,
    Wakeups,
    WayRow,
)
from memsc.analysis.report.waterfall import waterfalls
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.tracer.format import FLAGS

_PATHS = 100  # call paths, of those that took most time
_CALLERS = 100  # programs, processes and threads of an arm and case, of those that worked most
_CHOSEN = "it is of some calls only"

Row = TypeVar("Row", bound=msgspec.Struct)


def summarise(trace: Trace) -> Report:
    """Everything a report says."""
    session = trace.session
    verdict = verdict_of(trace)
    # What was measured of whole rounds, or of few calls, is not told of chosen ones.
    cut = trace.selection.cut
    counters, counters_reason = (None, _CHOSEN) if cut else _counters(trace)
    by_stage, by_stage_reason = (None, _CHOSEN) if cut else _stage_counters(trace)
    called, called_reason = (None, _CHOSEN) if cut else _paths(trace)
    sums, sums_reason = _totals(trace)
    woken = _wakeups(trace)  # before slow calls, which stay in memory
    uncompared: Reason = _CHOSEN if cut else UNSET
    if verdict.withheld:
        uncompared = "the verdict is withheld"
    return Report(
        schema=SCHEMA,
        trace=trace.name,
        memsc=session.memsc,
        created=session.created,
        command=session.command,
        selected=trace.selection.words,
        complete=session.complete,
        interrupted=[
            Interrupted(r.arm, r.case, r.round, r.stopped)
            for r in session.rounds
            if r.stopped in ("interrupted", "killed")
        ],
        snapshot=session.snapshot,
        record_every=session.record_every if session.sparse else UNSET,
        verdict=verdict,
        coverage=trace.checks.coverage,
        surroundings=together(session.rounds),
        arms=arms_of(trace),
        totals=sums,
        totals_reason=sums_reason,
        ratios=[] if uncompared else rows(trace.ratios.df_ratios(), RatioRow),
        ratios_reason=uncompared,
        causes=rows(trace.tail.df_causes(), CauseRow),
        excess=rows(_excess(trace), ExcessRow),
        worst=waterfalls(trace),
        wakeups=woken,
        timings=[] if cut else rows(trace.timings.df_timings(), TimingRow),
        perturbation=[] if cut else rows(trace.timings.df_perturbation(), PerturbationRow),
        counters=counters,
        counters_reason=counters_reason,
        stage_counters=by_stage,
        stage_counters_reason=by_stage_reason,
        paths=called,
        paths_reason=called_reason,
        environment=session.environment,
        clock=session.clock,
        perturbation_at_start=session.perturbation,
        isolation=session.isolation,
        probes=session.probes,
    )


def rows(frame: pd.DataFrame, kind: type[Row]) -> list[Row]:
    """A frame's rows as structures: NaN and <NA> become None."""
    return msgspec.convert(records(frame), list[kind])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON objects: NaN and <NA> become null."""
    found = frame.to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in found]


def _plain(value: Any) -> Any:
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _totals(trace: Trace) -> tuple[TotalFigures | None, Reason]:
    """Calls, time and errors of all; or the reason."""
    found = trace.totals
    if trace.session.snapshot:
        return None, trace.session.snapshot.why
    callers = [
        rows(found.df_threads(by).groupby(["arm", "case"], sort=False).head(_CALLERS), CallerTotal)
        for by in ("comm", ("comm", "pid"), BY)
    ]
    return TotalFigures(rows(found.df_syscalls(), SyscallTotal), *callers), UNSET


def _excess(trace: Trace) -> pd.DataFrame:
    """Which stages grow in the tail, of all system calls together that are no waits."""
    frame = trace.tail.df_excess()
    return frame[(frame["syscall"] == ALL) & (frame["mode"] != WAIT)]


def _wakeups(trace: Trace) -> Wakeups:
    """How the baseline's wake-ups got through; empty without it or its events, with the reason."""
    if all(arm.transport != "ipi" for arm in trace.session.arms.values()):
        return Wakeups([], [], "no arm is woken at each call")
    try:
        ways, matched = trace.wakeup.df_paths(), trace.wakeup.df_matched()
    except MemscError as error:
        return Wakeups([], [], error.why)
    return Wakeups(rows(ways, WayRow), rows(matched, MatchedRow))


def verdict_of(trace: Trace) -> Verdict:
    """Whether a verdict is withheld, and why."""
    reasons = trace.checks.withheld()
    return Verdict(bool(reasons), reasons)


def arms_of(trace: Trace) -> dict[str, ArmFigures]:
    """Counts, stages and checks of each arm."""
    frame = trace.stages.df_stages()
    arms: dict[str, ArmFigures] = {}
    for name in trace.arms:
        side = trace.session.arms[name]
        cases = _cases(trace, frame[frame["arm"] == name])
        first = min(cases, key=lambda case: (cases[case].mode == WAIT, natural(case)), default=None)
        arms[name] = ArmFigures(
            calls=side.calls,
            calls_reason=_unended(side.calls),
            lost=side.lost,
            lost_reason=_unended(side.lost),
            made=side.made,
            made_reason=_unended(side.made),
            skipped=UNSET if side.skipped is None else side.skipped,
            transport=side.transport,
            service=side.service,
            app_cpus=side.app_cpus,
            service_cpus=side.service_cpus,
            handoff=side.handoff or UNSET,
            case=first,
            stages=cases[first].stages if first else None,
            stages_reason=UNSET if first else "no calls recorded",
            cases=cases,
            checks={
                check.name: CheckResult(check.value, check.expected, check.held, check.reason)
                for check in trace.checks.all()
                if check.arm == name
            },
        )
    return arms


def _unended(value: int | None) -> Reason:
    return "the session did not end in order" if value is None else UNSET


def _counters(trace: Trace) -> tuple[CounterFigures | None, Reason]:
    """What was counted: events, rows per call and ratios; or the reason."""
    lacking = missing(trace.folder, TABLE)
    found = trace.session.counters
    if lacking or found is None:
        return None, lacking[0].reason if lacking else "damaged"
    counted, ratios = trace.counters.df_counters(), trace.counters.df_ratios()
    figures = CounterFigures(
        **msgspec.structs.asdict(found),
        rows=rows(counted, CounterRow),
        ratios=rows(ratios, CounterRatioRow),
    )
    return figures, UNSET


def _stage_counters(trace: Trace) -> tuple[StageCounterFigures | None, Reason]:
    """What stages were seen to do, and what cannot be; or the reason."""
    if lacking := missing(trace.folder, stage_counters.NAME):
        return None, lacking[0].reason
    found = trace.stage_counters
    return StageCounterFigures(rows(found.df_stages(), StageCounterRow), found.unavailable), UNSET


def _paths(trace: Trace) -> tuple[PathFigures | None, Reason]:
    """Where calls were made: how many were looked at, and the paths; or the reason."""
    if lacking := missing(trace.folder, paths.PROBE):
        return None, lacking[0].reason
    frame = trace.paths.df_paths()
    looked = int(frame["samples"].sum())
    frame = frame.head(_PATHS)
    names = [trace.paths.path(stack).names for stack in frame["stack"].tolist()]
    calls = [[*path, f"{call}()"] for path, call in zip(names, frame["syscall"], strict=True)]
    nameless = trace.paths.df_nameless()
    return PathFigures(
        looked,
        rows(frame.assign(path=pd.Series(calls, frame.index)), PathRow),
        {str(one["module"]): float(one["share"]) for _, one in nameless.iterrows()},
    ), UNSET


def _cases(trace: Trace, frame: pd.DataFrame) -> dict[str, CaseFigures]:
    cases: dict[str, CaseFigures] = {}
    for (case, mode), every in frame.groupby(["case", "mode"], sort=False):
        # A program may do both; its asynchronous calls are then a case of their own, as are waits.
        name = str(case) if case not in cases and mode != WAIT else f"{case} ({mode})"
        by_call = {str(call): mine for call, mine in every.groupby("syscall", sort=False)}
        whole = by_call.pop(ALL)
        cases[name] = CaseFigures(
            mode=str(mode),
            calls=int(whole["n"].iloc[0]),
            rounds=int(whole["rounds"].iloc[0]),
            stages=stages_of(whole),
            syscalls={
                call: SyscallFigures(int(mine["n"].iloc[0]), stages_of(mine))
                for call, mine in by_call.items()
            },
            flags=_flags(trace, str(whole["arm"].iloc[0]), str(case), str(mode)),
        )
    return cases


def stages_of(frame: pd.DataFrame) -> Stages:
    """Rows of `df_stages` of one cell, by stage."""
    return {row["stage"]: _stage(row) for row in records(frame)}


def _stage(row: dict[str, Any]) -> StageFigures:
    # A reason that is not there is left out.
    reasons = {f"{p}_reason" for p in PERCENTILES}
    kept = {name: value for name, value in row.items() if name not in reasons or value}
    return msgspec.convert(kept, StageFigures)


def _flags(trace: Trace, arm: str, case: str, mode: str) -> dict[str, int]:
    for cell in trace.stages.cells():
        if cell == (arm, case, ALL, mode):
            flags = trace.stages.resampled(cell).whole.flags
            return dict(zip(FLAGS, flags.tolist(), strict=True))
    return {}
