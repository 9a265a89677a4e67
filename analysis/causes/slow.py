# SPDX-License-Identifier: MIT
"""Gathers the slow calls of a trace with what is needed to say why they were; streamed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.modes import MODES, known_idle, modes_of
from memsc.analysis.data.overlap import Ints, covered_until
from memsc.analysis.data.rounds import Rows, chosen_rounds, rounds_in
from memsc.analysis.data.scan import stages_of
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.sketch import QUANTITIES
from memsc.tracer.format import CALLS, FLAGS, STAMPS, RoundKey, TraceFolder, polls_of
from memsc.tracer.format.arrays import numbers

_KEPT = [
    *("arm", "case", "round", "pid", "tid", "syscall", "result", "app_cpu", "service_cpu"),
    *("flags", *STAMPS),
]
# Polls of calls that waited at least so often tell what a poll costs.
_ENOUGH_POLLS = 4
_SAMPLE = 20_000


class Calls(NamedTuple):
    """How calls came about.

    Attributes:
        mode: the place in `MODES` of each.
        idle: which are known to have waited for others.
    """

    mode: Ints
    idle: NDArray[np.bool_]


Keep = Callable[[RoundKey, Calls, Ints], Ints]
"""Of some calls of a round, given how each came about and their totals: those to keep."""


@dataclass(slots=True)
class Slow:
    """Slow calls, and how long a poll takes.

    Attributes:
        frame: one row per call: the columns of `calls/`, `mode` and `idle` (as in `Calls`, the mode
            by its name), the stages and the total in cycles, `app_polls`, `service_polls`, `since`
            (when the service had finished the call before, 0 if that is not known) and `busy`
            (cycles in which it executed others while this waited).
        poll_cycles: by arm, what a look of the caller and one of the service take; NaN if unknown.
    """

    frame: pd.DataFrame
    poll_cycles: dict[str, tuple[float, float]] = field(default_factory=dict)


def gather(trace: TraceFolder, selection: Selection, keep: Keep) -> Slow:
    """The slow calls of a selection.

    Args:
        trace: an opened trace.
        selection: which calls are looked at; others still count as what the service did.
        keep: which of them are slow.
    """
    context = _Context()
    parts = list(_kept(trace, selection, keep, context))
    if not parts:
        columns = [
            *_KEPT,
            "mode",
            "idle",
            *QUANTITIES,
            "app_polls",
            "service_polls",
            "since",
            "busy",
        ]
        return Slow(pd.DataFrame(columns=columns))
    slow = Slow(pd.concat(parts, ignore_index=True), context.poll_cycles)
    several = {key for key, threads in context.threads.items() if len(threads) > 1}
    if several:
        _add_others(trace, slow, several)
    return slow


@dataclass(slots=True)
class _Context:
    """What is found on the way: who called in each round, and when the service was done last."""

    threads: dict[RoundKey, set[int]] = field(default_factory=dict)
    done: dict[RoundKey, int] = field(default_factory=dict)
    poll_cycles: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, key: RoundKey, columns: Mapping[str, Ints], rows: Rows) -> Callable[[Ints], Ints]:
        """A part's rows of a round, all of them.

        Returns:
            When the call before each of some rows, given by their places, was executed: right where
            a single thread calls, for its calls follow one another, in any part.
        """
        threads = self.threads.setdefault(key, set())
        tid = columns["tid"][rows]
        # Mostly one; a sort of all would cost as much as reading them.
        threads.update((int(tid[0]), int(tid[-1])) if (tid == tid[0]).all() else distinct(tid))
        executed = columns["executed"][rows]
        last, self.done[key] = self.done.get(key, 0), int(executed[-1])
        if key.arm not in self.poll_cycles:
            self.poll_cycles[key.arm] = _poll_cycles(columns, _first(rows))
        return lambda places: np.where(places > 0, executed[np.maximum(places - 1, 0)], last)


def _first(rows: Rows) -> Rows:
    return slice(_SAMPLE) if isinstance(rows, slice) else rows[:_SAMPLE]


def _kept(
    trace: TraceFolder, selection: Selection, keep: Keep, context: _Context
) -> Iterator[pd.DataFrame]:
    rounds = chosen_rounds(trace, selection)
    wanted = list(dict.fromkeys([*_KEPT, *selection.columns]))
    for table in trace.batches(CALLS, wanted, rounds):
        mask = selection.mask(table)
        columns = {name: numbers(table[name]) for name in ("tid", "flags", *STAMPS)}
        total = columns["completed"] - columns["called"]
        flags, mode, idle = columns["flags"], modes_of(table), known_idle(table)
        for key, chosen in rounds_in(table):
            if rounds is not None and key not in rounds:
                continue
            before = context.add(key, columns, chosen)
            passing = None if mask is None else np.flatnonzero(mask[chosen])
            rows = chosen if passing is None else _written_out(chosen, table.num_rows)[passing]
            slow = keep(key, Calls(mode[rows], idle[rows]), total[rows])
            if not len(slow):
                continue
            places = slow if passing is None else passing[slow]
            at = slow if isinstance(rows, slice) else rows[slow]
            since = before(places)
            since[since > columns["picked"][at]] = 0
            busy = np.where(since > 0, np.maximum(since - columns["posted"][at], 0), 0)
            kept = table.take(at)
            # Of a few rows: threads would wait for each other longer than they work.
            frame = kept.to_pandas(use_threads=False)
            frame = frame.astype({"arm": object, "case": object, "syscall": object})
            kinds = {"mode": np.array(MODES, object)[mode[at]], "idle": idle[at]}
            polls = {f"{side}_polls": polls_of(flags[at], side) for side in ("app", "service")}
            yield frame[_KEPT].assign(
                **kinds,
                **dict(zip(QUANTITIES, stages_of(kept), strict=True)),
                **polls,
                since=since,
                busy=busy,
            )


def _written_out(rows: Rows, total: int) -> Ints:
    return np.arange(total) if isinstance(rows, slice) else rows


def _add_others(trace: TraceFolder, slow: Slow, rounds: Collection[RoundKey]) -> None:
    """What the service did meanwhile where several threads call: that may stand in any part."""
    frame = slow.frame
    found: Any = frame.groupby(["arm", "case", "round", "service_cpu"]).indices
    groups = {
        (RoundKey(*key[:3]), int(key[3])): rows
        for key, rows in found.items()
        if RoundKey(*key[:3]) in rounds
    }
    since, busy = (frame[name].to_numpy(np.int64, copy=True) for name in ("since", "busy"))
    posted, picked = (frame[name].to_numpy(np.int64) for name in ("posted", "picked"))
    for rows in groups.values():
        since[rows] = busy[rows] = 0
    wanted = ["arm", "case", "round", "service_cpu", "flags", *STAMPS[1:]]
    for table in trace.batches(CALLS, wanted, rounds):
        columns = {name: table[name].to_numpy() for name in wanted[3:]}
        for key, chosen in rounds_in(table):
            if key not in rounds:
                continue
            rows = _written_out(chosen, table.num_rows)
            rows = rows[columns["flags"][rows] & (FLAGS["pooled"] | FLAGS["takeover"]) == 0]
            for cpu in distinct(columns["service_cpu"][rows]):
                mine = groups.get((key, int(cpu)))
                if mine is None:
                    continue
                here = rows[columns["service_cpu"][rows] == cpu]
                here = here[np.argsort(columns["picked"][here], kind="stable")]
                start = columns["picked"][here]
                end = np.minimum(columns["executed"][here], np.append(start[1:], 1 << 62))
                before = np.searchsorted(start, picked[mine], "left") - 1
                last = np.where(before >= 0, end[np.maximum(before, 0)], 0)
                since[mine] = np.maximum(since[mine], last)
                busy[mine] += covered_until(picked[mine], start, end)
                busy[mine] -= covered_until(posted[mine], start, end)
    slow.frame = frame.assign(since=since, busy=busy)


def _poll_cycles(columns: Mapping[str, Ints], rows: Rows) -> tuple[float, float]:
    flags = columns["flags"][rows]
    waited = columns["completed"][rows] - columns["posted"][rows]
    idle = np.zeros(len(flags), np.int64)
    idle[1:] = columns["picked"][rows][1:] - columns["executed"][rows][:-1]
    costs: list[float] = []
    for side, time in (("app", waited), ("service", idle)):
        polls = polls_of(flags, side)
        many = (polls >= _ENOUGH_POLLS) & (np.arange(len(flags)) > 0)
        costs.append(float(np.median(time[many] / polls[many])) if many.any() else float("nan"))
    return costs[0], costs[1]
