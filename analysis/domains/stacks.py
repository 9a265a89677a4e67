# SPDX-License-Identifier: MIT
"""Where threads are, on the CPU and off it, by arm and by the stage of the call under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from memsc.analysis.data.placing import PLACE, placed
from memsc.analysis.data.requires import need
from memsc.analysis.data.selection import Selection
from memsc.tracer.format import EVENTS, TraceFolder, columns_of
from memsc.tracer.format.tables import TRUNCATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROFILE, OFF_CPU = "profile", "offcpu"
TABLE = "stacks"
NO_STACK = "[no stack]"
"""Stands for the frames of a sample that has none."""
_WHAT = {PROFILE: "where CPUs are", OFF_CPU: "where threads wait"}
_FRAMES = ["stack", "depth", "function", "module"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack.

    Attributes:
        function: empty where it is not known.
        module: a file, or what else stands for it in brackets.
        offset: in the function; where none is known, in the module's file.
        start: where the function begins in the module's file; -1 if it is not known.
    """

    function: str
    module: str
    offset: int
    start: int = -1

    @property
    def shown(self) -> str:
        """The frame as flame graphs name it."""
        if self.function:
            return self.function
        name = self.module.rsplit("/", 1)[-1]
        if self.start >= 0:
            return f"{name}@{self.start:#x}"
        return name if name.startswith("[") else f"[{name}]"


class Frames:
    """The frames of a trace's stacks, read once.

    Args:
        folder: the opened trace.
    """

    def __init__(self, folder: TraceFolder) -> None:
        self._folder = folder
        self._of: dict[int, tuple[Frame, ...]] | None = None

    def of(self, stack: int) -> tuple[Frame, ...]:
        """The frames of a stack, the outermost first; none of one that is not there."""
        if self._of is None:
            self._of = self._read() if self._folder.rows(TABLE) else {}
        return self._of.get(stack, ())

    def _read(self) -> dict[int, tuple[Frame, ...]]:
        frame = _read(self._folder, [*_FRAMES, "offset", "start"])
        frame = frame.sort_values(["stack", "depth"], ascending=[True, False])
        found: dict[int, list[Frame]] = {}
        stacks: list[int] = frame["stack"].tolist()
        parts = (frame[name].tolist() for name in ("function", "module", "offset", "start"))
        for stack, *one in zip(stacks, *parts, strict=True):
            found.setdefault(stack, []).append(Frame(*one))
        return {stack: tuple(frames) for stack, frames in found.items()}


def _read(folder: TraceFolder, columns: list[str]) -> pd.DataFrame:
    """Columns of the table; `start`, which older traces do not have, is -1 there."""
    older = any("start" not in columns_of(part) for part in folder.parts[TABLE])
    wanted = [name for name in columns if name != "start"] if older else columns
    frame: pd.DataFrame = folder.read(TABLE, wanted).to_pandas()
    return frame.assign(start=-1) if older else frame


