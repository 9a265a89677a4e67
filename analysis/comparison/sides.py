# SPDX-License-Identifier: MIT
"""The two sides of a comparison, and what a change between them is reckoned from."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

from memsc.analysis.comparison import replicas
from memsc.analysis.comparison.change import LEAST_FREEDOM, Change, apart, beside, follows, tells
from memsc.analysis.comparison.replicas import Metric, Replica
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError

REFERENCES = {"direct": "direct calls", "line": "the round trip of a line"}
"""What sessions may be compared beside."""
EXPLAINS = 0.8
"""Share of the spread within the sides from which a reference is worth naming."""
_ENOUGH = 6  # sessions, to name one


class Sides(Protocol):
    """How a comparison was recorded.

    Attributes:
        units: what is replicated, "sessions" or "turns".
        base: the traces of what it was.
        new: those of what it is now.
        history: those of neither, which show how much sessions differ.
        beside: the reference that is taken out.
    """

    units: str
    base: Sequence[Trace]
    new: Sequence[Trace]
    history: Sequence[Trace]
    beside: str | None

    @property
    def names(self) -> tuple[str, str]:
        """The sides, for a title."""
        ...

    @property
    def replicas(self) -> tuple[list[Replica], list[Replica]]:
        """Of each side."""
        ...

    def traces(self) -> list[tuple[str, Trace]]:
        """Every trace, and what it is called in messages."""
        ...

    def unsettled(self) -> str | None:
        """Why it is not known how much replicas differ, if it is not."""
        ...

    def settle(self) -> str:
        """How that would become known."""
        ...

    def change(
        self, cell: Cell, quantity: str, metric: Metric, base: Sequence[float], new: Sequence[float]
    ) -> Change:
        """The change of a figure; base and new are those of the replicas, above 0."""
        ...

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """What a reader of the verdict should know beside it."""
        ...


class Sessions:
    """Sessions that were recorded apart.

    Args:
        base: what it was.
        new: what it is now.
        history: other sessions of the same machine, which show how much its sessions differ.
        beside: a reference that is taken out, one of `REFERENCES`.

    Raises:
        MemscError: a session stands on one side twice, or there is no such reference.
    """

    units = "sessions"

    def __init__(
        self,
        base: Sequence[Trace],
        new: Sequence[Trace],
        history: Sequence[Trace] = (),
        beside: str | None = None,
    ) -> None:
        self.base, self.new, self.history, self.beside = base, new, history, beside
        for side in (base, new, history):
            _need_sessions(side)
        if beside is not None:
            _need_reference(beside, len(base) + len(new))
            if history:
                why = "how sessions differ is learned from the sides there"
                raise MemscError("--beside with --history", why, "leave one of them out", USAGE)

    @property
    def names(self) -> tuple[str, str]:
        """The sides, for a title: by their folders where these tell them apart."""
        sides = (self.base, self.new)
        base, new = ({trace.folder.path.absolute().parent.name for trace in one} for one in sides)
        if len(self.base) + len(self.new) > 2 and len(base) == len(new) == 1 and base != new:
            return f"{base.pop()} ({len(self.base)})", f"{new.pop()} ({len(self.new)})"
        return _names(self.base), _names(self.new)

    @property
    def replicas(self) -> tuple[list[Replica], list[Replica]]:
        """Of each side."""
        return self._replicas

    @cached_property
    def _replicas(self) -> tuple[list[Replica], list[Replica]]:
        base, new = ([replicas.session(trace) for trace in side] for side in (self.base, self.new))
        return base, new

    @cached_property
    def _past(self) -> list[Replica]:
        return [replicas.session(trace) for trace in self.history]

    def traces(self) -> list[tuple[str, Trace]]:
        """Every trace of the sides, and what it is called in messages."""
        return [
            (name if len(side) == 1 else f"{name} {trace.name}", trace)
            for name, side in (("BASE", self.base), ("NEW", self.new))
            for trace in side
        ]

    def unsettled(self) -> str | None:
        """Why it is not known how much sessions differ, if it is not."""
        base, new = len(self.base), len(self.new)
        if tells(base, new, len(self.history)):
            return None
        if base == new == 1:
            return "one session a side does not tell how much sessions of this machine differ"
        if min(base, new) == 1:
            return "a single session may have met a mood of the machine that comes seldom"
        return "so few sessions do not tell how much sessions of this machine differ"

    def settle(self) -> str:
        """How that would become known."""
        base, new = (_program(side[0]) for side in (self.base, self.new))
        many = "three or more" if self.unsettled() else "more"
        return (
            f"To settle it, record both in turn: memsc compare --record -o turns.memsc -- {base} "
            f"-- {new}\nOr record {many} sessions a side, by turns, and compare all: "
            "memsc compare base/*.memsc -- new/*.memsc"
        )

    def change(
        self, cell: Cell, quantity: str, metric: Metric, base: Sequence[float], new: Sequence[float]
    ) -> Change:
        """The change of a figure; base and new are those of the sessions, above 0."""
        if self.beside and (references := self._references(cell, self.beside)):
            return beside(base, new, references)
        past = [one.figure(cell, quantity, metric) for one in self._past if cell in one.sketches]
        return apart(base, new, [f for f in past if isinstance(f, float) and f > 0])

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """What a reader of the verdict should know beside it."""
        return [*self._one_after_the_other(), *self._explained(cells)]

    def _one_after_the_other(self) -> Iterator[str]:
        """Sides that are not mixed in time: whatever else changed in between is in the change."""
        if len(self.base) + len(self.new) < 3:
            return
        base, new = (
            sorted(trace.session.created for trace in side) for side in (self.base, self.new)
        )
        if base[-1] < new[0] or new[-1] < base[0]:
            yield (
                "all sessions of one side are older than the other's: what else changed on the "
                "machine is in the change, too; recorded by turns, it is not"
            )

    def _explained(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Which reference would make intervals narrower."""
        sides = self.replicas
        if self.beside or min(map(len, sides)) < 2 or sum(map(len, sides)) < _ENOUGH:
            return
        for cell in cells:
            figures = [[one.figure(cell, TOTAL, "p50") for one in side] for side in sides]
            base, new = ([f for f in side if isinstance(f, float) and f > 0] for side in figures)
            if cell.syscall != ALL or [len(base), len(new)] != [len(side) for side in sides]:
                continue
            for name, what in REFERENCES.items():
                references = self._references(cell, name)
                share = follows(base, new, references) if references else 0.0
                if share >= EXPLAINS:
                    yield (
                        f"{cell.arm}/{cell.case}: {what} account for {share:.0%} of how sessions "
                        f"differ; in comparisons to come, --beside {name} takes that out"
                    )

    def _references(self, cell: Cell, name: str) -> tuple[list[float], list[float]] | None:
        """A reference in the sessions of each side, if all of them have measured it."""
        if cell.arm == name:
            return None
        base, new = ([_reference(one, cell, name) for one in side] for side in self.replicas)
        known = [value for value in base if value], [value for value in new if value]
        return known if (len(known[0]), len(known[1])) == (len(base), len(new)) else None


