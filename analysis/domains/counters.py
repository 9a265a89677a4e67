# SPDX-License-Identifier: MIT
"""What the threads of a program did while they forwarded calls, as perf events counted it.

Counted is a program's whole life, from its first instruction to the end of its last thread; figures
per call are that, divided by the calls. So they are of calls only where calls are many.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.counted import EVERY
from memsc.analysis.data.placing import SIDES, placed
from memsc.analysis.data.requires import missing, requires
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.statistics import UNKNOWN, Interval, Resampling, ratio
from memsc.analysis.domains.events_per_round import STILL_RUNNABLE
from memsc.tracer.format import EVENTS, RoundKey, TraceFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = "counters"
WHAT = "what threads did"
RATIOS = {
    "instructions per cycle": ("instructions", "cycles", 1.0),
    "cycles per ns": ("cycles", "task-clock", 1.0),
    "share of branches predicted wrongly": ("branch-misses", "branches", 1.0),
    "last-level misses per 1000 instructions": ("cache-misses", "instructions", 1e3),
    "L1d misses per 1000 instructions": ("L1-dcache-load-misses", "instructions", 1e3),
    "dTLB misses per 1000 instructions": ("dTLB-load-misses", "instructions", 1e3),
}
"""Of two events: what is divided, by what, and times what."""

IN_STAGES = ("slept", "preempted", "migration", "page fault")
"""What is told by stage."""

_THREADS = ["arm", "case", "round", "pid", "tid", "thread", "side", "event", "unit", "value"]
_COUNTERS = ["arm", "case", "side", "event", "unit", "per_call", "low", "high", "interval"]
_NAMES = ["arm", "case", "thread", "side", "event", "stage"]


class Counters:
    """The counters of a trace.

    Args:
        folder: an opened trace.
        selection: which arms and cases; a program's counts cannot be cut further.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self._folder = folder
        self._selection = selection or Selection()

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        return self._folder

    @property
    def unavailable(self) -> dict[str, str]:
        """Events that were asked for and not counted, and why; empty without counters."""
        found = self._folder.session.counters
        if found is None:
            return {}
        return {
            name: event.reason or "no reason is given"
            for name, event in found.events.items()
            if not event.counted
        }

    @requires(TABLE, what=WHAT)
    def df_threads(self) -> pd.DataFrame:
        """What each thread did, and the others together.

        Returns:
            One row per round, thread and event: arm, case, round, pid, tid, thread (its name;
            "(others)", with tid 0, stands for all that were started later), side ("app",
            "service", "both"), event, unit, value (scaled to all the time the thread ran; NaN if
            it never had a turn) and counted (the share of that time in which it was counted; less
            than 1 where groups of events took turns at the PMU).

        Raises:
            MemscError: the trace has no counters, or calls were selected out of a program's life.

        Example:
            >>> counted.counters.df_threads()["event"].unique()[:3].tolist()
            ['task-clock', 'context-switches', 'cpu-migrations']
        """
        self._whole()
        table = self._folder.read(TABLE).to_pandas()
        table[_NAMES] = table[_NAMES].astype(str)
        table = _of_rounds(table[table["stage"] == "thread"], self._calls())
        table["value"], table["counted"] = scaled(
            table["value"].to_numpy(np.int64),
            table["enabled_ns"].to_numpy(np.int64),
            table["running_ns"].to_numpy(np.int64),
        )
        found = self._folder.session.counters
        units = {name: event.unit for name, event in found.events.items()} if found else {}
        table["unit"] = table["event"].map(units).fillna("events")
        return table[[*_THREADS, "counted"]]

    @requires(TABLE, what=WHAT)
    def df_counters(self) -> pd.DataFrame:
        """What an arm's threads did per call.

        Returns:
            One row per arm, case, side ("app", "service", "both" where CPUs are not told apart, and
            "all": the sum) and event: unit, per_call (of all rounds together), low and high (95 %,
            over rounds; NaN below four), interval (over what), rounds, calls, and counted (see
            `df_threads`).

        Raises:
            MemscError: as `df_threads`.

        Example:
            >>> frame = counted.counters.df_counters().query("side == 'app'")
            >>> switches = frame.query("event == 'context-switches'").set_index("arm")
            >>> switches["per_call"].round().to_dict()
            {'direct': 0.0, 'ipi': 1.0, 'memsc': 0.0}
        """
        rows: list[dict[str, Any]] = []
        for key, side, values, calls, counted, units in self._rounds():
            arm, case = key
            resampling = _resampling(arm, case, len(calls))
            for event in values:
                found = values[event]
                bounds = _bounds(resampling, found, calls)
                rows.append(
                    {
                        "arm": arm,
                        "case": case,
                        "side": side,
                        "event": event,
                        "unit": units[event],
                        "per_call": _per(found.sum(), calls.sum()),
                        "low": bounds.low,
                        "high": bounds.high,
                        "interval": bounds.basis,
                        "rounds": len(calls),
                        "calls": int(calls.sum()),
                        "counted": counted[event],
                    }
                )
        return pd.DataFrame(rows, columns=[*_COUNTERS, "rounds", "calls", "counted"])

    @requires(TABLE, what=WHAT)
    def df_ratios(self) -> pd.DataFrame:
        """How well the processor got on: one event against another, where both were counted.

        Returns:
            One row per arm, case, side and name of `RATIOS`: ratio, low and high, as in
            `df_counters`. Empty where there is no PMU: `unavailable` says so.

        Raises:
            MemscError: as `df_threads`.

        Example:
            >>> counted.counters.df_ratios().empty, "cycles" in counted.counters.unavailable
            (True, True)
        """
        rows: list[dict[str, Any]] = []
        for (arm, case), side, values, calls, _, _ in self._rounds():
            resampling = _resampling(arm, case, len(calls))
            for name, (over, under, times) in RATIOS.items():
                if over not in values or under not in values:
                    continue
                bounds = _bounds(resampling, times * values[over], values[under])
                value = times * _per(values[over].sum(), values[under].sum())
                rows.append(
                    {"arm": arm, "case": case, "side": side, "name": name, "ratio": value}
                    | {"low": bounds.low, "high": bounds.high, "interval": bounds.basis}
                )
        columns = ["arm", "case", "side", "name", "ratio", "low", "high", "interval"]
        return pd.DataFrame(rows, columns=columns)

    @requires("sched", what="what threads did in each stage")
    def df_stages(self) -> pd.DataFrame:
        """In which stage of a call: from the events of `sched`, and of `noise` if there.

        Counters have no times; events have.

        Returns:
            One row per arm, case, side ("application", "service"), stage (of the call under way;
            "between": of none) and event of `IN_STAGES`: events, per_call. What did not happen
            has no row; page faults are told where the trace has `noise`.

        Raises:
            MemscError: the trace has no events of `sched`, or calls were selected out of a
                program's life.

        Example:
            >>> frame = counted.counters.df_stages().query("arm == 'ipi' and event == 'slept'")
            >>> frame.nlargest(2, "events")[["side", "stage"]].values.tolist()
            [['application', 'poll'], ['service', 'between']]
        """
        self._whole()
        parts = [self._events("sched", ["state", "target_tid"])]
        if not missing(self._folder, "noise"):
            parts.append(self._events("noise", []))
        events = pd.concat(parts, ignore_index=True)
        events = placed(self._folder, events.drop(columns=["state", "target_tid"]))
        events = events[events["side"].isin(SIDES[:2]) & events["arm"].notna()]
        calls = self._calls()
        events = _of_rounds(events, calls)
        by = ["arm", "case", "side", "stage", "event"]
        out = (
            events.groupby(by, as_index=False, sort=True).size().rename(columns={"size": "events"})
        )
        made: dict[tuple[str, str], int] = {}
        for key, n in calls.items():
            made[key.arm, key.case] = made.get((key.arm, key.case), 0) + n
        pairs = zip(out["arm"], out["case"], strict=True)
        out["per_call"] = out["events"] / np.array([made[pair] or np.nan for pair in pairs], float)
        return out

    def _events(self, probe: str, columns: list[str]) -> pd.DataFrame:
        """Events of a probe that befell a thread, under the names of `IN_STAGES`."""
        found = self._folder.read(
            f"{EVENTS}/{probe}", ["time", "cpu", "pid", "tid", "kind", *columns]
        ).to_pandas()
        kind = found["kind"].astype(str)
        names = {"migrate": "migration", "fault_user": "page fault", "fault_kernel": "page fault"}
        found["event"] = kind.map(names)
        if probe == "sched":
            ran_on = found["state"].isin(STILL_RUNNABLE)
            found.loc[(kind == "switch") & ran_on, "event"] = "preempted"
            found.loc[(kind == "switch") & ~ran_on, "event"] = "slept"
            moved = kind == "migrate"
            # It is about the thread that is moved, not the one that had the CPU.
            found.loc[moved, "tid"] = found.loc[moved, "target_tid"]
        return found[found["event"].notna()].drop(columns="kind").reset_index(drop=True)

    def plot_counters(self, case: str | None = None) -> Figure:
        """Draws `df_counters`: what arms do per call, event by event, by side.

        Args:
            case: which; by default the first.

        Raises:
            MemscError: as `df_threads`, or no such case.

        Example:
            >>> counted.counters.plot_counters().savefig(file)
        """
        from memsc.analysis.figures.counters import plot_counters  # noqa: PLC0415 (slow to import)

        return plot_counters(self.df_counters(), case)

    def _calls(self) -> dict[RoundKey, int]:
        """Calls made, by round looked at."""
        now = self._selection
        return {
            r.key: r.made or r.calls or 0
            for r in self._folder.session.rounds
            if r.recording and r.check == now.checks and now.has(r.arm, r.case)
        }

    def _rounds(self) -> Any:
        """Per arm, case and side: values by event and round, calls by round, shares and units."""
        frame = self.df_threads()
        calls = self._calls()
        for (arm, case), mine in frame.groupby(["arm", "case"], sort=False):
            sides = [str(side) for side in mine["side"].unique()]
            for side in [*sides, *([EVERY] if len(sides) > 1 else [])]:
                rows = mine if side == EVERY else mine[mine["side"] == side]
                # A sum of which a part is not known is not known.
                by_round = rows.pivot_table(
                    "value", "round", "event", aggfunc=_whole_sum, sort=False, dropna=False
                )
                made = [calls[RoundKey(str(arm), str(case), int(n))] for n in by_round.index]
                by_event = rows.groupby("event", sort=False)
                yield (
                    (str(arm), str(case)),
                    side,
                    {str(name): by_round[name].to_numpy(np.float64) for name in by_round},
                    np.array(made, np.float64),
                    by_event["counted"].min().to_dict(),
                    by_event["unit"].first().to_dict(),
                )

    def _whole(self) -> None:
        why = "it was counted from a program's beginning to its end, not call by call"
        self._selection.only("arms", "cases", what=WHAT, why=why)


