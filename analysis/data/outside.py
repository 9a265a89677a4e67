# SPDX-License-Identifier: MIT
"""What calls fill of the time that was measured around them, by the program or by the session.

Stages are differences of neighbouring stamps: they sum to the total whatever the stamps are. That
calls take no more time than there was can be false.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import Rows, split
from memsc.analysis.data.timed import TimedRounds
from memsc.tracer.format import FLAGS, Round, RoundKey, TraceFolder
from memsc.tracer.format.arrays import numbers


class TimedCalls(NamedTuple):
    """What a program measured around its last calls in a round.

    Attributes:
        skip: calls before them, with which it warmed up.
        cycles: how long they took.
    """

    skip: int
    cycles: int


def timed_rounds(trace: TraceFolder, timed: TimedRounds) -> dict[RoundKey, TimedCalls]:
    """The recorded rounds whose programs timed their last calls.

    Rounds that lost calls, or were ended by the session, are left out: which of their calls were
    the last is not known.
    """
    rounds = {r.key: r for r in trace.session.rounds if _whole(r)}
    return {
        key: TimedCalls(max((rounds[key].calls or 0) - calls, 0), cycles)
        for key, (calls, cycles) in (timed.recorded if rounds else {}).items()
        if key in rounds
    }


def _whole(r: Round) -> bool:
    return (
        r.recording
        and r.calls is not None
        and r.kept is None
        and not (r.lost or r.unfinished or r.skipped or r.stopped or r.attached)
    )


@dataclass(slots=True)
class Filled:
    """The calls of one thread in one round, cycles.

    Attributes:
        first, last: from the first begin to the last end.
        calls: how many they are.
        timed: what those fill that the program timed. Calls that were posted ahead overlap: theirs
            is the time in which any of them was under way.
        until: where the last of those ends.
    """

    first: int
    last: int
    calls: int = 0
    timed: int = 0
    until: int = -(1 << 62)


class Fills:
    """What calls fill, by round and thread; given in the order of the table.

    Args:
        timed: the rounds whose programs timed their last calls.
        whole: what is given are all calls of their rounds.
    """

    def __init__(
        self, timed: Mapping[RoundKey, TimedCalls] | None = None, *, whole: bool = True
    ) -> None:
        self.timed, self.whole = timed or {}, whole
        self.rounds: dict[RoundKey, dict[int, Filled]] = {}
        self._seen: dict[RoundKey, int] = {}

    def add(self, key: RoundKey, table: pa.Table, rows: Rows) -> None:
        """The next calls of a round: some rows of the table `calls`."""
        names = ("called", "completed", "tid", "flags")
        called, completed, tid, flags = (numbers(table[name])[rows] for name in names)
        seen = self._seen.get(key, 0)
        self._seen[key] = seen + len(called)
        threads = self.rounds.setdefault(key, {})
        timed = self.timed.get(key)
        warm_up = max(timed.skip - seen, 0) if timed else len(called)
        for thread, mine in split(tid):
            begins, ends = called[mine], completed[mine]
            first, last = int(begins.min()), int(ends.max())
            filled = threads.setdefault(thread, Filled(first, last))
            filled.first, filled.last = min(filled.first, first), max(filled.last, last)
            filled.calls += len(begins)
            start = warm_up if isinstance(mine, slice) else int(np.searchsorted(mine, warm_up))
            if start < len(begins):
                ahead = (flags[mine][start:] & FLAGS["async"]) > 0
                _fill(filled, begins[start:], ends[start:], ahead)


def _fill(filled: Filled, called: Ints, completed: Ints, ahead: NDArray[np.bool_]) -> None:
    if not ahead.any():
        filled.timed += int((completed - called).sum())
        return
    waited = ~ahead
    filled.timed += int((completed - called)[waited].sum())
    begins, ends = called[ahead], completed[ahead]
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    before = np.maximum(np.append(filled.until, ends[:-1]), filled.until)
    filled.timed += int(np.maximum(ends - np.maximum(begins, before), 0).sum())
    filled.until = max(filled.until, int(ends[-1]))


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether the calls of some rounds fit into the time measured around them.

    Attributes:
        rounds: in which that was measured.
        off: why it is not so in one of them, each.
        share: what calls fill of the time that their programs timed, None where none did.
    """

    rounds: int
    off: list[str]
    share: float | None


def fit(rounds: Collection[Round], fills: Fills, margin: int) -> Fit:
    """Holds calls against the time around them.

    Args:
        rounds: which.
        fills: what their calls fill.
        margin: by how many cycles two readings of the counter may disagree.
    """
    measured, off, filled, around = 0, list[str](), 0, 0
    for r in rounds:
        threads = list(fills.rounds.get(r.key, {}).values())
        if not threads:
            continue
        timed = fills.timed.get(r.key) if len(threads) == 1 else None
        bounds = None if r.attached else (r.start_cycles, r.end_cycles)
        wrong = _outside(threads, bounds, margin) if bounds else None
        if timed:
            filled, around = filled + threads[0].timed, around + timed.cycles
            if threads[0].timed > timed.cycles + margin:
                share = threads[0].timed / max(timed.cycles, 1)
                wrong = f"calls take {100 * share:.4g} % of the time that the program measured"
        measured += timed is not None or (bounds is not None and None not in bounds)
        off += [f"round {r.round} of {r.case}: {wrong}"] if wrong else []
    return Fit(measured, off, filled / around if around else None)


def _outside(
    threads: Collection[Filled], bounds: tuple[int | None, int | None], margin: int
) -> str | None:
    start, end = bounds
    if start is not None and min(thread.first for thread in threads) < start - margin:
        return "a call begins before its program does"
    if end is not None and max(thread.last for thread in threads) > end + margin:
        return "a call ends after its program does"
    return None
