# SPDX-License-Identifier: MIT
"""What slow calls are made of. Percentiles do not add, so bands of totals are taken apart instead.

Between two percentiles of the total lie whole calls, and the means of their stages add up to the
mean of their totals, exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.causes.blame import COLUMNS, Blame, df_causes
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL, Sketch
from memsc.analysis.data.statistics import SAMPLES_ABOVE
from memsc.analysis.domains.stages import Stages
from memsc.tracer.format import STAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0)
BODY = 0.9
"""Calls up to this percentile are the body that the tail is compared with."""
TAIL = 0.99

_TOTAL = QUANTITIES.index(TOTAL)
_NAMES = [*Cell._fields]


class Bands:
    """Bands of the total latency, and the tail's excess over the body: sums alone tell them.

    Args:
        stages: of a trace, or of many.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def df_bands(self) -> pd.DataFrame:
        """Mean stages of the calls in each band of total-latency percentiles.

        Returns:
            One row per cell and band that has calls: arm, case, syscall, mode, band ("p50–p90"),
            low, high (percentiles, 0 to 1), n, sufficient (at least 20 calls), total_ns, and per
            stage STAGE_ns and STAGE_share. A band ends where the histogram's bin of its percentile
            ends, so n may differ from the nominal number by the calls of one bin.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.tail.df_bands().query("arm == 'memsc' and syscall == 'all'")
            >>> frame[["band", "n", "sufficient"]].tail(2).values.tolist()
            [['p99–p99.9', 25, True], ['p99.9–p99.99', 2, False]]
        """
        rows: list[dict[str, Any]] = []
        for cell in self._sampled():
            sketch = self._stages.resampled(cell).whole
            edges = [_calls_up_to(sketch, q) for q in BANDS]
            for low, high, start, end in zip(
                BANDS[:-1], BANDS[1:], edges[:-1], edges[1:], strict=True
            ):
                row = self._row(cell, sketch, slice(start, end))
                if row is not None:
                    rows.append(row | {"band": _band(low, high), "low": low, "high": high})
        columns = [*_NAMES, "band", "low", "high", "n", "sufficient", "total_ns", *_STAGE_COLUMNS]
        return pd.DataFrame(rows, columns=columns)

    def df_excess(self) -> pd.DataFrame:
        """Which stage makes the slowest one percent slow: mean of the tail minus mean of the body.

        Returns:
            One row per cell and stage with at least 20 calls above p99: arm, case, syscall, mode,
            stage, body_ns (mean up to p90), tail_ns (mean above p99), excess_ns, and excess_share,
            the stage's part of the total's excess; shares add up to 1.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.tail.df_excess().query("arm == 'ipi' and syscall == 'all'")
            >>> frame.nlargest(1, "excess_share")["stage"].item()
            'poll'
        """
        rows: list[dict[str, Any]] = []
        for cell in self._sampled():
            sketch = self._stages.resampled(cell).whole
            body = self._row(cell, sketch, slice(0, _calls_up_to(sketch, BODY)))
            tail = self._row(cell, sketch, slice(_calls_up_to(sketch, TAIL), None))
            if body is None or tail is None or tail["n"] < SAMPLES_ABOVE:
                continue
            excess = tail["total_ns"] - body["total_ns"]
            for stage in STAGES:
                means = body[f"{stage}_ns"], tail[f"{stage}_ns"]
                share = (means[1] - means[0]) / excess if excess else float("nan")
                figures = (stage, *means, means[1] - means[0], share)
                rows.append(dict(zip(_EXCESS, (*cell, *figures), strict=True)))
        return pd.DataFrame(rows, columns=_EXCESS)

    def _sampled(self) -> list[Cell]:
        return [] if self._stages.chosen else self._stages.cells()

    def plot_bands(self, case: str | None = None) -> Figure:
        """Draws `df_bands`: mean stage shares by band of the total latency, one panel per arm.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.tail.plot_bands().savefig(file)
        """
        from memsc.analysis.figures.tail import plot_bands  # noqa: PLC0415 (slow to import)

        wanted = {cell.case for cell in self._stages.of_case(case)}
        frame = self.df_bands()
        return plot_bands(frame[(frame["syscall"] == ALL) & frame["case"].isin(wanted)])

    def plot_excess(self, case: str | None = None) -> Figure:
        """Draws `df_excess`: which stages make the slowest one percent slow, per arm.

        Args:
            case: which case; by default `sync`, or else the first.

        Raises:
            MemscError: no such case was recorded.

        Example:
            >>> t.tail.plot_excess().savefig(file)
        """
        from memsc.analysis.figures.tail import plot_excess  # noqa: PLC0415 (slow to import)

        chosen = self._stages.of_case(case)
        frame = self.df_excess()
        mine = (frame["case"] == chosen[0].case) & (frame["mode"] == chosen[0].mode)
        return plot_excess(frame[mine & (frame["syscall"] == ALL)])

    def _row(self, cell: Cell, sketch: Sketch, bins: slice) -> dict[str, Any] | None:
        n = int(sketch.histograms[_TOTAL].counts[bins].sum())
        if not n:
            return None
        ns = self._stages.ns_per_cycle
        sums: NDArray[np.int64] = sketch.bands[:, bins].sum(axis=1)
        total = int(sums.sum())
        row: dict[str, Any] = {**cell._asdict(), "n": n, "sufficient": n >= SAMPLES_ABOVE}
        row["total_ns"] = total / n * ns
        for stage, spent in zip(STAGES, sums.tolist(), strict=True):
            row[f"{stage}_ns"] = spent / n * ns
            row[f"{stage}_share"] = spent / total if total else float("nan")
        return row