def scaled(
    value: NDArray[np.int64], enabled_ns: NDArray[np.int64], running_ns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts extended from the time in which they were counted to all of the time.

    Args:
        value: counts, shape (n,).
        enabled_ns: how long each could have been counted, ns.
        running_ns: how long it was, ns.

    Returns:
        Values, NaN where there was time and none of it was counted; and the shares counted, 1 where
        there was no time.
    """
    share = np.ones(len(value))
    np.divide(running_ns, enabled_ns, out=share, where=enabled_ns > 0)
    out = np.full(len(value), np.nan)
    np.divide(value, share, out=out, where=share > 0)
    return out, np.minimum(share, 1.0)


def _of_rounds(frame: pd.DataFrame, rounds: Collection[RoundKey]) -> pd.DataFrame:
    known = pd.MultiIndex.from_frame(frame[["arm", "case", "round"]]).isin(list(rounds))
    return frame[known].reset_index(drop=True)


def _whole_sum(values: pd.Series) -> float:
    return float(values.sum(skipna=False))


def _per(value: float, base: float) -> float:
    return float(value / base) if base else float("nan")


def _resampling(arm: str, case: str, rounds: int) -> Resampling:
    return Resampling.of(range(rounds), f"counters {arm} {case}")


def _bounds(
    resampling: Resampling, over: NDArray[np.float64], under: NDArray[np.float64]
) -> Interval:
    if resampling.basis != "rounds":
        return UNKNOWN
    return ratio(resampling.weights @ over, resampling.weights @ under, [resampling])
