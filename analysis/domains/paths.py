# SPDX-License-Identifier: MIT
"""Latency by call path: where in the program calls are made, and what became of them.

Of one call of so many the caller's stack was taken. What all calls took is known exactly; the
sample only divides it among the paths. So a path's time is its share of the sampled time of its
system call, times what all of those took, and the sampling error is that of such a ratio.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.requires import requires
from memsc.analysis.data.scan import ALL, Cells
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.sketch import QUANTITIES
from memsc.analysis.domains.stacks import Frame, Frames
from memsc.tracer.format import CALLS, EVENTS, STAMPS, RoundKey, TraceFolder

PROBE = "paths"
WHAT = "where calls come from"
TAIL = 0.99
"""Calls beyond this quantile of their system call are its tail."""

_OWN = "libmemsc"  # modules of the runtime and the layer: what lies within is no caller's
_GAP_S = 1e-3  # between the probe and the call's first stamp: the way back from the kernel
_LARGEST_ERROR = 4095
_CALL = ["arm", "case", "round", "tid", "syscall", "number", "result", *STAMPS]
_CELL = ["arm", "case", "syscall"]
_TIMES = [f"{name}_ns" for name in QUANTITIES]
_FIGURES = ["calls", "calls_error", "total_error_ns", "tail_ns", "failed", "samples"]


@dataclass(frozen=True, slots=True)
class Path:
    """Where a call was made: frames from the outermost to the one that makes it."""

    frames: tuple[Frame, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """As flame graphs have them."""
        return tuple(frame.shown for frame in self.frames)


class Paths:
    """The call paths of a trace.

    Args:
        folder: the opened trace.
        cells: what all calls took.
        selection: which of them.
    """

    def __init__(
        self, folder: TraceFolder, cells: Callable[[], Cells], selection: Selection | None = None
    ) -> None:
        self._folder = folder
        self._cells = cells
        self._selection = selection or Selection()
        self._frames = Frames(folder)

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        return self._folder

    @requires(PROBE, what=WHAT)
    def df_calls(self) -> pd.DataFrame:
        """The calls whose path was taken.

        Returns:
            arm, case, round, tid, syscall, result, `stack` (as `path` takes it), called (cycles),
            and post_ns, poll_ns, execute_ns, complete_ns, total_ns, in the order of time. Calls of
            check rounds are not among them, nor those of which no record is there.

        Raises:
            MemscError: the probe was not recorded, or calls were selected by what it has not.

        Example:
            >>> frame = t.paths.df_calls()  # doctest: +SKIP
        """
        return self._found.copy()

    @cached_property
    def _found(self) -> pd.DataFrame:
        now = self._selection
        now.only("arms", "cases", "syscalls", what=WHAT, why="of some calls there are few")
        columns = ["time", "tid", "number", "user_stack"]
        table = f"{EVENTS}/{PROBE}"
        if not self._folder.rows(table):
            return pd.DataFrame(columns=[*_CELL, "round", "tid", "result", "stack", *_TIMES])
        events = self._folder.read(table, columns).to_pandas()
        calls = self._matched(events)
        ns = self._folder.session.clock.ns_per_cycle
        stamps = [calls[stamp].to_numpy(np.int64) for stamp in STAMPS]
        spent = [after - before for before, after in itertools.pairwise(stamps)]
        for name, cycles in zip(_TIMES, [*spent, stamps[-1] - stamps[0]], strict=True):
            calls[name] = cycles * ns
        checked = {r.key for r in self._folder.session.rounds if r.check}
        keys = calls[["arm", "case", "round"]].itertuples(index=False, name=None)
        chosen = np.array([RoundKey(*key) not in checked for key in keys], np.bool_)
        wanted = (("arm", now.arms), ("case", now.cases), ("syscall", now.syscalls))
        for column, names in wanted:
            if names is not None:
                chosen &= calls[column].isin(names).to_numpy()
        columns = [*_CELL, "round", "tid", "result", "stack", "called", *_TIMES]
        return calls.loc[chosen, columns].sort_values("called", ignore_index=True)

    def _matched(self, events: pd.DataFrame) -> pd.DataFrame:
        """For each event the call that its thread made next."""
        clock = self._folder.session.clock
        slack = round((clock.residual_ns or 0.0) / clock.ns_per_cycle) + 1
        at = clock.cycles(events["time"].to_numpy(np.int64)) - slack
        tids, numbers = (events[name].to_numpy(np.int64) for name in ("tid", "number"))
        latest = at + round(_GAP_S * clock.hz)
        found: list[pd.DataFrame] = []
        arms, rounds = self._selection.arms, self._folder.session.rounds
        of_arms = None if arms is None else {r.key for r in rounds if r.arm in arms}
        for part in self._folder.batches(CALLS, _CALL, of_arms or None):
            called, tid = (part[name].to_numpy() for name in ("called", "tid"))
            for one in np.intersect1d(tids, tid).tolist():
                rows = np.flatnonzero(tid == one)
                rows = rows[np.argsort(called[rows], kind="stable")]
                mine = np.flatnonzero(tids == one)
                place = np.searchsorted(called[rows], at[mine])
                mine, place = mine[place < len(rows)], place[place < len(rows)]
                row = rows[place]
                fits = called[row] <= latest[mine]
                fits &= part["number"].to_numpy()[row] == numbers[mine]
                calls = part.take(row[fits]).to_pandas()
                calls["stack"] = events["user_stack"].to_numpy(np.int64)[mine[fits]]
                calls["event"] = mine[fits]
                found.append(calls.astype(dict.fromkeys(_CELL, object)))
        if not found:
            return pd.DataFrame(columns=[*_CALL, "stack"])
        every = pd.concat(found, ignore_index=True).sort_values("called")
        return every.drop_duplicates("event", ignore_index=True)

    @requires(PROBE, what=WHAT)
    def df_paths(self) -> pd.DataFrame:
        """What calls took, by where they were made.

        Returns:
            One row per arm, case, syscall and `stack` (see `path`): calls (estimated) and
            calls_error, post_ns, poll_ns, execute_ns, complete_ns and total_ns (sums, estimated)
            and total_error_ns, tail_ns (what of that calls beyond the 99th percentile of theirs
            took), failed (calls that ended in an error, estimated) and samples; the most time
            first. Errors are standard errors of the sampling.

        Raises:
            MemscError: as `df_calls`.

        Example:
            >>> frame = t.paths.df_paths()  # doctest: +SKIP
        """
        calls = self.df_calls()
        # What differs only within the C library's or memsc's own code is one path.
        calls["stack"] = calls["stack"].map(self._canonical(calls["stack"].unique()))
        wholes = self._wholes()
        rows: list[dict[str, object]] = []
        for cell, mine in calls.groupby(_CELL, sort=False):
            whole = wholes.get(tuple(str(name) for name in cell))
            if whole is None:
                continue
            rows += _divided(dict(zip(_CELL, cell, strict=True)), mine, *whole)
        frame = pd.DataFrame(rows, columns=[*_CELL, "stack", *_TIMES, *_FIGURES])
        return frame.sort_values("total_ns", ascending=False, ignore_index=True)

    def df_nameless(self) -> pd.DataFrame:
        """Files whose functions have no names, by how often they were met on the way to a call.

        Returns:
            module and share (of all frames that lie in files), the most first.

        Raises:
            MemscError: as `df_calls`.

        Example:
            >>> frame = t.paths.df_nameless()  # doctest: +SKIP
        """
        whole, without = 0, Counter[str]()
        for stack, times in self.df_calls()["stack"].value_counts().items():
            for frame in self.path(int(str(stack))).frames:
                if frame.module.startswith("/"):
                    whole += int(times)
                    without[frame.module] += 0 if frame.function else int(times)
        shares = [(module, n / whole) for module, n in without.most_common() if n]
        return pd.DataFrame(shares, columns=["module", "share"])

    def _wholes(self) -> dict[tuple[str, ...], tuple[int, NDArray[np.float64], float]]:
        """Calls, sums of their stages and total, and where their tail begins; ns, by cell."""
        ns, cells = self._folder.session.clock.ns_per_cycle, self._cells()
        found: dict[tuple[str, ...], tuple[int, NDArray[np.float64], float]] = {}
        for cell in cells.sketches:
            if cell.syscall == ALL:
                continue
            whole = cells.whole(cell)
            key = (cell.arm, cell.case, cell.syscall)
            n, sums, _ = found.get(key, (0, np.zeros(len(QUANTITIES)), 0.0))
            tail = whole.histograms[-1].quantile(TAIL) * ns
            found[key] = (n + whole.n, sums + whole.sums * ns, tail)
        return found

    def _canonical(self, stacks: NDArray[np.int64]) -> dict[int, int]:
        """For each stack the first that shows the same path."""
        first: dict[Path, int] = {}
        return {int(one): first.setdefault(self.path(int(one)), int(one)) for one in stacks}

    def path(self, stack: int) -> Path:
        """The path of a stack, without what lies within memsc."""
        frames = self._frames.of(stack)
        while frames and frames[-1].module.rsplit("/", 1)[-1].startswith(_OWN):
            frames = frames[:-1]
        return Path(frames)


def _divided(
    cell: dict[str, object],
    calls: pd.DataFrame,
    n: int,
    sums: NDArray[np.float64],
    tail: float,
) -> list[dict[str, object]]:
    """A cell's time and calls, divided among its paths."""
    times = calls[_TIMES].to_numpy(np.float64)
    results = calls["result"].to_numpy(np.int64)
    failed = (results < 0) & (results >= -_LARGEST_ERROR)
    sampled, k = times.sum(axis=0), len(calls)
    scale = np.divide(sums, sampled, out=np.zeros(len(sums)), where=sampled > 0)
    rows: list[dict[str, object]] = []
    for stack, at in calls.groupby("stack", sort=False).indices.items():
        inside = np.zeros(k, np.bool_)
        inside[at] = True
        total, share = times[:, -1], len(at) / k
        ratio = total[inside].sum() / sampled[-1] if sampled[-1] > 0 else 0.0
        spread = np.sqrt((((inside - ratio) * total) ** 2).sum()) * scale[-1]
        slow = inside & (total > tail)
        rows.append(
            cell
            | {"stack": int(str(stack)), "samples": len(at), "calls": n * share}
            | {"calls_error": n * np.sqrt(share * (1 - share) / k)}
            | dict(zip(_TIMES, times[inside].sum(axis=0) * scale, strict=True))
            | {"total_error_ns": float(spread)}
            | {"tail_ns": float(total[slow].sum() * scale[-1])}
            | {"failed": n * float(failed[inside].sum()) / k}
        )
    return rows
