# SPDX-License-Identifier: MIT
"""Where the time of a call goes: per arm, case, system call and stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from memsc.analysis.data.histogram import middle
from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.order import natural
from memsc.analysis.data.scan import ALL, Cell, Cells
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import (
    PERCENTILES,
    SAMPLES_ABOVE,
    Resampled,
    insufficient,
)
from memsc.runtime.errors import MemscError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "n", "rounds"),
    *("mean_ns", "mean_low_ns", "mean_high_ns", "share", "interval"),
    *(f"{p}{end}_ns" for p in PERCENTILES for end in ("", "_low", "_high")),
    *(f"{p}_reason" for p in PERCENTILES),
    "max_ns",
]
"""Columns of `df_stages`."""
_DISTRIBUTION = ["arm", "case", "mode", "total_ns", "above"]


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

    def of_case(self, case: str | None) -> list[Cell]:
        """The cells of every system call together in one case, one per arm and mode.

        Those that wait are left out, unless there are no others.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded, or the calls were chosen.
        """
        self.need_sample("cannot draw the stages")
        cells = [cell for cell in self.cells() if cell.syscall == ALL]
        cases = sorted({cell.case for cell in cells}, key=natural)
        wanted = case or (cases[0] if cases else None)
        found = [cell for cell in cells if cell.case == wanted]
        found = [cell for cell in found if cell.mode != WAIT] or found
        if not found:
            why = f"no call of case {wanted} was recorded" if wanted else "no call was recorded"
            known = f"its cases are {', '.join(cases)}" if cases else "record it again"
            raise MemscError("cannot draw the stages", why, known)
        return found

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
            with the columns `COLUMNS`. The mode is "sync", "async" (posted ahead) or "wait" (of
            `memsc.analysis.data.modes.WAITS`): what waits is in no figure of the others. A
            percentile with fewer than 20 calls above it is NaN and its `_reason` says so.
            `interval` names what the intervals are over: "rounds", "blocks" (of one run: says
            nothing about other runs) or "none". Means add up to the total's mean, and shares to 1;
            percentiles do not add.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.stages.df_stages(syscalls=False, intervals=False)
            >>> frame.query("stage == 'total'")[["arm", "n", "rounds"]].values.tolist()
            [['direct', 2744, 4], ['ipi', 2744, 4], ['memsc', 2744, 4]]
        """
        wanted = [cell for cell in self.cells() if syscalls or cell.syscall == ALL]
        return self.frame(wanted, intervals)

    def df_distribution(self) -> pd.DataFrame:
        """The share of calls that take longer than a time, of all system calls together.

        Returns:
            One row per arm, case, mode and time that calls took: arm, case, mode, total_ns, and
            above, the share of the calls that took longer; 1 at the first. It ends where fewer than
            20 calls took longer. Empty where calls were chosen.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.stages.df_distribution().query("arm == 'memsc'")
            >>> float(frame["above"].iloc[0]), bool(frame["total_ns"].is_monotonic_increasing)
            (1.0, True)
        """
        cells = [] if self.chosen else self.cells()
        return self.distribution([cell for cell in cells if cell.syscall == ALL])

    def plot_stages(self, case: str | None = None) -> Figure:
        """The mean share of each stage per arm: means add up, so they may be stacked.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.stages.plot_stages().savefig(file)
        """
        from memsc.analysis.figures.stages import plot_stages  # noqa: PLC0415 (slow to import)

        return plot_stages(self.frame(self.of_case(case)))

    def plot_distribution(self, case: str | None = None) -> Figure:
        """The share of calls that take longer than a total time, as far as calls support it.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.stages.plot_distribution().savefig(file)
        """
        from memsc.analysis.figures.stages import plot_distribution  # noqa: PLC0415 (slow to import)

        return plot_distribution(self.distribution(self.of_case(case)))

    def plot_overview(self, case: str | None = None) -> Figure:
        """Both at once: what a call's time is made of, and how far it strays.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.stages.plot_overview().savefig(file)
        """
        from memsc.analysis.figures.stages import plot_overview  # noqa: PLC0415 (slow to import)

        cells = self.of_case(case)
        return plot_overview(self.frame(cells), self.distribution(cells))

    def frame(self, cells: Sequence[Cell], intervals: bool = False) -> pd.DataFrame:
        """`df_stages` of some cells."""
        import pandas as pd  # noqa: PLC0415 (slow to import; an export needs the sketches alone)

        rows = [
            self._row(cell, quantity, intervals)
            for cell in cells
            for quantity in range(len(QUANTITIES))
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def distribution(self, cells: Sequence[Cell]) -> pd.DataFrame:
        """`df_distribution` of some cells."""
        import pandas as pd  # noqa: PLC0415 (slow to import)

        frames = [pd.DataFrame(columns=_DISTRIBUTION)]
        for cell in cells:
            histogram = self.resampled(cell).whole.histograms[QUANTITIES.index(TOTAL)]
            above = 1 - np.cumsum(histogram.counts) / histogram.n
            known = above * histogram.n >= SAMPLES_ABOVE
            bins = np.append(histogram.bins[:1], histogram.bins[known])
            frame = pd.DataFrame(
                {
                    "total_ns": middle(bins) * self.ns_per_cycle,
                    "above": np.append(1.0, above[known]),
                }
            )
            frames.append(frame.assign(arm=cell.arm, case=cell.case, mode=cell.mode)[_DISTRIBUTION])
        return pd.concat(frames[1:] or frames, ignore_index=True)

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
