# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Which calls of a trace an analysis looks at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from memsc.runtime.errors import USAGE, MemscError

OUTCOMES = ("ok", "error")


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters on calls; None lets everything pass.

    Attributes:
        arms, cases, syscalls: names.
        tids: thread numbers.
        outcome: "ok" (the kernel returned no error) or "error".
        start, end: window in cycles, on the stamp `called`; the end is not in it.
        checks: look at the check rounds, which probes disturb, instead of the others.
    """

    arms: frozenset[str] | None = None
    cases: frozenset[str] | None = None
    syscalls: frozenset[str] | None = None
    tids: frozenset[int] | None = None
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
        needed = {"tids": "tid", "outcome": "result"}
        return [column for name, column in needed.items() if getattr(self, name) is not None]

    @property
    def trivial(self) -> bool:
        """Whether every call of the rounds looked at passes."""
        return all(getattr(self, f.name) is None for f in fields(self) if f.name != "checks")

    def mask(self, table: pa.Table) -> NDArray[np.bool_] | None:
        """Which rows of a part pass; None if all do."""
        passes: list[NDArray[np.bool_]] = []
        for column, wanted in (
            ("arm", self.arms),
            ("case", self.cases),
            ("syscall", self.syscalls),
        ):
            if wanted is not None:
                passes.append(_among(table, column, wanted))
        if self.tids is not None:
            passes.append(np.isin(_numbers(table, "tid"), list(self.tids)))
        if self.outcome is not None:
            passes.append((_numbers(table, "result") < 0) == (self.outcome == "error"))
        if self.start is not None:
            passes.append(_numbers(table, "called") >= self.start)
        if self.end is not None:
            passes.append(_numbers(table, "called") < self.end)
        return np.logical_and.reduce(passes) if passes else None


def names(wanted: str | Collection[str] | None) -> frozenset[str] | None:
    """One name or several as a filter."""
    if wanted is None:
        return None
    return frozenset([wanted] if isinstance(wanted, str) else wanted)


def _among(table: pa.Table, column: str, wanted: frozenset[str]) -> NDArray[np.bool_]:
    options = pa.array(sorted(wanted), pa.string())
    plain = table[column].cast(pa.string())
    return pc.is_in(plain, value_set=options).to_numpy()


def _numbers(table: pa.Table, column: str) -> NDArray[np.int64]:
    return table[column].to_numpy()
