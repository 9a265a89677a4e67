# SPDX-License-Identifier: MIT
"""Calls, their time and their errors: by system call, program, process and thread.

Exact sums, of one pass more over `calls/`, asked for by who wants them. Time in work and time in
waiting stand apart (`memsc.analysis.data.modes`).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.modes import MODES, WAIT, modes_of
from memsc.analysis.data.order import in_order
from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import chosen_rounds, coded, rounds_in
from memsc.analysis.data.selection import Selection
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import CALLS, TraceFolder, columns_of
from memsc.tracer.format.arrays import integers, numbers

BY = ("comm", "pid", "tid")
"""What sums may be told apart by, beside arm, case and system call."""

LARGEST_ERROR = 4095
"""A call's result from -4095 to -1 is an error; addresses may be below that."""

# Answers that the kernel gives itself; a program sees one only as EINTR, if at all.
_RESTARTS = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    516: "ERESTART_RESTARTBLOCK",
}
_NAMED = ["arm", "case", "comm", "syscall"]
_KEYS = ["arm", "case", "pid", "tid", "comm", "syscall", "mode", "error"]
_SUMS = ["calls", "cycles"]
_ROWS = 1 << 16  # of sums of parts, until they are added up


class Totals:
    """Sums over the calls of a trace.

    Args:
        folder: the opened trace.
        selection: which calls.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self._folder = folder
        self._selection = selection or Selection()

    def df_syscalls(self, by: str | Sequence[str] = ()) -> pd.DataFrame:
        """Each system call's calls, time and errors, as `strace -c` has them.

        Args:
            by: "comm", "pid" or "tid", or several: the same for each of them.

        Returns:
            One row per arm, case, `by`, system call and mode: calls, total_ns, mean_ns, share (of
            the total of the arm and case, of all work or of all waits), errors, and errnos (a dict
            of the errors' names and how often each came, most frequent first); most time first,
            work before waits. `comm` is None where the trace does not know it. Where one of so many
            calls was recorded (`--record-every`) sums are estimates, and what was called so seldom
            that none of it was recorded is not there; so of `df_threads` and `df_errors`.

        Raises:
            MemscError: calls were chosen (`--snapshot`), or `by` is none of these.

        Example:
            >>> frame = t.where(arm="memsc").totals.df_syscalls().query("errors > 0")
            >>> frame[["syscall", "errnos"]].values.tolist()
            [['openat', {'ENOENT': 52}]]
        """
        keys = ["arm", "case", *_known(by), "syscall", "mode"]
        sums = self._sums
        frame = _added(sums, keys)
        failed = sums[sums["error"] != 0]
        names = dict(_errors(failed, keys))
        found = [names.get(key, {}) for key in frame[keys].itertuples(index=False, name=None)]
        frame["errors"] = [sum(one.values()) for one in found]
        frame["errnos"] = pd.Series(found, frame.index, dtype=object)
        group = frame["mode"].eq(WAIT)
        whole = frame.groupby(["arm", "case", group], sort=False)["cycles"].transform("sum")
        frame["share"] = frame["cycles"] / whole.where(whole != 0)
        return self._shown(frame, keys, ["share", "errors", "errnos"])

    def df_threads(self, by: str | Sequence[str] = BY) -> pd.DataFrame:
        """Who made the calls: programs, processes or threads.

        Args:
            by: what they are told apart by: "comm", "pid" or "tid", or several.

        Returns:
            One row per arm, case and `by`: calls, processes, threads, work_ns and wait_ns (all time
            of calls that are there to wait), and errors; the most work first.

        Raises:
            MemscError: as `df_syscalls`.

        Example:
            >>> frame = t.where(arm="memsc").totals.df_threads("pid")
            >>> frame[["calls", "processes", "threads", "errors"]].values.tolist()
            [[686, 1, 1, 13], [686, 1, 1, 13], [686, 1, 1, 13], [686, 1, 1, 13]]
        """
        keys = ["arm", "case", *_known(by)]
        sums = self._sums
        waits = sums["mode"] == WAIT
        sums = sums.assign(
            work=sums["cycles"].where(~waits, 0),
            wait=sums["cycles"].where(waits, 0),
            errors=sums["calls"].where(sums["error"] != 0, 0),
        )
        groups = sums.groupby(keys, sort=False)
        frame = groups[["calls", "work", "wait", "errors"]].sum().reset_index()
        for name, column in (("processes", "pid"), ("threads", "tid")):
            count = sums.drop_duplicates([*keys, column]).groupby(keys, sort=False)
            frame[name] = count.size().to_numpy()
        ns = self._folder.session.clock.ns_per_cycle
        frame["work_ns"], frame["wait_ns"] = frame["work"] * ns, frame["wait"] * ns
        frame = _sorted(frame, "work_ns")
        frame = _unknown(frame)
        shown = ["calls", "processes", "threads", "work_ns", "wait_ns", "errors"]
        return frame[[*keys, *shown]].reset_index(drop=True)

    def df_errors(self, by: str | Sequence[str] = ()) -> pd.DataFrame:
        """How often which system call failed with which error.

        Args:
            by: as of `df_syscalls`.

        Returns:
            One row per arm, case, `by`, system call and errno (its name): calls, and total_ns that
            they took; the most frequent first.

        Raises:
            MemscError: as `df_syscalls`.

        Example:
            >>> frame = t.where(arm="memsc").totals.df_errors()
            >>> frame[["syscall", "errno", "calls"]].values.tolist()
            [['openat', 'ENOENT', 52]]
        """
        sums = self._sums
        failed = sums[sums["error"] != 0].assign(errno=lambda f: f["error"].map(errno_name))
        keys = ["arm", "case", *_known(by), "syscall", "errno"]
        frame = _unknown(_sorted(_added(failed, keys), "calls"))
        frame["total_ns"] = frame["cycles"] * self._folder.session.clock.ns_per_cycle
        return frame[[*keys, "calls", "total_ns"]].reset_index(drop=True)

    def _shown(self, frame: pd.DataFrame, keys: list[str], more: list[str]) -> pd.DataFrame:
        frame["total_ns"] = frame["cycles"] * self._folder.session.clock.ns_per_cycle
        frame["mean_ns"] = frame["total_ns"] / frame["calls"]
        frame = _unknown(_sorted(frame, "total_ns", waits=frame["mode"] == WAIT))
        shown = [*keys, "calls", "total_ns", "mean_ns", *more]
        return frame[shown].reset_index(drop=True)

    @cached_property
    def _sums(self) -> pd.DataFrame:
        """Calls and cycles by everything that is told apart; error 0 stands for none."""
        session, now = self._folder.session, self._selection
        if session.snapshot:
            what, remedy = "cannot add up all calls", "record again without --snapshot"
            raise MemscError(what, session.snapshot.why, remedy)
        rounds = chosen_rounds(self._folder, now)
        comm = self.has_comm
        wanted = ["arm", "case", "round", "pid", "tid", "syscall", "result", "flags"]
        wanted += ["called", "completed", *(["comm"] if comm else []), *now.columns]
        parts: list[pa.Table] = []
        rows = 0
        for part in self._folder.batches(CALLS, list(dict.fromkeys(wanted)), rounds):
            table, mask = part, now.mask(part)
            if mask is not None:
                table = table.filter(pa.array(mask))
            for key, of_round in rounds_in(table):
                if rounds is None or key in rounds:
                    mine = table if isinstance(of_round, slice) else table.take(of_round)
                    parts.append(_summed(mine))
                    rows += parts[-1].num_rows
            if rows > _ROWS:
                parts, rows = [_together(parts)], 0  # again after as many more
        if not parts:
            return pd.DataFrame(columns=[*_KEYS, *_SUMS]).astype({"calls": int, "cycles": int})
        frame = _weighted(_together(parts).to_pandas(), self._folder)
        frame[_NAMED] = frame[_NAMED].astype(object)
        frame["mode"] = np.array(MODES, object)[frame["mode"].to_numpy()]
        return frame

    @cached_property
    def has_comm(self) -> bool:
        """Whether the trace knows command names: one of an earlier memsc does not."""
        parts = self._folder.parts.get(CALLS, [])
        return bool(parts) and all("comm" in columns_of(part) for part in parts)


def _weighted(frame: pd.DataFrame, folder: TraceFolder) -> pd.DataFrame:
    """Sums of recorded calls as sums of all, where one of so many was recorded.

    Each was as likely as any other, so each stands for as many as were made for one recorded.
    """
    if not folder.session.sparse:
        return frame
    arms = folder.session.arms
    weights = {
        name: 1 + (arm.skipped or 0) / arm.calls if arm.calls else 1.0 for name, arm in arms.items()
    }
    weight = frame["arm"].map(weights).to_numpy(np.float64)
    for name in _SUMS:
        frame[name] = np.rint(frame[name].to_numpy(np.float64) * weight).astype(np.int64)
    return frame


def errno_name(number: int) -> str:
    """What the kernel's headers call an error."""
    return errno.errorcode.get(number) or _RESTARTS.get(number) or f"errno {number}"


def _known(by: str | Sequence[str]) -> list[str]:
    wanted = [by] if isinstance(by, str) else list(by)
    for name in wanted:
        if name not in BY:
            why = f"there is no {name} to tell them apart by"
            raise MemscError("cannot add up calls", why, f"it is {', '.join(BY)}", USAGE)
    return wanted


def _summed(table: pa.Table) -> pa.Table:
    """The sums of some rows of the table `calls`."""
    result = numbers(table["result"])
    failed = (result < 0) & (result >= -LARGEST_ERROR)
    names = [name for name in _NAMED if name in table.column_names]
    columns: dict[str, Any] = {name: table[name] for name in (*names, "pid", "tid")}
    columns["mode"] = pa.array(modes_of(table))
    columns["error"] = pa.array(np.where(failed, -result, 0))
    columns["calls"] = pa.array(np.ones(table.num_rows, np.int64))
    columns["cycles"] = pa.array(numbers(table["completed"]) - numbers(table["called"]))
    found = _added_up(pa.table(columns))
    if "comm" not in names:
        found = found.append_column("comm", pa.array([""] * found.num_rows, pa.string()))
    return found.select([*_KEYS, *_SUMS])


def _together(parts: Sequence[pa.Table]) -> pa.Table:
    whole = pa.concat_tables(parts)
    columns: dict[str, Any] = {name: whole[name] for name in whole.column_names}
    columns |= {name: columns[name].dictionary_encode() for name in _NAMED}
    return _added_up(pa.table(columns)).select([*_KEYS, *_SUMS])


def _added_up(table: pa.Table) -> pa.Table:
    """Sums of rows that are alike otherwise, in the order of their first; names as texts."""
    keys = [name for name in table.column_names if name not in _SUMS]
    first, rows, group = _groups(
        [coded(table, name)[0] if name in _NAMED else numbers(table[name]) for name in keys]
    )
    starts, rank = np.cumsum(rows) - rows, np.argsort(first)
    few = table.select(keys).take(integers(first[rank]))
    columns: dict[str, Any] = {
        name: few[name].cast(pa.string()) if name in _NAMED else few[name] for name in keys
    }
    for name in _SUMS:
        columns[name] = pa.array(np.add.reduceat(numbers(table[name])[group], starts)[rank])
    return pa.table(columns)


def _groups(keys: Sequence[NDArray[Any]]) -> tuple[Ints, Ints, Ints]:
    """Rows that are alike in all of some columns, of which most hold one value: n rows, m groups.

    Returns:
        The first row of each group, its number of rows, shape (m,), and the rows by group, shape
        (n,), ascending within.
    """
    code = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        low, high = int(key.min()), int(key.max())
        if low == high:
            continue
        values = distinct(key.astype(np.int64))
        # Dense after each column, so that the product of all is never too large.
        code = code * len(values) + np.searchsorted(values, key)
        code = np.searchsorted(distinct(code), code)
    narrow = code.astype(np.uint16) if int(code.max()) < 1 << 16 else code  # sorted by radix
    order = np.argsort(narrow, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    return order[starts], np.diff(starts, append=len(order)), order


def _added(sums: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return sums.groupby(keys, sort=False)[_SUMS].sum().reset_index()


def _errors(failed: pd.DataFrame, keys: list[str]) -> list[tuple[Any, dict[str, int]]]:
    """By group, its errors' names and how often each came, most frequent first."""
    counted = _added(failed, [*keys, "error"]).sort_values("calls", ascending=False, kind="stable")
    found: dict[Any, dict[str, int]] = {}
    for row in counted[[*keys, "error", "calls"]].itertuples(index=False, name=None):
        found.setdefault(row[: len(keys)], {})[errno_name(row[-2])] = int(row[-1])
    return list(found.items())


def _unknown(frame: pd.DataFrame) -> pd.DataFrame:
    """An empty name says that nobody knows it."""
    if "comm" in frame:
        frame["comm"] = frame["comm"].astype(object).where(frame["comm"] != "", None)
    return frame


def _sorted(frame: pd.DataFrame, by: str, waits: pd.Series | None = None) -> pd.DataFrame:
    order = {arm: rank for rank, arm in enumerate(in_order(set(frame["arm"])))}
    rank = frame["arm"].map(order)
    late = waits if waits is not None else False
    keyed = frame.assign(_rank=rank, _late=late, _by=-frame[by].astype(float))
    return keyed.sort_values(["_rank", "case", "_late", "_by"], kind="stable")