class Stacks:
    """The stacks of a trace.

    Args:
        folder: the opened trace.
        selection: which arms, cases, threads and window: a sample is no call's own.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self.folder = folder
        self._selection = selection or Selection()

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
            MemscError: the probe was not recorded, or calls were selected by what a sample has not.

        Example:
            >>> sampled.stacks.df_samples("offcpu")["side"].unique().tolist()
            ['application', 'service']
        """
        self._selection.only(
            *("arms", "cases", "tids", "start", "end"),
            what=_WHAT.get(probe, probe),
            why="most of it lies between calls",
        )
        need(self.folder, probe, what=_WHAT.get(probe, probe))
        table = f"{EVENTS}/{probe}"
        if not self.folder.rows(table):
            return pd.DataFrame(columns=_SAMPLES)
        needed = [*_EVENT, "duration"] if probe == OFF_CPU else _EVENT
        events: pd.DataFrame = self.folder.read(table, needed).to_pandas().astype({"kind": object})
        events["weight"] = 1
        if probe == OFF_CPU:
            # When it came back after an unseen return is not known, so its time is not either.
            events = events[events["duration"] >= 0].reset_index(drop=True)
            events["weight"] = events["duration"]
            events["time"] -= events["duration"]
        return self._selected(placed(self.folder, events)[_SAMPLES])

    def df_folded(self, probe: str = PROFILE, *, kernel: bool = True) -> pd.DataFrame:
        """Equal stacks together: what a flame graph is made of.

        Args:
            probe: `profile` or `offcpu`.
            kernel: continue a program's stack into the kernel.

        Returns:
            arm, side, stage, `stack` (frames from the outermost to the innermost, `;` between;
            kernel functions end in `_[k]`), weight (samples, or nanoseconds), the heaviest first.

        Raises:
            MemscError: as `df_samples`.

        Example:
            >>> frame = sampled.stacks.df_folded("offcpu").query("side == 'service'")
            >>> frame["stack"].iloc[0].split(";")[2:4]
            ['__x64_sys_futex_[k]', 'do_futex_[k]']
        """
        samples = self.df_samples(probe)
        names = self._folded()
        inside = samples["kernel_stack"] if kernel else pd.Series(-1, samples.index)
        samples["stack"] = _joined(samples["user_stack"].map(names), inside.map(names))
        by = ["arm", "side", "stage", "stack"]
        inside_rounds = samples[samples["arm"].notna()].astype({"weight": np.int64})
        folded = inside_rounds.groupby(by, as_index=False, observed=True).agg({"weight": "sum"})
        return folded.sort_values("weight", ascending=False, ignore_index=True)

    def df_coverage(self, probe: str = PROFILE) -> pd.DataFrame:
        """What the stacks do not show.

        Args:
            probe: `profile` or `offcpu`.

        Returns:
            By arm and side: `samples`, and as shares of them `no_user` (no stack of the program: it
            was in the kernel's own work, or is another's), `lost` (no room in the kernel's table),
            `unnamed` (innermost function of the program not known), `leaf_only` (program stacks
            of a single frame that is known), `whole` (program stacks of those that there are which
            reach the thread's first function).

        Raises:
            MemscError: as `df_samples`.

        Example:
            >>> frame = sampled.stacks.df_coverage("offcpu")
            >>> frame[["arm", "side", "samples"]].head(2).values.tolist()
            [['direct', 'application', 11], ['memsc', 'application', 7]]
        """
        samples = self.df_samples(probe)
        frames = self._frames()
        depths = frames.groupby("stack")["depth"].agg("max")
        named = frames.loc[(frames["depth"] == 0) & (frames["function"] != ""), "stack"]
        beyond = frames[frames["module"] == "[unknown]"].groupby("stack")["depth"].agg("min")
        cut = frames.loc[frames["module"].isin(("[unknown]", TRUNCATED)), "stack"]
        user = samples["user_stack"]
        known = user.map(beyond).fillna(user.map(depths) + 1)
        lost = (user == _NO_ROOM) | (samples["kernel_stack"] == _NO_ROOM)
        shares = samples[["arm", "side"]].assign(
            samples=1.0,
            no_user=user < 0,
            lost=lost,
            unnamed=(user >= 0) & ~user.isin(named),
            leaf_only=(user >= 0) & (known <= 1),
            whole=(user >= 0) & ~user.isin(cut),
        )
        grouped = shares.groupby(["arm", "side"], as_index=False)
        names = ["no_user", "lost", "unnamed", "leaf_only"]
        found = grouped[["samples", *names, "whole"]].sum()
        there = found["samples"] - found["no_user"]
        found["whole"] = found["whole"].astype(float).div(there.where(there > 0))
        found[names] = found[names].astype(float).div(found["samples"], axis=0)
        return found.astype({"samples": np.int64})

    def plot_functions(self, probe: str = PROFILE, arm: str | None = None) -> Figure:
        """Draws `df_folded`: the innermost functions that had most of it, by side and stage.

        Args:
            probe: `profile` or `offcpu`.
            arm: which arm; by default the one with most samples, or time.

        Raises:
            MemscError: the probe was not recorded, no such arm, or nothing was seen of it.

        Example:
            >>> sampled.stacks.plot_functions("offcpu").savefig(file)
        """
        from memsc.analysis.figures.stacks import plot_functions  # noqa: PLC0415 (slow to import)

        weight = "time off the CPU" if probe == OFF_CPU else "samples"
        return plot_functions(self.df_folded(probe), weight, arm)

    def _selected(self, samples: pd.DataFrame) -> pd.DataFrame:
        now = self._selection
        chosen = np.ones(len(samples), np.bool_)
        for name, wanted in (("arm", now.arms), ("case", now.cases), ("tid", now.tids)):
            if wanted is not None:
                chosen &= samples[name].isin(wanted).to_numpy()
        if now.start is not None or now.end is not None:
            times = samples["time"].to_numpy(np.int64)
            chosen &= now.during(self.folder.session.clock.cycles(times))
        return samples[chosen].reset_index(drop=True)

    # ---- names ----

    def _frames(self) -> pd.DataFrame:
        if not self.folder.rows(TABLE):
            names = (*_FRAMES, "start")
            return pd.DataFrame({name: pd.Series(dtype=object) for name in names})
        frame = _read(self.folder, [*_FRAMES, "start"])
        return frame.astype({"function": object, "module": object})

    def _folded(self) -> pd.Series[str]:
        """Each stack as one text."""
        frames = self._frames().sort_values(["stack", "depth"], ascending=[True, False])
        module = frames["module"].str.rsplit("/", n=1).str[-1]
        kernel = frames["module"].eq("[kernel]")
        known, begins = frames["function"] != "", frames["start"] >= 0
        unnamed = module.where(module.str.startswith("["), "[" + module + "]")
        name = frames["function"].where(known, unnamed)
        alone = frames.loc[~known & begins, "start"].map("@{:#x}".format)
        name.loc[alone.index] = module.loc[alone.index] + alone
        name = name.str.replace(";", ":").str.replace(" ", "_").where(~kernel, name + "_[k]")
        return name.groupby(frames["stack"]).agg(";".join)


_NO_ROOM = -17
_EVENT = ["time", "cpu", "pid", "tid", "kind", "user_stack", "kernel_stack"]
_SAMPLES = [*_EVENT[:5], *PLACE, *_EVENT[5:], "weight"]


def _joined(user: pd.Series[str], kernel: pd.Series[str]) -> pd.Series[str]:
    """User frames, then kernel frames; whichever is there."""
    # pandas 2 spells a missing text out, when a column of them becomes str.
    parts = (part.astype(object).where(part.notna(), "") for part in (user, kernel))
    outer, inner = (part.astype("str") for part in parts)
    both = outer.str.cat(inner, sep=";").str.strip(";")
    return both.where(both != "", NO_STACK)
