# SPDX-License-Identifier: MIT
"""Places what happened to a thread: in which round, on whose side, in which stage of a call.

And which call that was, under way at the time.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.tracer.format import CALLS, STAGES, STAMPS, RoundKey, TraceFolder

BETWEEN = "between"
"""The stage of a thread that has no call under way, and of a service that looks for one."""
SIDES = ("application", "service", "other")
PLACE = ["arm", "case", "round", "side", "stage"]
_CALL = ["arm", "case", "round", "tid", "service_cpu", "number", "result", "flags", *STAMPS]
_NAMES = ("arm", "case")


def placed(folder: TraceFolder, events: pd.DataFrame) -> pd.DataFrame:
    """Events with where they fall.

    Args:
        folder: the opened trace.
        events: time (ns, CLOCK_MONOTONIC), cpu, pid and tid, index from 0.

    Returns:
        The same, and `PLACE`: arm, case, round (None outside rounds), side (see `SIDES`) and stage
        of the call under way, or `BETWEEN`.
    """
    clock = folder.session.clock
    events = events.assign(at=clock.cycles(events["time"].to_numpy(np.int64)))
    rounds = _rounds_of(folder, events["time"].to_numpy(np.int64))
    application = np.zeros(len(events), np.bool_)
    for arm, tids in _callers(folder).items():
        application |= (rounds["arm"] == arm).to_numpy() & events["tid"].isin(tids).to_numpy()
    ours = events["pid"].isin({pid for r in folder.session.rounds for pid in r.pids})
    service = ours.to_numpy() & ~application
    events["side"] = np.select([application, service], SIDES[:2], SIDES[2])
    events["stage"] = BETWEEN
    mine = calls_at(folder, events.loc[application, ["at", "tid"]], "tid", "called")
    stages = _stage(mine, events.loc[application, "at"].to_numpy(np.int64))
    events.loc[application, "stage"] = stages
    served = events.loc[service, ["at"]].assign(service_cpu=events.loc[service, "cpu"])
    theirs = calls_at(folder, served, "service_cpu", "picked")
    executing = (served["at"] < theirs["executed"]).to_numpy()
    events.loc[service, "stage"] = np.where(executing, "execute", BETWEEN)
    return pd.concat([events, rounds], axis=1)


def _rounds_of(folder: TraceFolder, times: NDArray[np.int64]) -> pd.DataFrame:
    rounds = [r for r in folder.session.rounds if r.start_ns is not None]
    rounds.sort(key=lambda r: r.start_ns or 0)
    starts = np.array([r.start_ns for r in rounds], np.int64)
    ends = np.array([r.end_ns or np.iinfo(np.int64).max for r in rounds], np.int64)
    at = np.searchsorted(starts, times, "right") - 1
    inside = (at >= 0) & (times <= ends[at]) if rounds else np.zeros(len(times), np.bool_)
    columns: dict[str, NDArray[np.object_]] = {}
    for name in ("arm", "case", "round"):
        values = np.array([*(getattr(r, name) for r in rounds), None], object)
        columns[name] = values[np.where(inside, at, len(rounds))]
    return pd.DataFrame(columns)


def _callers(folder: TraceFolder) -> dict[str, set[int]]:
    """Threads that made calls, by arm."""
    found: dict[str, set[int]] = {}
    for part in folder.batches(CALLS, ["arm", "tid"]):
        frame: pd.DataFrame = part.group_by(["arm", "tid"]).aggregate([]).to_pandas()
        for arm, tids in frame.groupby("arm", observed=True)["tid"]:
            found.setdefault(str(arm), set()).update(tids.tolist())
    return found


def _stage(calls: pd.DataFrame, at: NDArray[np.int64]) -> NDArray[np.object_]:
    """The stage of each call at a time; `between` when it was over or there was none."""
    stamps = [calls[stamp].to_numpy() for stamp in STAMPS]
    conditions = [at < stamp for stamp in stamps[1:]]  # NaN compares as false
    return np.select(conditions, STAGES, BETWEEN).astype(object)


def calls_at(
    folder: TraceFolder,
    moments: pd.DataFrame,
    by: str,
    since: str,
    wanted: Collection[RoundKey] | None = None,
) -> pd.DataFrame:
    """For each moment the last call of its thread or CPU that had begun; one part at a time.

    Whether that call was over by then is for the caller to see, from its stamps.

    Args:
        folder: the trace.
        moments: columns `at` (cycles) and one named as `by`.
        by: column of the calls that must be the moment's: `tid` or `service_cpu`.
        since: the stamp from which a call counts: `called`, or `picked` for a service CPU.
        wanted: look at these rounds only.

    Returns:
        A row per moment, with its index: columns of the table `calls`, missing (None, NaN) where no
        call had begun.
    """
    best = pd.DataFrame(
        {
            name: pd.Series(np.nan, moments.index, object if name in _NAMES else float)
            for name in _CALL
        }
    )
    if not len(moments):
        return best
    order = moments[["at", by]].reset_index(drop=True).sort_values("at")
    begun = np.full(len(moments), -1, np.int64)
    for part in folder.batches(CALLS, _CALL, wanted):
        calls: pd.DataFrame = part.to_pandas().astype(dict.fromkeys(_NAMES, object))
        keys = {RoundKey(*key) for key in calls[["arm", "case", "round"]].drop_duplicates().values}
        if not keys or (wanted is not None and not keys & set(wanted)):
            continue
        calls = calls.sort_values(since, ignore_index=True)
        found = pd.merge_asof(order, calls, left_on="at", right_on=since, by=by)
        found.index = order.index
        found = found.sort_index()
        started = found[since].fillna(-1).to_numpy(np.int64)
        better = started > begun
        begun[better] = started[better]
        best.loc[best.index[better]] = found.loc[better, _CALL].set_index(best.index[better])
    return best
