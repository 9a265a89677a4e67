# SPDX-License-Identifier: MIT
"""Two sides that one session recorded in turn, A B B A and then B A A B.

What one side did in a turn is a replica, beside the other side's of the same turn: whatever drifts,
falls on both alike.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile

from memsc.analysis.comparison import replicas
from memsc.analysis.comparison.change import Change, in_turn
from memsc.analysis.comparison.replicas import Metric, Replica
from memsc.analysis.data.scan import Cell
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import InTurn, Side

CASE = "program"
"""What the work of both sides is called in their comparison."""
OF_A_SIDE = 2
"""Rounds of a side in a turn."""
FEWEST_TURNS = 8
_LONGEST = 34


class Turns:
    """The sides of a comparison that was recorded in turn.

    Args:
        trace: the session's.

    Raises:
        MemscError: it was not recorded so.
    """

    units = "turns"
    beside: str | None = None

    def __init__(self, trace: Trace) -> None:
        self.base: Sequence[Trace] = [trace]
        self.new: Sequence[Trace] = [trace]
        self.history: Sequence[Trace] = []
        self._trace = trace
        self._sides = sides_of(trace)

    @property
    def names(self) -> tuple[str, str]:
        """The sides, for a title."""
        return names_of(self._sides.base, self._sides.new)

    @property
    def replicas(self) -> tuple[list[Replica], list[Replica]]:
        """Of each side, turn by turn."""
        return self._replicas

    @cached_property
    def _replicas(self) -> tuple[list[Replica], list[Replica]]:
        numbers = sorted({r.turn for r in self._trace.session.rounds if r.recording})
        found = [turn for number in numbers if (turn := turn_of(self._trace, number))]
        return [base for base, _ in found], [new for _, new in found]

    def traces(self) -> list[tuple[str, Trace]]:
        """The trace, and what it is called in messages."""
        return [("both sides", self._trace)]

    def unsettled(self) -> str | None:
        """Why it is not known how much turns differ, if it is not."""
        turns = len(self.replicas[0])
        return None if turns >= FEWEST_TURNS else f"{turns} turns are whole, of {FEWEST_TURNS}"

    def settle(self) -> str:
        """How that would become known."""
        why = "a larger --at-most"
        if not self.unsettled():
            why += ", and a smaller --within"
        return f"To settle it, record again with {why}"

    def change(
        self, cell: Cell, quantity: str, metric: Metric, base: Sequence[float], new: Sequence[float]
    ) -> Change:
        """The change of a figure; base and new are those of the turns, above 0."""
        del cell, quantity, metric
        return in_turn(base, new)

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """What a reader of the verdict should know beside it."""
        del cells
        return []


def sides_of(trace: Trace) -> InTurn:
    """The sides of a trace.

    Raises:
        MemscError: it has none.
    """
    if trace.session.in_turn is None:
        why = "its session did not record two sides in turn"
        raise MemscError(f"cannot compare {trace.name}", why, "name what it is to be beside", USAGE)
    return trace.session.in_turn


def turn_of(trace: Trace, number: int) -> tuple[Replica, Replica] | None:
    """Both sides of a turn, under NEW's arm; None where a round of it is missing.

    Args:
        trace: which; calls of other turns need not be in it.
        number: of the turn.
    """
    sides = sides_of(trace)
    found: list[Replica] = []
    for side in (sides.base, sides.new):
        mine = [
            r
            for r in trace.session.rounds
            if (r.arm, r.case, r.turn) == (side.arm, side.case, number)
            and r.recording
            and not (r.check or r.stopped)
        ]
        if len(mine) != OF_A_SIDE:
            return None
        found.append(replicas.rounds(trace, mine, sides.new.arm, CASE))
    return found[0], found[1]


def names_of(base: Side, new: Side) -> tuple[str, str]:
    """Both sides in few characters; of long ones, from where they differ."""
    words = [_words(side) for side in (base, new)]
    if max(len(" ".join(side)) for side in words) > _LONGEST:
        pairs = zip(*words, strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if 1 < alike < max(map(len, words)):
            words = [[side[0], "…", *side[alike:]] for side in words]
    first, second = (" ".join(side) for side in words)
    return _cut(first), _cut(second)


def _words(side: Side) -> list[str]:
    settings = [f"{name}={value}" for name, value in side.settings.items()]
    return [*settings, *map(shlex.quote, side.command)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
