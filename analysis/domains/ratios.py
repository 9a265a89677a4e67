# SPDX-License-Identifier: MIT
"""What may be claimed: ratios between arms measured side by side, never absolute times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.scan import ALL
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import Resampling, ratio
from memsc.analysis.domains.stages import Stages
from memsc.analysis.domains.timings import LINE, Timings
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = "limit"
"""Direct execution plus one cache-line round trip: no synchronous forwarding can be faster."""
BASES = ("direct", "ipi", LIMIT)
_TOTAL = QUANTITIES.index(TOTAL)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure of one arm and case, cycles, and its resamples."""

    value: float
    values: NDArray[np.float64]
    resampling: Resampling


class Ratios:
    """Ratios of a trace's arms to `direct`, to `ipi` and to the limit.

    Args:
        stages: the trace's stages.
        timings: what its workload measured.
    """

    def __init__(self, stages: Stages, timings: Timings) -> None:
        self._stages = stages
        self._timings = timings

    def df_ratios(self) -> pd.DataFrame:
        """Each arm's time per call divided by another's, from the same run.

        Returns:
            One row per case, arm, base ("direct", "ipi", "limit"), metric ("mean", "p50") and
            source ("stamps": total of the recorded calls; "timings": from outside, not recorded):
            case, arm, base, metric, source, value_ns, base_ns, ratio, low, high, interval. Batches
            have no rows from stamps: their totals include time the caller was busy elsewhere.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.ratios.df_ratios().query("base == 'direct' and metric == 'p50'")
            >>> frame.set_index("arm")["ratio"].round().to_dict()
            {'ipi': 183.0, 'memsc': 2.0}
        """
        figures = dict(self._figures())
        rows: list[dict[str, Any]] = []
        for (case, arm, metric, source), mine in figures.items():
            for base in BASES:
                other = figures.get((case, base, metric, source))
                if base == LIMIT:
                    other = self._limit(figures, case, metric, source)
                if other is None or base == arm or not other.value:
                    continue
                rows.append(self._row((case, arm, base, metric, source), mine, other))
        return pd.DataFrame(rows, columns=_COLUMNS)

    def plot_ratios(self, base: str = "direct", metric: str = "mean") -> Figure:
        """Draws `df_ratios` on a logarithmic axis, with intervals.

        Args:
            base: what is divided by: "direct", "ipi" or "limit".
            metric: "mean" or "p50".

        Raises:
            MemscError: there is no such base or metric.

        Example:
            >>> t.ratios.plot_ratios("ipi").savefig(file)
        """
        from memsc.analysis.figures.forest import plot_forest  # noqa: PLC0415 (slow to import)

        what = f"cannot draw the {metric} over {base}"
        for value, known in ((base, BASES), (metric, ("mean", "p50"))):
            if value not in known:
                raise MemscError(what, f"{value} is neither", f"use {', '.join(known)}", USAGE)
        frame = self.df_ratios()
        frame = frame[(frame["base"] == base) & (frame["metric"] == metric)]
        # From stamps where there are any: they are the truth; from outside otherwise.
        frame = frame.drop_duplicates(["case", "arm"])
        rows = [
            {**row, "label": f"{row['arm']} {row['case']}", "value": row["ratio"]}
            for row in frame.to_dict("records")
        ]
        title = f"Times the {metric} of {base}"
        return plot_forest(rows, title, "{:.3g} ×".format, one=1.0, log=True)

    def _row(
        self, names: tuple[str, str, str, str, str], mine: _Figure, other: _Figure
    ) -> dict[str, Any]:
        ns = self._stages.ns_per_cycle
        interval = ratio(mine.values, other.values, [mine.resampling, other.resampling])
        figures = (mine.value * ns, other.value * ns, mine.value / other.value, *interval)
        return dict(zip(_COLUMNS, (*names, *figures), strict=True))

    def _figures(self) -> Iterator[tuple[tuple[str, str, str, str], _Figure]]:
        for cell in self._stages.cells():
            if cell.syscall != ALL or cell.mode != "sync":
                continue
            found = self._stages.resampled(cell)
            whole, resampling = found.whole, found.resampling
            mean = _Figure(int(whole.sums[_TOTAL]) / whole.n, found.means(_TOTAL), resampling)
            yield (cell.case, cell.arm, "mean", "stamps"), mean
            middle = whole.histograms[_TOTAL].quantile(0.5)
            p50 = _Figure(middle, found.quantiles(_TOTAL, [0.5])[0], resampling)
            yield (cell.case, cell.arm, "p50", "stamps"), p50
        for key, timed in self._timings.per_call().items():
            if key.case != LINE and not key.recording:
                resampling = timed.resampling
                mean = _Figure(timed.mean, timed.means, resampling)
                yield (key.case, key.arm, "mean", "timings"), mean
                p50 = _Figure(timed.p50, timed.p50s, resampling)
                yield (key.case, key.arm, "p50", "timings"), p50

    def _limit(
        self,
        figures: dict[tuple[str, str, str, str], _Figure],
        case: str,
        metric: str,
        source: str,
    ) -> _Figure | None:
        direct, line = figures.get((case, "direct", metric, source)), self._timings.line()
        # One round trip a call is the limit of synchronous calls alone: a batch shares it.
        if direct is None or line is None or case != "sync":
            return None
        value, values = (line.mean, line.means) if metric == "mean" else (line.p50, line.p50s)
        # The line is measured once, in less time than a round: its runs are not replicated.
        return _Figure(direct.value + value, direct.values + values, direct.resampling)


_COLUMNS = [
    *("case", "arm", "base", "metric", "source"),
    *("value_ns", "base_ns", "ratio", "low", "high", "interval"),
]
