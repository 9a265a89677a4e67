# SPDX-License-Identifier: MIT
# pandas' stubs leave element types open; what passes through them is unknown to pyright.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""What the workload measured from outside: time per call, with recording off and on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.stages import natural
from memsc.analysis.statistics import UNKNOWN, Resampling, interval, quantiles, ratio
from memsc.tracer.format import TIMINGS, RoundKey, TraceFolder

LINE = "line"
"""The case that measures one cache-line round trip between the CPUs."""
# A round is cut into blocks too, or one round would have no interval at all.
_BLOCKS = 8


class Timed(NamedTuple):
    """What is timed together."""

    arm: str
    case: str
    recording: bool


@dataclass(frozen=True, slots=True)
class PerCall:
    """Cycles per call of one arm and case, and their resamples.

    Attributes:
        intervals: how many intervals were timed.
        calls: how many calls they cover.
        mean, p50: cycles per call; p50 is over intervals, so only of single calls if they are.
        means, p50s: shape (RESAMPLES,).
    """

    intervals: int
    calls: int
    rounds: int
    mean: float
    p50: float
    means: NDArray[np.float64]
    p50s: NDArray[np.float64]
    resampling: Resampling

    @staticmethod
    def of(frame: pd.DataFrame, seed: str) -> PerCall:
        """Resamples rounds, then blocks of intervals within."""
        calls, cycles = (frame[name].to_numpy(np.int64) for name in ("calls", "cycles"))
        number = frame["round"].to_numpy(np.int64)
        # The place within the round, so that blocks are neighbours in time.
        place = frame.groupby("round").cumcount().to_numpy(np.int64)
        size = frame.groupby("round")["calls"].transform("size").to_numpy(np.int64)
        keys = number * _BLOCKS + place * np.minimum(size, _BLOCKS) // size
        found, block = np.unique(keys, return_inverse=True)
        resampling = Resampling.of((found // _BLOCKS).tolist(), seed)
        weights = resampling.weights
        sums = [np.bincount(block, some, len(found)) for some in (cycles, calls)]
        values, at = np.unique(cycles / calls, return_inverse=True)
        counts = np.zeros((len(found), len(values)), np.float32)
        np.add.at(counts, (block, at), 1)
        return PerCall(
            len(frame),
            int(calls.sum()),
            len(np.unique(number)),
            float(cycles.sum() / calls.sum()),
            float(values[np.searchsorted(np.cumsum(np.bincount(at)), (len(frame) + 1) // 2)]),
            (weights @ sums[0]) / (weights @ sums[1]),
            quantiles(resampling, values, counts, [0.5])[0],
            resampling,
        )


class Timings:
    """Times per call from outside, and what recording costs.

    Args:
        trace: the opened folder. The table is small and read whole.
        order: arms in the order they are shown.
    """

    def __init__(self, trace: TraceFolder, order: Sequence[str]) -> None:
        self._trace = trace
        self._order = list(order)
        self._found: dict[Timed, PerCall] | None = None

    def per_call(self) -> dict[Timed, PerCall]:
        """Cycles per call of every arm and case; empty if nothing was timed."""
        if self._found is None:
            self._found = {}
            if self._trace.rows(TIMINGS):
                self._read(self._found)
        return self._found

    def line(self) -> PerCall | None:
        """One cache-line round trip between the CPUs, None if it was not measured."""
        return next((found for key, found in self.per_call().items() if key.case == LINE), None)

    def df_timings(self) -> pd.DataFrame:
        """Time per call as the workload saw it.

        Returns:
            One row per arm, case and recording (off, on): arm, case, recording, calls, intervals,
            rounds, mean_ns, mean_low_ns, mean_high_ns, p50_ns, p50_low_ns, p50_high_ns, interval.
        """
        ns = self._trace.session.clock.ns_per_cycle
        rows: list[dict[str, Any]] = []
        for key, found in self.per_call().items():
            row: dict[str, Any] = {**key._asdict(), "calls": found.calls}
            row |= {"intervals": found.intervals, "rounds": found.rounds}
            for name, value, values in (
                ("mean", found.mean, found.means),
                ("p50", found.p50, found.p50s),
            ):
                bounds = found.resampling.interval(values).scaled(ns)
                row |= {f"{name}_ns": value * ns, f"{name}_low_ns": bounds.low}
                row |= {f"{name}_high_ns": bounds.high}
            rows.append(row | {"interval": found.resampling.basis})
        return pd.DataFrame(rows, columns=_COLUMNS)

    def df_perturbation(self) -> pd.DataFrame:
        """What recording adds: on minus off, and on divided by off.

        Returns:
            One row per arm and case that was timed both ways: arm, case, off_mean_ns, on_mean_ns,
            added_ns, added_low_ns, added_high_ns, mean_ratio, mean_ratio_low, mean_ratio_high,
            p50_ratio, p50_ratio_low, p50_ratio_high, interval.
        """
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

    def _read(self, into: dict[Timed, PerCall]) -> None:
        frame: pd.DataFrame = self._trace.read(TIMINGS).to_pandas()
        frame = frame.astype({"arm": object, "case": object})
        checks = {r.key for r in self._trace.session.rounds if r.check}
        keys = zip(frame["arm"], frame["case"], frame["round"], strict=True)
        measured = np.array([RoundKey(*key) not in checks for key in keys], np.bool_)
        kept = frame[measured & (frame["calls"].to_numpy() > 0)]
        groups: dict[Timed, pd.DataFrame] = {}
        for key, rows in kept.groupby(["arm", "case", "recording"]):
            arm, case, recording = cast("tuple[str, str, int]", key)
            groups[Timed(arm, case, bool(recording))] = rows
        for key in sorted(groups, key=self._rank):
            into[key] = PerCall.of(groups[key], "/".join(map(str, key)))

    def _rank(self, key: Timed) -> tuple[Any, ...]:
        arm = self._order.index(key.arm) if key.arm in self._order else len(self._order)
        return (natural(key.case), arm, key.arm, key.recording)


_COLUMNS = [
    *("arm", "case", "recording", "calls", "intervals", "rounds"),
    *("mean_ns", "mean_low_ns", "mean_high_ns", "p50_ns", "p50_low_ns", "p50_high_ns", "interval"),
]
_PERTURBATION = [
    *("arm", "case", "off_mean_ns", "on_mean_ns", "added_ns", "added_low_ns", "added_high_ns"),
    *("mean_ratio", "mean_ratio_low", "mean_ratio_high"),
    *("p50_ratio", "p50_ratio_low", "p50_ratio_high", "interval"),
]
