# SPDX-License-Identifier: MIT
"""Conditions of `--fail-if`: what is asked of a comparison, and what was found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memsc.analysis.comparison.replicas import METRICS, QUANTITIES_COMPARED
from memsc.runtime.errors import USAGE, MemscError

_TERM = re.compile(
    r"\s*(?P<arm>[\w-]+)(?:/(?P<case>[\w-]+))?\.(?P<stage>\w+)\.(?P<metric>\w+(?:\.\d+)?)"
    r"\s*(?P<sign>[<>])\s*(?P<bound>[+-]?\d+(?:\.\d+)?)\s*(?P<unit>%|ns|us|µs|ms|s)\s*"
)
_UNITS = {"%": 0.01, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


@dataclass(frozen=True, slots=True)
class Condition:
    """One term of `--fail-if`: `ARM[/CASE].STAGE.METRIC > +5%` (or `< -5%`, or `> 300ns`).

    A percentage is about the change against BASE: it is met by one that is that large and whose
    interval leaves out zero. An absolute bound is about NEW: it is met where the interval lies
    beyond it. Not met is only what the interval rules out; else it is not settled.
    """

    text: str
    arm: str
    case: str | None
    stage: str
    metric: str
    above: bool
    bound: float
    relative: bool

    def met(self, value: float, low: float, high: float) -> bool | None:
        """Whether it is, of a value and its interval; None where the interval leaves it open."""
        sign = 1 if self.above else -1
        value, bound = sign * value, sign * self.bound
        low, high = (low, high) if self.above else (-high, -low)
        if value > bound and low > (0 if self.relative else bound):
            return True
        return False if high < bound else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a condition is met, with what was found; `met` is None if it cannot be told.

    Where `near` is set the interval is why: it reaches across the bound.
    """

    condition: Condition
    met: bool | None
    found: str
    near: bool = False


def parse(expression: str) -> list[Condition]:
    """Reads a `--fail-if` expression: terms joined by `or`.

    Raises:
        MemscError: a term that cannot be read, or names no stage or metric.

    Example:
        >>> parse("memsc.total.p99 > +5%")[0].bound
        0.05
    """
    found: list[Condition] = []
    for term in re.split(r"\bor\b|,", expression):
        match = _TERM.fullmatch(term)
        what = f"cannot read --fail-if '{term.strip()}'"
        if not match:
            remedy = "write it as ARM[/CASE].STAGE.METRIC > +5%, or > 300ns"
            raise MemscError(what, "it is no condition", remedy, USAGE)
        stage, metric = match["stage"], re.sub(r"[._]", "", match["metric"])
        if stage not in QUANTITIES_COMPARED:
            remedy = f"it is one of {', '.join(QUANTITIES_COMPARED)}"
            raise MemscError(what, f"there is no stage {stage}", remedy, USAGE)
        if metric not in QUANTITIES_COMPARED[stage]:
            known = ", ".join(QUANTITIES_COMPARED[stage])
            why = f"there is no metric {metric}" if metric not in METRICS else f"{stage} has none"
            raise MemscError(what, why, f"it is one of {known}", USAGE)
        relative = match["unit"] == "%"
        bound = float(match["bound"]) * _UNITS[match["unit"]]
        above = match["sign"] == ">"
        found.append(
            Condition(
                term.strip(), match["arm"], match["case"], stage, metric, above, bound, relative
            )
        )
    return found