def _need_sessions(side: Sequence[Trace]) -> None:
    paths = [trace.folder.path for trace in side]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        why = "a session counts once"
        raise MemscError(f"{twice} stands on one side twice", why, "name it once", USAGE)


def _need_reference(name: str, sessions: int) -> None:
    if name not in REFERENCES:
        remedy = f"it is one of {', '.join(REFERENCES)}"
        raise MemscError(f"--beside {name}", "there is no such reference", remedy, USAGE)
    if sessions < LEAST_FREEDOM + 3:
        why = f"how figures follow it is learned from {LEAST_FREEDOM + 3} sessions or more"
        raise MemscError(f"--beside {name}", why, "record more of them", USAGE)


def _reference(one: Replica, cell: Cell, name: str) -> float | None:
    if name == "line":
        return one.line_ns
    direct = cell._replace(arm="direct")
    figure = one.figure(direct, TOTAL, "p50") if direct in one.sketches else None
    return figure if isinstance(figure, float) and figure > 0 else None


def _program(trace: Trace) -> str:
    """What a session ran, as a shell would read it."""
    command = trace.session.command
    return "PROGRAM …" if command[:1] == ["memsc"] or not command else shlex.join(command)


def _names(side: Sequence[Trace]) -> str:
    return side[0].name if len(side) == 1 else f"{side[0].name} and {len(side) - 1} more"
