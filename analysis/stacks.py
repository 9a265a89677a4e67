# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Where threads are, on the CPU and off it, by arm and by the stage of the call under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.inflight import calls_at
from memsc.analysis.requires import need
from memsc.tracer.format import CALLS, EVENTS, STAGES, STAMPS, TraceFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROFILE, OFF_CPU = "profile", "offcpu"
TABLE = "stacks"
BETWEEN = "between"
"""The stage of a thread that has no call under way, and of a service that looks for one."""
SIDES = ("application", "service", "other")
_WHAT = {PROFILE: "where CPUs are", OFF_CPU: "where threads wait"}
_FRAMES = ["stack", "depth", "function", "module"]


class Stacks:
    """The stacks of a trace.

    Args:
        folder: the opened trace.
    """

    def __init__(self, folder: TraceFolder) -> None:
        self.folder = folder

    def df_samples(self, probe: str = PROFILE) -> pd.DataFrame:
        """Each sample, or each time off the CPU, with where it falls.

        Args:
            probe: `profile` or `offcpu`.

        Returns:
            time (ns, CLOCK_MONOTONIC; off the CPU: when it was left), cpu, pid, tid, kind, arm,
            case, round (None and NaN outside rounds), `side` (application, service, other),
            `stage` (of the call under way; `between` calls), user_stack, kernel_stack, and
            `weight`: 1 for a sample, nanoseconds for time off the CPU.

        Raises:
            MemscError: the probe was not recorded.
        """
        need(self.folder, probe, what=_WHAT.get(probe, probe))
        table = f"{EVENTS}/{probe}"
        if not self.folder.rows(table):
            return pd.DataFrame(columns=_SAMPLES)
        events: pd.DataFrame = self.folder.read(table).to_pandas().astype({"kind": object})
        events["weight"] = 1
        if probe == OFF_CPU:
            # When it came back after an unseen return is not known, so its time is not either.
            events = events[events["duration"] >= 0].reset_index(drop=True)
            events["weight"] = events["duration"]
            events["time"] -= events["duration"]
        return self._placed(events)[_SAMPLES]

    def df_folded(self, probe: str = PROFILE, *, kernel: bool = True) -> pd.DataFrame:
        """Equal stacks together: what a flame graph is made of.

        Args:
            probe: `profile` or `offcpu`.
            kernel: continue a program's stack into the kernel.

        Returns:
            arm, side, stage, `stack` (frames from the outermost to the innermost, `;` between;
            kernel functions end in `_[k]`), weight (samples, or nanoseconds), the heaviest first.
        """
        samples = self.df_samples(probe)
        names = self._folded()
        inside = samples["kernel_stack"] if kernel else pd.Series(-1, samples.index)
        samples["stack"] = _joined(
            *(part.map(names).astype("str") for part in (samples["user_stack"], inside))
        )
        by = ["arm", "side", "stage", "stack"]
        inside_rounds = samples[samples["arm"].notna()].astype({"weight": np.int64})
        folded = inside_rounds.groupby(by, as_index=False, observed=True).agg({"weight": "sum"})
        return folded.sort_values("weight", ascending=False, ignore_index=True)

    def df_coverage(self, probe: str = PROFILE) -> pd.DataFrame:
        """What the stacks do not show.

        Returns:
            By arm and side: `samples`, and as shares of them `no_user` (no stack of the program: it
            was in the kernel's own work, or is another's), `lost` (no room in the kernel's table),
            `unnamed` (innermost function of the program not known), `leaf_only` (program stacks
            of a single frame that is known: code without frame pointers).
        """
        samples = self.df_samples(probe)
        frames = self._frames()
        depths = frames.groupby("stack")["depth"].agg("max")
        leaf = frames[frames["depth"] == 0].set_index("stack")["function"]
        beyond = frames[frames["module"] == "[unknown]"].groupby("stack")["depth"].agg("min")
        user = samples["user_stack"]
        known = user.map(beyond).fillna(user.map(depths) + 1)
        lost = (user == _NO_ROOM) | (samples["kernel_stack"] == _NO_ROOM)
        shares = samples[["arm", "side"]].assign(
            samples=1.0,
            no_user=user < 0,
            lost=lost,
            unnamed=(user >= 0) & (user.map(leaf).fillna("") == ""),
            leaf_only=(user >= 0) & (known <= 1),
        )
        grouped = shares.groupby(["arm", "side"], as_index=False)
        names = ["no_user", "lost", "unnamed", "leaf_only"]
        found = grouped[["samples", *names]].sum()
        found[names] = found[names].astype(float).div(found["samples"], axis=0)
        return found.astype({"samples": np.int64})

    def plot_functions(self, probe: str = PROFILE, arm: str | None = None) -> Figure:
        """Draws `df_folded`: the innermost functions that had most of it, by side and stage.

        Args:
            probe: `profile` or `offcpu`.
            arm: which arm; by default the one with most samples, or time.

        Raises:
            MemscError: the probe was not recorded, no such arm, or nothing was seen of it.
        """
        from memsc.analysis.slow_plots import plot_functions  # noqa: PLC0415 (slow to import)

        weight = "time off the CPU" if probe == OFF_CPU else "samples"
        return plot_functions(self.df_folded(probe), weight, arm)

    # ---- names ----

    def _frames(self) -> pd.DataFrame:
        if not self.folder.rows(TABLE):
            return pd.DataFrame({name: pd.Series(dtype=object) for name in _FRAMES})
        frame: pd.DataFrame = self.folder.read(TABLE, _FRAMES).to_pandas()
        return frame.astype({"function": object, "module": object})

    def _folded(self) -> pd.Series[str]:
        """Each stack as one text."""
        frames = self._frames().sort_values(["stack", "depth"], ascending=[True, False])
        module = frames["module"].str.rsplit("/", n=1).str[-1]
        kernel = frames["module"].eq("[kernel]")
        unnamed = module.where(module.str.startswith("["), "[" + module + "]")
        name = frames["function"].where(frames["function"] != "", unnamed)
        name = name.str.replace(";", ":").str.replace(" ", "_").where(~kernel, name + "_[k]")
        return name.groupby(frames["stack"]).agg(";".join)

    # ---- places ----

    def _placed(self, events: pd.DataFrame) -> pd.DataFrame:
        clock = self.folder.session.clock
        events = events.assign(at=clock.cycles(events["time"].to_numpy(np.int64)))
        rounds = self._rounds_of(events["time"].to_numpy(np.int64))
        application = np.zeros(len(events), np.bool_)
        for arm, tids in self._callers().items():
            application |= (rounds["arm"] == arm).to_numpy() & events["tid"].isin(tids).to_numpy()
        ours = events["pid"].isin({pid for r in self.folder.session.rounds for pid in r.pids})
        service = ours.to_numpy() & ~application
        events["side"] = np.select([application, service], SIDES[:2], SIDES[2])
        events["stage"] = BETWEEN
        mine = calls_at(self.folder, events.loc[application, ["at", "tid"]], "tid", "called")
        stages = _stage(mine, events.loc[application, "at"].to_numpy(np.int64))
        events.loc[application, "stage"] = stages
        served = events.loc[service, ["at"]].assign(service_cpu=events.loc[service, "cpu"])
        theirs = calls_at(self.folder, served, "service_cpu", "picked")
        executing = (served["at"] < theirs["executed"]).to_numpy()
        events.loc[service, "stage"] = np.where(executing, "execute", BETWEEN)
        return pd.concat([events, rounds], axis=1)

    def _rounds_of(self, times: NDArray[np.int64]) -> pd.DataFrame:
        rounds = [r for r in self.folder.session.rounds if r.start_ns is not None]
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

    def _callers(self) -> dict[str, set[int]]:
        """Threads that made calls, by arm."""
        found: dict[str, set[int]] = {}
        for part in self.folder.batches(CALLS, ["arm", "tid"]):
            frame: pd.DataFrame = part.group_by(["arm", "tid"]).aggregate([]).to_pandas()
            for arm, tids in frame.groupby("arm", observed=True)["tid"]:
                found.setdefault(str(arm), set()).update(tids.tolist())
        return found


_NO_ROOM = -17
_PLACE = ["arm", "case", "round", "side", "stage"]
_SAMPLES = ["time", "cpu", "pid", "tid", "kind", *_PLACE, "user_stack", "kernel_stack", "weight"]


def _stage(calls: pd.DataFrame, at: NDArray[np.int64]) -> NDArray[np.object_]:
    """The stage of each call at a time; `between` when it was over or there was none."""
    stamps = [calls[stamp].to_numpy() for stamp in STAMPS]
    conditions = [at < stamp for stamp in stamps[1:]]  # NaN compares as false
    return np.select(conditions, STAGES, BETWEEN).astype(object)


def _joined(user: pd.Series[str], kernel: pd.Series[str]) -> pd.Series[str]:
    """User frames, then kernel frames; whichever is there."""
    both = user.str.cat(kernel, sep=";", na_rep="").str.strip(";")
    return both.where(both != "", "[no stack]")
