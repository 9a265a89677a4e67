# SPDX-License-Identifier: MIT
"""NEW against BASE: the relative change of every figure, with its interval and a verdict.

A change is called slower or faster when its interval leaves out zero and it is as large as
`LEAST_EFFECT`: with a million calls, next to nothing is significant too. Two recordings of the same
thing differ; how often that raises a false alarm is what `LEVEL` says, and tests count it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.comparison.shift import COLUMNS as SHIFT_COLUMNS
from memsc.analysis.comparison.shift import shifts
from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.order import few, natural
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import PERCENTILES, Resampled, insufficient, ratio
from memsc.analysis.trace import Trace, open_one
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("mean", *PERCENTILES)
LEAST_EFFECT = 0.01
"""A relative change below it is named no change, however sure."""
COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "metric"),
    *("base_ns", "new_ns", "change", "low", "high", "interval", "verdict", "reason"),
]
"""Columns of `df_compare`; changes are relative, 0.05 is 5 % more."""
UNCHANGED = "no change seen"

_TERM = re.compile(
    r"\s*(?P<arm>[\w-]+)(?:/(?P<case>[\w-]+))?\.(?P<stage>\w+)\.(?P<metric>\w+(?:\.\d+)?)"
    r"\s*(?P<sign>[<>])\s*(?P<bound>[+-]?\d+(?:\.\d+)?)\s*(?P<unit>%|ns|us|µs|ms|s)\s*"
)
_UNITS = {"%": 0.01, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


@dataclass(frozen=True, slots=True)
class Condition:
    """One term of `--fail-if`: `ARM[/CASE].STAGE.METRIC > +5%` (or `< -5%`, or `> 300ns`).

    A percentage is about the change against BASE and also needs an interval without zero; an
    absolute bound is about NEW and also needs its interval beyond the bound.
    """

    text: str
    arm: str
    case: str | None
    stage: str
    metric: str
    above: bool
    bound: float
    relative: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a condition is met, with what was found; `met` is None if it cannot be told."""

    condition: Condition
    met: bool | None
    found: str


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
        if stage not in QUANTITIES:
            remedy = f"it is one of {', '.join(QUANTITIES)}"
            raise MemscError(what, f"there is no stage {stage}", remedy, USAGE)
        if metric not in METRICS:
            remedy = f"it is one of {', '.join(METRICS)}"
            raise MemscError(what, f"there is no metric {metric}", remedy, USAGE)
        relative = match["unit"] == "%"
        bound = float(match["bound"]) * _UNITS[match["unit"]]
        above = match["sign"] == ">"
        found.append(
            Condition(
                term.strip(), match["arm"], match["case"], stage, metric, above, bound, relative
            )
        )
    return found


