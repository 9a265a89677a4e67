# SPDX-License-Identifier: MIT
"""When each thread of each round was forwarding: the frame in which events are counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.outside import Filled, Fills
from memsc.analysis.data.rounds import rounds_in, split
from memsc.tracer.format import CALLS, Clock, RoundKey, TraceFolder
from memsc.tracer.format.arrays import numbers

KEY = ["arm", "case", "round"]


@dataclass(frozen=True, slots=True)
class Windows:
    """Thread windows and the round windows around them, on CLOCK_MONOTONIC.

    Attributes:
        threads: one row per round and thread: arm, case, round, tid, start_ns, end_ns, calls, and
            `index`, the row of its round in `rounds`.
        rounds: one row per round, by time: arm, case, round, start_ns, end_ns, calls.
    """

    threads: pd.DataFrame
    rounds: pd.DataFrame

    @staticmethod
    def of(trace: TraceFolder, wanted: Collection[RoundKey], fills: Fills | None = None) -> Windows:
        """From the first stamp to the last of each thread, in the wanted rounds.

        The windows are narrowed by what the clocks may disagree, so that what a thread did just
        before its first call is never counted into it.

        Args:
            trace: an opened trace.
            wanted: the rounds.
            fills: what is known of some of them already.
        """
        known = fills.rounds if fills and fills.whole else {}
        parts = [_known(key, known[key]) for key in wanted if key in known]
        left = {key for key in wanted if key not in known}
        parts += [_summary(table, left) for table in trace.batches(CALLS, _COLUMNS, left)]
        threads = pd.concat([_NOTHING, *(part for part in parts if len(part))])
        grouped = threads.groupby([*KEY, "tid"], as_index=False, sort=False)
        threads = grouped.agg({"start": "min", "end": "max", "calls": "sum"})
        clock = trace.session.clock
        threads["start_ns"] = clock.ns(threads.pop("start").to_numpy(np.int64)) + clock.margin_ns
        threads["end_ns"] = clock.ns(threads.pop("end").to_numpy(np.int64)) - clock.margin_ns
        rounds = threads.groupby(KEY, as_index=False, sort=False).agg(
            {"start_ns": "min", "end_ns": "max", "calls": "sum"}
        )
        rounds = rounds.sort_values("start_ns", ignore_index=True)
        order = rounds[KEY].assign(index=np.arange(len(rounds)))
        return Windows(threads.merge(order, on=KEY), rounds)

    def between(self, clock: Clock, start: int | None, end: int | None) -> Windows:
        """What of the rounds lies between two times in cycles; `threads` stay as they are."""
        rounds = self.rounds
        if start is not None:
            first = int(clock.ns(np.array([start]))[0])
            rounds = rounds.assign(start_ns=rounds["start_ns"].clip(lower=first))
        if end is not None:
            last = int(clock.ns(np.array([end]))[0])
            rounds = rounds.assign(end_ns=rounds["end_ns"].clip(upper=last))
        inside = rounds["start_ns"] <= rounds["end_ns"]
        return Windows(self.threads, rounds[inside].reset_index(drop=True))

    def rounds_at(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row in `rounds` that each time falls into, -1 for none. Rounds do not overlap."""
        if not len(self.rounds):
            return np.full(len(time), -1)
        found = np.searchsorted(self.rounds["start_ns"].to_numpy(), time, "right") - 1
        ends = self.rounds["end_ns"].to_numpy()
        return np.where((found >= 0) & (time <= ends[found]), found, -1)

    def in_thread(
        self, rounds: NDArray[np.int64], tid: NDArray[np.int64], time: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each event is of an application thread, between its first and last call."""
        ordered = self.threads.assign(key=_pair(self.threads["index"], self.threads["tid"]))
        ordered = ordered.sort_values("key")
        keys, wanted = ordered["key"].to_numpy(), _pair(rounds, tid)
        if not len(keys):
            return np.zeros(len(time), np.bool_)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        starts, ends = ordered["start_ns"].to_numpy()[at], ordered["end_ns"].to_numpy()[at]
        return (rounds >= 0) & (keys[at] == wanted) & (time >= starts) & (time <= ends)


_COLUMNS = [*KEY, "tid", "called", "completed"]
_NOTHING = pd.DataFrame(
    {name: pd.Series(dtype=object) for name in ("arm", "case")}
    | {name: pd.Series(dtype=np.int64) for name in ("round", "tid", "start", "end", "calls")}
)


def _known(key: RoundKey, threads: Mapping[int, Filled]) -> pd.DataFrame:
    found = [(*key, tid, one.first, one.last, one.calls) for tid, one in threads.items()]
    return pd.DataFrame(found, columns=list(_NOTHING))


def _summary(table: pa.Table, wanted: Collection[RoundKey]) -> pd.DataFrame:
    tid, called, completed = (numbers(table[name]) for name in _COLUMNS[3:])
    found: list[tuple[object, ...]] = []
    for key, rows in rounds_in(table):
        if key in wanted:
            begins, ends = called[rows], completed[rows]
            for one, mine in split(tid[rows]):
                times = int(begins[mine].min()), int(ends[mine].max())
                found.append((*key, one, *times, len(begins[mine])))
    return pd.DataFrame(found, columns=list(_NOTHING))


def _pair(index: NDArray[np.int64] | pd.Series, tid: NDArray[np.int64] | pd.Series):  # type: ignore[type-arg]
    return np.asarray(index, np.int64) * (1 << 32) + np.asarray(tid, np.int64)
