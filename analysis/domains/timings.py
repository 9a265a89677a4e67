# SPDX-License-Identifier: MIT
"""What the workload measured from outside: time per call, with recording off and on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.estimates import Sampled, median_of
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import natural
from memsc.analysis.data.rounds import rounds_in
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.statistics import UNKNOWN, Resampling, interval, quantiles, ratio
from memsc.analysis.data.timed import FINE, Block, Timed, TimedRounds
from memsc.tracer.format import TIMINGS, TraceFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = "line"
"""The case that measures one cache-line round trip between the CPUs."""
_READ = ["arm", "case", "round", "recording", "calls", "cycles"]
_FOR_P999 = 20_000
_TOTALS = (1, 10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class PerCall:
    """Cycles per call of one arm and case, and their resamples.

    Attributes:
        intervals: how many intervals were timed.
        calls: how many calls they cover.
        mean, p50, p99, p999: cycles per call; percentiles are over intervals, so only of single
            calls if they are, and within the histogram's relative error. p999 is NaN with fewer
            than 20 intervals above it.
        means, p50s, p99s, p999s: shape (RESAMPLES,).
        p50_of: median of each round, cycles per call, by its turn.
    """

    intervals: int
    calls: int
    rounds: int
    mean: float
    p50: float
    p99: float
    p999: float
    means: NDArray[np.float64]
    p50s: NDArray[np.float64]
    p99s: NDArray[np.float64]
    p999s: NDArray[np.float64]
    resampling: Resampling
    p50_of: Mapping[int, float]

    def sampled(self, figure: str) -> Sampled:
        """`mean`, `p50`, `p99` or `p999` with its resamples, cycles per call."""
        return Sampled(getattr(self, figure), getattr(self, f"{figure}s"), self.resampling)

    @staticmethod
    def of(rounds: Mapping[int, Sequence[Block]], seed: str) -> PerCall:
        """Resamples rounds, then blocks of intervals within."""
        blocks = [block for index in sorted(rounds) for block in rounds[index]]
        labels = [index for index in sorted(rounds) for _ in rounds[index]]
        resampling = Resampling.of(labels, seed)
        calls = np.array([block.calls for block in blocks], np.float64)
        cycles = np.array([block.cycles for block in blocks], np.float64)
        histograms = [block.histogram for block in blocks]
        whole = Block.merge(blocks)
        p50s, p99s, p999s = quantiles(resampling, histograms, [0.5, 0.99, 0.999]) / FINE
        return PerCall(
            whole.histogram.n,
            whole.calls,
            len(rounds),
            whole.cycles / whole.calls,
            whole.histogram.quantile(0.5) / FINE,
            whole.histogram.quantile(0.99) / FINE,
            whole.histogram.quantile(0.999) / FINE if whole.histogram.n >= _FOR_P999 else np.nan,
            (resampling.weights @ cycles) / (resampling.weights @ calls),
            p50s,
            p99s,
            p999s,
            resampling,
            {
                number: Block.merge(some).histogram.quantile(0.5) / FINE
                for number, some in rounds.items()
            },
        )


def side_by_side(one: PerCall, other: PerCall) -> list[tuple[float, float]]:
    """Medians of two sides, turn by turn.

    Raises:
        KeyError: they have no turn in common.
    """
    found = [(p50, other.p50_of[turn]) for turn, p50 in one.p50_of.items() if turn in other.p50_of]
    if not found:
        raise KeyError("rounds side by side")
    return found


class Timings:
    """Times per call from outside, and what recording costs.

    Args:
        trace: the opened folder; the table is streamed, since it may hold every call.
        order: arms in the order they are shown.
        selection: which arms and cases; the workload timed whole stretches of calls.
        timed: the table, if others need it, too.
    """

    def __init__(
        self,
        trace: TraceFolder,
        order: Sequence[str],
        selection: Selection | None = None,
        timed: TimedRounds | None = None,
    ) -> None:
        self._trace = trace
        self._timed = timed or TimedRounds(trace)
        self._order = list(order)
        self._selection = selection or Selection()
        self._found: dict[Timed, PerCall] | None = None

    def per_call(self) -> dict[Timed, PerCall]:
        """Cycles per call of every arm and case; empty if nothing was timed."""
        if self._found is None:
            found = self._timed.blocks
            self._found = {}
            for key in sorted(found, key=self._rank):
                known = {i: some for i, some in sorted(found[key].items()) if not _unknown(some)}
                if known and self._wanted(key):
                    self._found[key] = PerCall.of(known, "/".join(map(str, key)))
        return self._found

    def of_turns(self, key: Timed, turns: Collection[int]) -> PerCall:
        """The same of one arm and case, of some of its turns."""
        found = self._timed.blocks[key]
        chosen = {turn: found[turn] for turn in turns}
        return PerCall.of(chosen, "/".join(map(str, key)))

    def line(self) -> PerCall | None:
        """One cache-line round trip between the CPUs, None if it was not measured."""
        return next((found for key, found in self.per_call().items() if key.case == LINE), None)

    def df_timings(self) -> pd.DataFrame:
        """Time per call as the workload saw it.

        Returns:
            One row per arm, case and recording (off, on): arm, case, recording, calls, intervals,
            rounds, mean_ns, mean_low_ns, mean_high_ns, p50_ns, p50_low_ns, p50_high_ns, p999_ns,
            p999_low_ns, p999_high_ns, interval.

        Raises:
            MemscError: calls were selected by more than arms and cases.

        Example:
            >>> frame = timed.timings.df_timings().query("case == 'sync' and recording")
            >>> frame["arm"].tolist()
            ['direct', 'ipi', 'memsc', 'memsc-scanner']
        """
        self._whole()
        ns = self._trace.session.clock.ns_per_cycle
        rows: list[dict[str, Any]] = []
        for key, found in self.per_call().items():
            if not self._selection.has(key.arm, key.case):
                continue
            row: dict[str, Any] = {**key._asdict(), "calls": found.calls}
            row |= {"intervals": found.intervals, "rounds": found.rounds}
            for name, value, values in (
                ("mean", found.mean, found.means),
                ("p50", found.p50, found.p50s),
                ("p999", found.p999, found.p999s),
            ):
                known = UNKNOWN if np.isnan(value) else found.resampling.interval(values)
                bounds = known.scaled(ns)
                row |= {f"{name}_ns": value * ns, f"{name}_low_ns": bounds.low}
                row |= {f"{name}_high_ns": bounds.high}
            rows.append(row | {"interval": found.resampling.basis})
        return pd.DataFrame(rows, columns=_COLUMNS)

    def df_totals(self, cases: Collection[str]) -> pd.DataFrame:
        """Time of the first 1, 10, … 100 000 calls of a round that timed each.

        Args:
            cases: which; rounds of all of them count alike.

        Returns:
            One row per arm and number of calls: arm, calls, rounds, median_ns with its interval
            low_ns and high_ns (NaN for few rounds), min_ns, max_ns (of the rounds that made so
            many).

        Raises:
            MemscError: calls were selected by more than arms and cases.

        Example:
            >>> frame = timed.timings.df_totals(["sync"]).query("arm == 'memsc'")
            >>> frame["calls"].tolist()
            [1, 10, 100, 1000]
        """
        self._whole()
        ns = self._trace.session.clock.ns_per_cycle
        totals: dict[tuple[str, int], list[float]] = {}
        for table in self._trace.batches(TIMINGS, _READ):
            cycles, recording = (table[name].to_numpy() for name in ("cycles", "recording"))
            for key, rows in rounds_in(table):
                wanted = key.case in cases and self._selection.has(key.arm, key.case)
                mine = cycles[rows][recording[rows] == 0] if wanted else cycles[:0]
                for calls in (n for n in _TOTALS if n <= len(mine)):
                    found = totals.setdefault((key.arm, calls), [])
                    found.append(float(mine[:calls].sum()) * ns)
        rows_out: list[dict[str, Any]] = []
        for (arm, calls), found in totals.items():
            row = {"arm": arm, "calls": calls, "rounds": len(found)}
            middle = median_of(found, f"total/{arm}/{calls}")
            row |= {"median_ns": middle.value, "low_ns": middle.low, "high_ns": middle.high}
            rows_out.append(row | {"min_ns": min(found), "max_ns": max(found)})
        return pd.DataFrame(rows_out, columns=_TOTAL_COLUMNS)

    def df_perturbation(self) -> pd.DataFrame:
        """What recording adds: on minus off, and on divided by off.

        Returns:
            One row per arm and case that was timed both ways: arm, case, off_mean_ns, on_mean_ns,
            added_ns, added_low_ns, added_high_ns, mean_ratio, mean_ratio_low, mean_ratio_high,
            p50_ratio, p50_ratio_low, p50_ratio_high, interval.

        Raises:
            MemscError: calls were selected by more than arms and cases.

        Example:
            >>> timed.timings.df_perturbation()[["arm", "case"]].head(2).values.tolist()
            [['direct', 'sync'], ['ipi', 'sync']]
        """
        self._whole()
        ns = self._trace.session.clock.ns_per_cycle
        rows: list[dict[str, Any]] = []
        for key, on in self.per_call().items():
            off = self.per_call().get(key._replace(recording=False))
            if not key.recording or off is None:
                continue
            both = [on.resampling, off.resampling]
            added = interval(on.means - off.means, both).scaled(ns)
            means, p50s = ratio(on.means, off.means, both), ratio(on.p50s, off.p50s, both)
            rows.append(
                {
                    "arm": key.arm,
                    "case": key.case,
                    "off_mean_ns": off.mean * ns,
                    "on_mean_ns": on.mean * ns,
                    "added_ns": (on.mean - off.mean) * ns,
                    "added_low_ns": added.low,
                    "added_high_ns": added.high,
                    "mean_ratio": on.mean / off.mean,
                    "mean_ratio_low": means.low,
                    "mean_ratio_high": means.high,
                    "p50_ratio": on.p50 / off.p50 if off.p50 else float("nan"),
                    "p50_ratio_low": p50s.low,
                    "p50_ratio_high": p50s.high,
                    "interval": added.basis if added != UNKNOWN else "none",
                }
            )
        return pd.DataFrame(rows, columns=_PERTURBATION)

    def plot_timings(self, recording: bool = False) -> Figure:
        """Draws `df_timings`: mean time per call as the workload saw it, with intervals.

        Args:
            recording: the rounds with recording on instead of off.

        Raises:
            MemscError: nothing was timed, or calls were selected by more than arms and cases.

        Example:
            >>> timed.timings.plot_timings().savefig(file)
        """
        from memsc.analysis.figures.forest import plot_forest  # noqa: PLC0415 (slow to import)

        rows = [
            {
                **row,
                "label": f"{row['arm']} {row['case']}",
                "value": row["mean_ns"],
                "low": row["mean_low_ns"],
                "high": row["mean_high_ns"],
            }
            for row in self.df_timings().to_dict("records")
            if row["recording"] == recording
        ]
        return plot_forest(rows, "Time per call from outside, mean", short_ns, log=True)

    def plot_perturbation(self) -> Figure:
        """Draws `df_perturbation`: the mean with recording divided by the mean without.

        Raises:
            MemscError: nothing was timed with recording on and off.

        Example:
            >>> timed.timings.plot_perturbation().savefig(file)
        """
        from memsc.analysis.figures.forest import plot_forest  # noqa: PLC0415 (slow to import)

        rows = [
            {
                **row,
                "label": f"{row['arm']} {row['case']}",
                "value": row["mean_ratio"],
                "low": row["mean_ratio_low"],
                "high": row["mean_ratio_high"],
            }
            for row in self.df_perturbation().to_dict("records")
        ]
        return plot_forest(rows, "Recording on ÷ off, mean", "{:.2f} ×".format, one=1.0)

    def _wanted(self, key: Timed) -> bool:
        # The cache line's way is the machine's; times of stretches say nothing of chosen calls.
        now = self._selection
        return key.case == LINE or (not now.cut and now.has(key.arm, key.case))

    def _whole(self) -> None:
        why = "it timed stretches of many calls"
        self._selection.only("arms", "cases", what="what the workload timed", why=why)

    def _rank(self, key: Timed) -> tuple[Any, ...]:
        arm = self._order.index(key.arm) if key.arm in self._order else len(self._order)
        return (natural(key.case), arm, key.arm, key.recording)


def _unknown(blocks: Sequence[Block]) -> bool:
    """Whether nobody counted the calls: a whole program timed as if it were one call."""
    return len(blocks) == 1 and blocks[0].calls == 1


_COLUMNS = [
    *("arm", "case", "recording", "calls", "intervals", "rounds"),
    *("mean_ns", "mean_low_ns", "mean_high_ns", "p50_ns", "p50_low_ns", "p50_high_ns"),
    *("p999_ns", "p999_low_ns", "p999_high_ns", "interval"),
]
_TOTAL_COLUMNS = [
    *("arm", "calls", "rounds", "median_ns", "low_ns", "high_ns", "min_ns", "max_ns"),
]
_PERTURBATION = [
    *("arm", "case", "off_mean_ns", "on_mean_ns", "added_ns", "added_low_ns", "added_high_ns"),
    *("mean_ratio", "mean_ratio_low", "mean_ratio_high"),
    *("p50_ratio", "p50_ratio_low", "p50_ratio_high", "interval"),
]