class Comparison:
    """Two traces of the same arms and cases.

    Args:
        base: what it was.
        new: what it is now.

    Raises:
        MemscError: one holds snapshots, chosen calls that stand for no others.
    """

    def __init__(self, base: Trace, new: Trace) -> None:
        for side in (base, new):
            side.stages.need_sample(f"cannot compare {side.name}")
        self.base = base
        self.new = new
        self._resampled: dict[Cell, tuple[Resampled, Resampled]] = {}

    def withheld(self) -> list[str]:
        """Why no verdict may be given: calls are missing, or the traces have nothing in common."""
        sides = (("BASE", self.base), ("NEW", self.new))
        found = [f"{name}: {why}" for name, side in sides for why in side.checks.withheld()]
        if not self.shared():
            has = [f"{name} has {_has(side)}" for name, side in sides]
            found.append(f"no arm and case is in both traces: {', '.join(has)}")
        return found

    def unrecorded(self) -> list[str]:
        """What ran in either and was not recorded."""
        sides = (("BASE", self.base), ("NEW", self.new))
        return [f"{name}: {what}" for name, side in sides for what in side.checks.unrecorded()]

    def shared(self) -> set[Cell]:
        """What can be compared: the cells that both traces have.

        What is there to wait is not: how long a program had nothing to do is no change of calls.
        """
        both = set(self.base.stages.cells()) & set(self.new.stages.cells())
        return {cell for cell in both if cell.mode != WAIT}

    def df_compare(self, syscalls: bool = False) -> pd.DataFrame:
        """The relative change of mean and percentiles, per stage.

        Args:
            syscalls: per system call too.

        Returns:
            One row per arm, case, system call, mode, stage and metric that both traces have, with
            the columns `COLUMNS`; low and high bound the change at 95 %. The verdict is "slower",
            "faster", "no change seen" (the interval holds zero, or the change is below
            `LEAST_EFFECT`) or "insufficient", the latter with its reason; `change` is then NaN.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = ma.compare(t, t).df_compare()
            >>> sorted(set(frame["verdict"]))
            ['insufficient', 'no change seen']
        """
        rows = [row for cell in self._cells(syscalls) for row in self._cell(cell)]
        return pd.DataFrame(rows, columns=COLUMNS)

    def df_shift(self, stage: str = TOTAL, syscalls: bool = False) -> pd.DataFrame:
        """By how much each quantile moved: the shift function, with intervals.

        Args:
            stage: one of the stages, or the total.
            syscalls: per system call too.

        Returns:
            One row per arm, case, system call, mode and quantile (0.05 to 0.999) that both traces
            have, with the columns of `comparison.shift.COLUMNS`, in nanoseconds; low and high bound
            `shift_ns` (new minus base) at 95 %, each quantile for itself. With fewer than 20 calls
            above a quantile its figures are NaN and `reason` says so.

        Raises:
            MemscError: there is no such stage.

        Example:
            >>> frame = ma.compare(t, t).df_shift()
            >>> frame.query("arm == 'memsc' and quantile == 0.5")["shift_ns"].tolist()
            [0.0]
        """
        if stage not in QUANTITIES:
            remedy = f"it is one of {', '.join(QUANTITIES)}"
            raise MemscError(f"cannot show the shift of {stage}", "no such stage", remedy, USAGE)
        ns = (self.base.session.clock.ns_per_cycle, self.new.session.clock.ns_per_cycle)
        rows = [
            row
            for cell in self._cells(syscalls)
            for row in shifts(cell, stage, *self._sides(cell), ns)
        ]
        return pd.DataFrame(rows, columns=SHIFT_COLUMNS)

    def plot_shift(self, stage: str = TOTAL, case: str | None = None) -> Figure:
        """Draws `df_shift`, one line an arm; synchronous calls of one case.

        Args:
            stage: one of the stages, or the total.
            case: which case; by default `sync`, or else the first that both traces have.

        Raises:
            MemscError: no such stage, or the traces do not share the case.

        Example:
            >>> ma.compare(t, t).plot_shift().savefig(file)
        """
        from memsc.analysis.figures.shift import plot_shift  # noqa: PLC0415 (slow to import)

        frame = self.df_shift(stage)
        cases = sorted(set(frame["case"]), key=natural)
        chosen = case or (cases[0] if cases else None)
        mine = frame[frame["case"] == chosen]
        if mine.empty:
            why = f"the traces share {', '.join(cases) or 'no case'}"
            raise MemscError(f"cannot draw {case or 'a shift'}", why, "name one of them", USAGE)
        return plot_shift(mine[mine["mode"] == mine["mode"].iloc[0]])

    def plot_compare(self, metric: str = "mean") -> Figure:
        """Draws `df_compare`: the relative change of each stage with its interval.

        Args:
            metric: "mean" or a percentile.

        Raises:
            MemscError: there is no such metric.

        Example:
            >>> ma.compare(t, t).plot_compare("p50").savefig(file)
        """
        from memsc.analysis.figures.forest import plot_forest  # noqa: PLC0415 (slow to import)

        if metric not in METRICS:
            remedy = f"it is one of {', '.join(METRICS)}"
            raise MemscError(f"cannot draw {metric}", "there is no such metric", remedy, USAGE)
        frame = self.df_compare()
        rows = [
            {**row, "label": f"{row['arm']} {row['case']} {row['stage']}", "value": row["change"]}
            for row in frame[frame["change"].notna()].to_dict("records")
            if row["metric"] == metric
        ]
        return plot_forest(rows, f"Change of the {metric}", "{:+.1%}".format, one=0.0)

    def judge(self, conditions: list[Condition]) -> list[Outcome]:
        """Whether each condition is met.

        Raises:
            MemscError: a condition names an arm or case that the traces do not share.
        """
        frame = self.df_compare()
        return [self._judge(condition, frame) for condition in conditions]

    def _judge(self, condition: Condition, frame: pd.DataFrame) -> Outcome:
        fits = frame[
            (frame["arm"] == condition.arm)
            & (frame["stage"] == condition.stage)
            & (frame["metric"] == condition.metric)
        ]
        cases = sorted(set(fits["case"]), key=natural)
        case = condition.case or (cases[0] if cases else None)
        fits = fits[fits["case"] == case]
        if fits.empty:
            raise MemscError(
                f"cannot judge '{condition.text}'",
                f"the traces do not share {condition.arm}/{case or 'any case'}",
                f"BASE has {_has(self.base)}",
                USAGE,
            )
        row = fits.iloc[0].to_dict()
        if row["verdict"] == "insufficient":
            return Outcome(condition, None, f"{condition.text}: {row['reason']}")
        change, low, high = row["change"], row["low"], row["high"]
        value, beyond = (change, 0.0) if condition.relative else (row["new_ns"], condition.bound)
        if not condition.relative:
            low, high = (1 + low) * row["base_ns"], (1 + high) * row["base_ns"]
        if condition.above:
            met = value > condition.bound and low > beyond
        else:
            met = value < condition.bound and high < beyond
        found = f"{change:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})"
        return Outcome(condition, bool(met), f"{condition.text}: {found}")

    def _cell(self, cell: Cell) -> Iterator[dict[str, Any]]:
        base, new = self._sides(cell)
        for quantity, stage in enumerate(QUANTITIES):
            names = {**cell._asdict(), "stage": stage}
            b, n = _figures(base, quantity), _figures(new, quantity)
            for metric in METRICS:
                why = _why_not(base, new, quantity, metric)
                row = {**names, "metric": metric, "reason": why, "verdict": "insufficient"}
                if why is None:
                    row |= self._change(b[metric], n[metric], base, new)
                yield row

    def _change(self, b: _Figure, n: _Figure, base: Resampled, new: Resampled) -> dict[str, Any]:
        scales = [side.session.clock.ns_per_cycle for side in (self.base, self.new)]
        was, now = b.value * scales[0], n.value * scales[1]
        interval = ratio(
            n.values * scales[1], b.values * scales[0], [base.resampling, new.resampling]
        )
        low, high = interval.low - 1, interval.high - 1
        row: dict[str, Any] = {"base_ns": was, "new_ns": now, "low": low, "high": high}
        row["change"] = now / was - 1 if was else float("nan")
        row["interval"] = interval.basis
        if not was or not np.isfinite([low, high]).all():
            return row | {"reason": "insufficient: too few rounds or times of zero"}
        large = abs(row["change"]) >= LEAST_EFFECT
        verdict = "slower" if low > 0 and large else "faster" if high < 0 and large else UNCHANGED
        return row | {"verdict": verdict}

    def _cells(self, syscalls: bool) -> list[Cell]:
        shared = self.shared()
        return [
            cell
            for cell in self.base.stages.cells()
            if cell in shared and (syscalls or cell.syscall == ALL)
        ]

    def _sides(self, cell: Cell) -> tuple[Resampled, Resampled]:
        if cell not in self._resampled:
            # Other draws than in the other trace: the two were recorded apart.
            self._resampled[cell] = (
                Resampled(self.base.cells.sketches[cell], "/".join(("base", *cell))),
                Resampled(self.new.cells.sketches[cell], "/".join(("new", *cell))),
            )
        return self._resampled[cell]

    def _repr_html_(self) -> str:
        names = " → ".join(html.escape(side.name) for side in (self.base, self.new))
        why = "".join(f"<p>verdict withheld: {html.escape(why)}</p>" for why in self.withheld())
        frame = self.df_compare()
        shown = frame[(frame["stage"] == TOTAL) & frame["metric"].isin(["mean", "p50", "p99"])]
        wanted = ["arm", "case", "metric", "base_ns", "new_ns", "change", "low", "high", "verdict"]
        table = shown[wanted].to_html(index=False, float_format="{:.4g}".format)
        return f"<b>memsc comparison {names}</b>{why}{table}"


