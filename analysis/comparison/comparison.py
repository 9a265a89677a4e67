# SPDX-License-Identifier: MIT
"""NEW against BASE: the relative change of every figure, with its interval and a verdict.

A change is called slower or faster when its interval leaves out zero and it is as large as
`LEAST_EFFECT`: with a million calls, next to nothing is significant too. Two recordings of the same
thing differ; how often that raises a false alarm is what `LEVEL` says, and tests count it. What is
replicated is the session (`replicas`). One session a side says nothing of how sessions differ, so
its verdict is withheld.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memsc.analysis.comparison.conditions import Condition, Outcome
from memsc.analysis.comparison.replicas import METRICS, PROGRAM, Figure
from memsc.analysis.comparison.shift import COLUMNS as SHIFT_COLUMNS
from memsc.analysis.comparison.shift import shifts
from memsc.analysis.comparison.sides import Sessions, Sides
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import few, natural
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.trace import Trace, open_one
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

LEAST_EFFECT = 0.01
"""A relative change below it is named no change, however sure."""
COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "metric"),
    *("base_ns", "new_ns", "change", "low", "high", "interval", "verdict", "reason"),
]
"""Columns of `df_compare`; changes are relative, 0.05 is 5 % more."""
UNCHANGED, INSUFFICIENT, WITHHELD = "no change seen", "insufficient", "withheld"


class Comparison:
    """Two sides of the same arms and cases.

    Args:
        sides: what is compared.

    Raises:
        MemscError: a trace holds snapshots, chosen calls that stand for no others.
    """

    def __init__(self, sides: Sides) -> None:
        for _, trace in sides.traces():
            trace.stages.need_sample(f"cannot compare {trace.name}")
        self.sides = sides

    def withheld(self) -> list[str]:
        """Why no verdict may be given: calls are missing, nothing is shared, or sessions are."""
        traces = self.sides.traces()
        found = [f"{name}: {why}" for name, t in traces for why in t.checks.withheld()]
        if not self.shared():
            all_of = "both traces" if len(traces) == 2 else "all traces"
            has = [f"{name} has {_named(trace.stages.cells())}" for name, trace in traces[:4]]
            found.append(f"no arm and case is in {all_of}: {', '.join(has)}")
        elif why := self.sides.unsettled():
            found.append(why)
        return found

    def unrecorded(self) -> list[str]:
        """What ran in any and was not recorded."""
        traces = self.sides.traces()
        return [f"{name}: {what}" for name, t in traces for what in t.checks.unrecorded()]

    def uncounted(self) -> dict[str, int]:
        """What nobody counted that may have been called besides, and in how many traces."""
        every = [what for _, trace in self.sides.traces() for what in trace.checks.uncounted()]
        return dict(Counter(every))

    def notes(self) -> list[str]:
        """What a reader of the verdict should know beside it."""
        said = {trace.session.sparse for _, trace in self.sides.traces()}
        sparse = [f"in some traces {why}" for why in said if why] if len(said) > 1 else []
        return [*sparse, *self.sides.notes(self._cells(syscalls=False))]

    def shared(self) -> list[Cell]:
        """What can be compared: the cells that all replicas have."""
        base, new = self.sides.replicas
        every = base + new
        return [c for c in every[0].sketches if all(c in one.sketches for one in every)]

    def df_compare(self, syscalls: bool = False) -> pd.DataFrame:
        """The relative change of mean and percentiles, per stage, and of the program's time.

        Args:
            syscalls: per system call too.

        Returns:
            One row per arm, case, system call, mode, stage (or "program", its time as a whole) and
            metric that all traces have, with the columns `COLUMNS`. The sides are the geometric
            means of their sessions; low and high bound the change at 95 %, over what `interval`
            says. The verdict is "slower", "faster", "no change seen" (the interval holds zero, or
            the change is below `LEAST_EFFECT`), "withheld" (nobody knows how much sessions differ;
            low and high are NaN) or "insufficient" (`change` is NaN, too); the last two have their
            reason.

        Raises:
            MemscError: a part of a trace is damaged.

        Example:
            >>> frame = ma.compare(t, t).df_compare()
            >>> sorted(set(frame["verdict"]))
            ['insufficient', 'withheld']
        """
        rows = [row for cell in self._cells(syscalls) for row in self._cell(cell)]
        return pd.DataFrame(rows, columns=COLUMNS)

    def df_shift(self, stage: str = TOTAL, syscalls: bool = False) -> pd.DataFrame:
        """By how much each quantile moved: the shift function, with intervals.

        Args:
            stage: one of the stages, or the total.
            syscalls: per system call too.

        Returns:
            One row per arm, case, system call, mode and quantile (0.05 to 0.999) that all traces
            have, with the columns of `comparison.shift.COLUMNS`, in nanoseconds; low and high bound
            `shift_ns` (new minus base) at 95 %, each quantile for itself, and are NaN where nobody
            knows how much sessions differ. With fewer than 20 calls above a quantile its figures
            are NaN and `reason` says so.

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
        rows = [row for cell in self._cells(syscalls) for row in shifts(cell, stage, self.sides)]
        return pd.DataFrame(rows, columns=SHIFT_COLUMNS)

    def plot_shift(self, stage: str = TOTAL, case: str | None = None) -> Drawing:
        """Draws `df_shift`, one line an arm; synchronous calls of one case.

        Args:
            stage: one of the stages, or the total.
            case: which case; by default `sync`, or else the first that all traces have.

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

    def plot_compare(self, metric: str = "mean") -> Drawing:
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
                f"they share {_named(self.shared())}",
                USAGE,
            )
        row = fits.iloc[0].to_dict()
        if row["verdict"] in (INSUFFICIENT, WITHHELD):
            return Outcome(condition, None, f"{condition.text}: {row['reason']}")
        change, low, high = row["change"], row["low"], row["high"]
        if condition.relative:
            found = f"{change:+.1%} ({low:+.1%} to {high:+.1%})"
        else:
            change, low, high = ((1 + one) * row["base_ns"] for one in (change, low, high))
            found = f"{short_ns(change)} ({short_ns(low)} to {short_ns(high)})"
        met = condition.met(change, low, high)
        return Outcome(condition, met, f"{condition.text}: {found}", near=met is None)

    def _cell(self, cell: Cell) -> Iterator[dict[str, Any]]:
        base, new = self.sides.replicas
        every = [list(one.figures(cell)) for one in base + new]
        for each in zip(*every, strict=True):
            stage, metric, _ = each[0]
            figures = [figure for *_, figure in each]
            names = {**cell._asdict(), "stage": stage, "metric": metric}
            yield {**names, **self._row(cell, stage, metric, figures)}

    def _row(
        self, cell: Cell, stage: str, metric: str, figures: Sequence[Figure]
    ) -> dict[str, Any]:
        none = {"verdict": INSUFFICIENT, "interval": "none"}
        if why := next((figure for figure in figures if isinstance(figure, str)), None):
            return {**none, "reason": why}
        known = [float(figure) for figure in figures]
        if min(known) <= 0:
            return {**none, "reason": "insufficient: times of zero"}
        many = len(self.sides.replicas[0])
        base, new = known[:many], known[many:]
        found = self.sides.change(cell, stage, metric, base, new)
        was = float(np.exp(np.mean(np.log(base))))
        row = {"base_ns": was, "new_ns": was * (1 + found.value), "change": found.value}
        why = self.sides.unsettled()
        if why or not np.isfinite([found.low, found.high]).all():
            why = why or "how much sessions differ in it is not known"
            return {**row, "verdict": WITHHELD, "interval": "none", "reason": why}
        row |= {"low": found.low, "high": found.high, "reason": None}
        verdict = UNCHANGED
        if abs(found.value) >= LEAST_EFFECT:
            verdict = "slower" if found.low > 0 else "faster" if found.high < 0 else UNCHANGED
        return {**row, "verdict": verdict, "interval": self.sides.units}

    def _cells(self, syscalls: bool) -> list[Cell]:
        return [cell for cell in self.shared() if syscalls or cell.syscall == ALL]

    def _repr_html_(self) -> str:
        names = " → ".join(map(html.escape, self.sides.names))
        why = "".join(f"<p>verdict withheld: {html.escape(why)}</p>" for why in self.withheld())
        frame = self.df_compare()
        shown = frame[
            frame["stage"].isin([TOTAL, PROGRAM]) & frame["metric"].isin(["mean", "p50", "p99"])
        ]
        wanted = ["arm", "case", "stage", "metric", "base_ns", "new_ns", "change", "low", "high"]
        table = shown[[*wanted, "verdict"]].to_html(index=False, float_format="{:.4g}".format)
        return f"<b>memsc comparison {names}</b>{why}{table}"


Named = Trace | str | Path


def compare(
    base: Named | Sequence[Named],
    new: Named | Sequence[Named],
    history: Named | Sequence[Named] = (),
    beside: str | None = None,
) -> Comparison:
    """Compares sessions: `df_compare`, `df_shift`, `plot_shift`, `judge`.

    Args:
        base: what it was: an opened trace, also with filters, or a folder; or several of them.
        new: what it is now, likewise.
        history: other sessions of the same machine, likewise.
        beside: "direct" or "line": a reference that is taken out of what sessions differ by.

    Raises:
        MemscError: one of them cannot be opened.

    Example:
        >>> frame = ma.compare(t.where(arm="memsc"), t).df_compare()
        >>> set(frame["arm"]), "slower" in set(frame["verdict"])
        ({'memsc'}, False)
    """
    return Comparison(Sessions(_opened(base), _opened(new), _opened(history), beside))


def _opened(side: Named | Sequence[Named]) -> list[Trace]:
    given = [side] if isinstance(side, Trace | str | Path) else side
    return [one if isinstance(one, Trace) else open_one(one) for one in given]


def _named(cells: Sequence[Cell]) -> str:
    """The arms and cases of some cells, a few of them named."""
    return few(list(dict.fromkeys(f"{cell.arm}/{cell.case}" for cell in cells))) or "no calls"