class Tail(Bands):
    """What slow calls are made of: also each of them, and its cause.

    Args:
        stages: the trace's stages.
        blame: finds slow calls and their causes.
    """

    def __init__(self, stages: Stages, blame: Blame) -> None:
        super().__init__(stages)
        self.blame = blame

    def df_causes(self) -> pd.DataFrame:
        """What made slow calls slow.

        Returns:
            One row per arm, case, mode, band and cause: see
            `memsc.analysis.causes.blame.df_causes`.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = noisy.tail.df_causes().query("arm == 'memsc' and band == 'p999'")
            >>> frame[["cause", "calls"]].head(1).values.tolist()
            [['preempted by python3', 27]]
        """
        return df_causes(self.blame)

    def plot_causes(self, case: str | None = None) -> Figure:
        """Draws `df_causes`: what made slow calls slow, one panel per arm.

        Args:
            case: which case; by default the first that has slow calls.

        Raises:
            MemscError: no such case, or nowhere are 20 calls above p99.

        Example:
            >>> noisy.tail.plot_causes().savefig(file)
        """
        from memsc.analysis.figures.tail import plot_causes  # noqa: PLC0415 (slow to import)

        return plot_causes(self.df_causes(), case)

    def df_calls(self) -> pd.DataFrame:
        """Every call above p99 of its arm, case and mode, with its cause.

        Returns:
            One row per call that is no wait: arm, case, mode, round, pid, tid, syscall, result,
            start_s (since the trace's start), the four stages and the total in ns, app_cpu,
            service_cpu, above ("p99" or "p999"), cause, and cause_ns, side and stage of the cause's
            part. Empty where fewer than 20 calls lie above; of more than 100,000 of an arm and case
            only every n-th.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> t.tail.df_calls()["above"].value_counts().to_dict()
            {'p99': 81}
        """
        return self.blame.tail.frame[COLUMNS]

    def df_worst(self, calls: int = 10) -> pd.DataFrame:
        """The slowest calls of each arm and case that are not known to have waited for others.

        Args:
            calls: how many of each arm and case.

        Returns:
            As `df_calls`, slowest first; `above` is "" for calls of a case that has too few for a
            percentile. Without probes the cause is "no probes".

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> t.tail.df_worst(1)[["arm", "syscall"]].values.tolist()
            [['ipi', 'write'], ['memsc', 'getrandom'], ['direct', 'brk']]
        """
        return self.blame.worst(calls).frame[COLUMNS]


def _calls_up_to(sketch: Sketch, q: float) -> int:
    """The number of bins that hold the calls up to a percentile."""
    histogram = sketch.histograms[_TOTAL]
    if q <= 0:
        return 0
    rank = int(np.ceil(q * histogram.n))
    return int(np.searchsorted(np.cumsum(histogram.counts), rank)) + 1


def _band(low: float, high: float) -> str:
    first = f"p{100 * low:g}" if low else "min"
    return f"{first}–{'max' if high == 1 else f'p{100 * high:g}'}"


_STAGE_COLUMNS = [f"{stage}_{unit}" for stage in STAGES for unit in ("ns", "share")]
_EXCESS = [*_NAMES, "stage", "body_ns", "tail_ns", "excess_ns", "excess_share"]