def compare(base: Trace | str | Path, new: Trace | str | Path) -> Comparison:
    """Compares two traces: `df_compare`, `df_shift`, `plot_shift`, `judge`.

    Args:
        base: what it was: an opened trace, also with filters, or a folder.
        new: what it is now.

    Raises:
        MemscError: one of them cannot be opened.

    Example:
        >>> frame = ma.compare(t.where(arm="memsc"), t).df_compare()
        >>> set(frame["arm"]), "slower" in set(frame["verdict"])
        ({'memsc'}, False)
    """
    sides = [side if isinstance(side, Trace) else open_one(side) for side in (base, new)]
    return Comparison(*sides)


def _has(trace: Trace) -> str:
    """The arms and cases of a trace, a few of them named."""
    names = dict.fromkeys(f"{cell.arm}/{cell.case}" for cell in trace.stages.cells())
    return few(list(names)) or "no calls"


@dataclass(frozen=True, slots=True)
class _Figure:
    value: float
    values: NDArray[np.float64]


def _figures(side: Resampled, quantity: int) -> dict[str, _Figure]:
    whole = side.whole
    rows = side.quantiles(quantity, list(PERCENTILES.values()))
    quantiles = {
        name: _Figure(whole.histograms[quantity].quantile(q), row)
        for (name, q), row in zip(PERCENTILES.items(), rows, strict=True)
    }
    mean = _Figure(int(whole.sums[quantity]) / whole.n, side.means(quantity))
    return {"mean": mean, **quantiles}


def _why_not(base: Resampled, new: Resampled, quantity: int, metric: str) -> str | None:
    if metric == "mean":
        return None
    reasons = [insufficient(side.whole, quantity, PERCENTILES[metric]) for side in (base, new)]
    return next((reason for reason in reasons if reason), None)
