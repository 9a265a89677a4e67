# SPDX-License-Identifier: MIT
"""Which calls of a trace an analysis looks at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format.arrays import numbers

OUTCOMES = ("ok", "error")


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters on calls; None lets everything pass.

    Attributes:
        arms, cases, syscalls: names.
        tids, pids: numbers of threads and processes.
        comms: command names of processes.
        outcome: "ok" (the kernel returned no error) or "error".
        start, end: window in cycles, on the stamp `called`; the end is not in it.
        checks: look at the check rounds, which probes disturb, instead of the others.
    """

    arms: frozenset[str] | None = None
    cases: frozenset[str] | None = None
    syscalls: frozenset[str] | None = None
    tids: frozenset[int] | None = None
    pids: frozenset[int] | None = None
    comms: frozenset[str] | None = None
    outcome: str | None = None
    start: int | None = None
    end: int | None = None
    checks: bool = False

    def __post_init__(self) -> None:
        if self.outcome not in (None, *OUTCOMES):
            raise MemscError(
                f"cannot select outcome {self.outcome}",
                f"it is one of {', '.join(OUTCOMES)}",
                "name one of them",
                USAGE,
            )

    @property
    def columns(self) -> list[str]:
        """Columns the filters need beyond those of every scan."""
        needed = {"tids": "tid", "pids": "pid", "comms": "comm", "outcome": "result"}
        return [column for name, column in needed.items() if getattr(self, name) is not None]

    @property
    def words(self) -> list[str]:
        """Each filter in a few words, as `comm nginx`; a window is only named."""
        found: dict[str, list[str]] = {}
        for name, word in _FILTERS.items():
            value = getattr(self, name)
            if value is not None:
                values = [value] if isinstance(value, str) else value
                shown = [] if name in ("start", "end") else sorted(map(str, values))
                found.setdefault(word, []).extend(shown)
        return [" ".join([word, ", ".join(values)]).strip() for word, values in found.items()]

    def has(self, arm: str, case: str) -> bool:
        """Whether calls of an arm and case may pass."""
        return (self.arms is None or arm in self.arms) and (
            self.cases is None or case in self.cases
        )

    @property
    def cut(self) -> bool:
        """Whether rounds are not looked at whole: by more than arms and cases."""
        return any(getattr(self, name) is not None for name in _FILTERS if name not in _OF_ROUNDS)

    def during(self, cycles: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which moments lie in the window."""
        start = -np.inf if self.start is None else self.start
        end = np.inf if self.end is None else self.end
        return (cycles >= start) & (cycles < end)

    def only(self, *kept: str, what: str, why: str) -> None:
        """Refuses filters that an analysis cannot follow: it must not show more than was asked for.

        Args:
            kept: names of the attributes that it follows.
            what: the analysis in a reader's words.
            why: it cannot follow the others.

        Raises:
            MemscError: another filter is set; it says which to leave out.
        """
        others = dict.fromkeys(
            word
            for name, word in _FILTERS.items()
            if name not in kept and getattr(self, name) is not None
        )
        if others:
            remedy = f"select without {', '.join(others)}"
            raise MemscError(f"cannot show {what} of some calls", why, remedy, USAGE)

    def mask(self, table: pa.Table) -> NDArray[np.bool_] | None:
        """Which rows of a part pass; None if all do."""
        passes: list[NDArray[np.bool_]] = []
        for column, wanted in (
            ("arm", self.arms),
            ("case", self.cases),
            ("syscall", self.syscalls),
            ("comm", self.comms),
        ):
            if wanted is not None:
                passes.append(_among(table, column, wanted))
        for column, numbers_wanted in (("tid", self.tids), ("pid", self.pids)):
            if numbers_wanted is not None:
                passes.append(np.isin(numbers(table[column]), list(numbers_wanted)))
        if self.outcome is not None:
            passes.append((numbers(table["result"]) < 0) == (self.outcome == "error"))
        if self.start is not None:
            passes.append(numbers(table["called"]) >= self.start)
        if self.end is not None:
            passes.append(numbers(table["called"]) < self.end)
        return np.logical_and.reduce(passes) if passes else None


_FILTERS = {
    "arms": "arm",
    "cases": "case",
    "syscalls": "syscall",
    "tids": "tid",
    "pids": "pid",
    "comms": "comm",
    "outcome": "outcome",
    "start": "a window",
    "end": "a window",
}
_OF_ROUNDS = ("arms", "cases")


def names(wanted: str | Collection[str] | None) -> frozenset[str] | None:
    """One name or several as a filter."""
    if wanted is None:
        return None
    return frozenset([wanted] if isinstance(wanted, str) else wanted)


def whole_numbers(wanted: int | Collection[int] | None) -> frozenset[int] | None:
    """One number or several as a filter."""
    if wanted is None:
        return None
    return frozenset([wanted] if isinstance(wanted, int) else wanted)


def _among(table: pa.Table, column: str, wanted: frozenset[str]) -> NDArray[np.bool_]:
    import pyarrow.compute as pc  # noqa: PLC0415 (slow to import, and seldom needed)

    options = pa.array(sorted(wanted), pa.string())
    plain = table[column].cast(pa.string())
    return pc.is_in(plain, value_set=options).to_numpy()
