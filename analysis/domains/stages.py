# SPDX-License-Identifier: MIT
"""Where the time of a call goes: per arm, case, system call and stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from memsc.analysis.data.scan import ALL, Cell, Cells
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import PERCENTILES, Resampled, insufficient
from memsc.runtime.errors import MemscError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "n", "rounds"),
    *("mean_ns", "mean_low_ns", "mean_high_ns", "share", "interval"),
    *(f"{p}{end}_ns" for p in PERCENTILES for end in ("", "_low", "_high")),
    *(f"{p}_reason" for p in PERCENTILES),
    "max_ns",
]
"""Columns of `df_stages`."""


class Stages:
    """Stages of the calls of a trace.

    Args:
        cells: gives the sketches; called when first needed.
        ns_per_cycle: the trace's clock.
        order: arms in the order they are shown.
        chosen: why these calls are no sample of all calls, if so: then no distribution is known.
    """

    def __init__(
        self,
        cells: Callable[[], Cells],
        ns_per_cycle: float,
        order: Sequence[str],
        chosen: str | None = None,
    ) -> None:
        self.chosen = chosen
        self._cells = cells
        self.ns_per_cycle = ns_per_cycle
        self._order = list(order)
        self._resampled: dict[Cell, Resampled] = {}

    def need_sample(self, what: str) -> None:
        """Refuses figures of the distribution where the calls were chosen.

        Args:
            what: what was to be done.

        Raises:
            MemscError: they were.
        """
        if self.chosen:
            raise MemscError(what, self.chosen, "record again without --snapshot")

    def cells(self) -> list[Cell]:
        """What is reported together, in the order it is shown."""
        return sorted(self._cells().sketches, key=self._rank)

    def resampled(self, cell: Cell) -> Resampled:
        """A cell's resamples: drawn once, shared by every figure."""
        if cell not in self._resampled:
            seed = "/".join(cell)
            self._resampled[cell] = Resampled(self._cells().sketches[cell], seed)
        return self._resampled[cell]

    def df_stages(self, syscalls: bool = True, intervals: bool = True) -> pd.DataFrame:
        """Mean, percentiles, maximum and share of each stage and of the total.

        Args:
            syscalls: one row per system call too, not only for all of them together.
            intervals: 95 % intervals; without them it is faster.

        Returns:
            One row per arm, case, system call ("all": together), mode and stage, in nanoseconds,
            with the columns `COLUMNS`. A percentile with fewer than 20 calls above it is NaN and
            its `_reason` says so. `interval` names what the intervals are over: "rounds", "blocks"
            (of one run: says nothing about other runs) or "none". Means add up to the total's mean,
            and shares to 1; percentiles do not add.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.stages.df_stages(syscalls=False, intervals=False)
            >>> frame.query("stage == 'total'")[["arm", "n", "rounds"]].values.tolist()
            [['direct', 2744, 4], ['ipi', 2744, 4], ['memsc', 2744, 4]]
        """
        wanted = [cell for cell in self.cells() if syscalls or cell.syscall == ALL]
        rows = [
            self._row(cell, quantity, intervals)
            for cell in wanted
            for quantity in range(len(QUANTITIES))
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def plot_stages(self, case: str | None = None) -> Figure:
        """The mean share of each stage per arm: means add up, so they may be stacked.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.stages.plot_stages().savefig(file)
        """
        from memsc.analysis.figures.plots import plot_stages  # noqa: PLC0415 (slow to import)

        return plot_stages(self, case)

    def plot_distribution(self, case: str | None = None) -> Figure:
        """The share of calls that take longer than a total time, as far as calls support it.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.stages.plot_distribution().savefig(file)
        """
        from memsc.analysis.figures.plots import plot_distribution  # noqa: PLC0415 (slow to import)

        return plot_distribution(self, case)

    def _row(self, cell: Cell, quantity: int, intervals: bool) -> dict[str, Any]:
        resampled = self.resampled(cell)
        whole, ns = resampled.whole, self.ns_per_cycle
        total = int(whole.sums[QUANTITIES.index(TOTAL)])
        row: dict[str, Any] = {
            **cell._asdict(),
            "stage": QUANTITIES[quantity],
            "n": whole.n,
            "rounds": resampled.rounds,
            "mean_ns": int(whole.sums[quantity]) / whole.n * ns,
            "share": int(whole.sums[quantity]) / total if total else float("nan"),
            "max_ns": int(whole.maxs[quantity]) * ns,
            "interval": resampled.resampling.basis if intervals else "none",
        }
        if self.chosen:
            # Only the slowest call of all is known to be among them.
            unknown = dict.fromkeys(("mean_ns", "share", "max_ns"), float("nan"))
            if QUANTITIES[quantity] == TOTAL:
                unknown.pop("max_ns")
            reasons = {f"{p}_reason": self.chosen for p in PERCENTILES}
            return row | unknown | reasons | {"interval": "none"}
        reasons = {p: insufficient(whole, quantity, q) for p, q in PERCENTILES.items()}
        known = [p for p, reason in reasons.items() if reason is None]
        row.update({f"{p}_reason": reason for p, reason in reasons.items()})
        histogram = whole.histograms[quantity]
        row.update({f"{p}_ns": histogram.quantile(PERCENTILES[p]) * ns for p in known})
        if intervals:
            mean = resampled.mean_interval(quantity).scaled(ns)
            row["mean_low_ns"], row["mean_high_ns"] = mean.low, mean.high
            found = resampled.quantile_intervals(quantity, [PERCENTILES[p] for p in known])
            for p, interval in zip(known, found, strict=True):
                row[f"{p}_low_ns"] = interval.low * ns
                row[f"{p}_high_ns"] = interval.high * ns
        return row

    def _rank(self, cell: Cell) -> tuple[Any, ...]:
        arm = self._order.index(cell.arm) if cell.arm in self._order else len(self._order)
        return (natural(cell.case), arm, cell.arm, cell.syscall != ALL, cell.syscall, cell.mode)


def natural(name: str) -> tuple[int, str, int]:
    """Orders cases: `sync` first, then by name with `batch-8` before `batch-64`."""
    head, _, tail = name.rpartition("-")
    number = int(tail) if head and tail.isdigit() else 0
    return (name != "sync", head if number else name, number)


def few(names: Sequence[str], most: int = 4) -> str:
    """Names for a sentence: a handful, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
