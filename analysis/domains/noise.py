# SPDX-License-Identifier: MIT
"""What took the CPUs away while calls were forwarded, whether a call suffered or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memsc.analysis.causes.intervals import TASK, intervals
from memsc.analysis.data.requires import requires
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.windows import Windows
from memsc.tracer.format import TraceFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ["arm", "case", "side", "cpu", "what", "events", "per_s", "share", "p50_ns", "max_ns"]


class Noise:
    """The noise on the CPUs of a trace.

    Args:
        folder: an opened trace.
        selection: which arms, cases and window: noise is no call's own.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self._folder, self._selection = folder, selection or Selection()

    @property
    def folder(self) -> TraceFolder:
        """The trace it is about."""
        return self._folder

    @requires("noise", what="what took the CPUs away")
    def df_noise(self) -> pd.DataFrame:
        """How often, and how long, what had the application's and the service's CPUs.

        Returns:
            One row per arm, case, side ("app" or "service"), CPU and what it was: events, per_s
            (per second of forwarding), share (of that time; 0 for what has but a begin), p50_ns and
            max_ns of one. Turns of the program's own threads are left out.

        Raises:
            MemscError: the trace lacks events of `noise`; it says which `--probes` bring them.
                Or calls were selected by what noise has not: system call, thread, outcome.

        Example:
            >>> frame = noisy.noise.df_noise().query("arm == 'memsc' and side == 'service'")
            >>> frame["what"].head(3).tolist()
            ['MainThread', 'memsc-service', 'V8Worker']
        """
        now = self._selection
        now.only(
            *("arms", "cases", "start", "end"),
            what="what took the CPUs away",
            why="it took a CPU, whatever the call",
        )
        rounds = [r for r in self._folder.session.rounds if "noise" in r.probes]
        wanted = {r.key for r in rounds if r.check == now.checks and now.has(r.arm, r.case)}
        windows = Windows.of(self._folder, wanted)
        windows = windows.between(self._folder.session.clock, now.start, now.end)
        spans = windows.rounds
        if not len(spans):
            return pd.DataFrame(columns=_COLUMNS)
        starts, ends = (spans[name].to_numpy(np.int64) for name in ("start_ns", "end_ns"))
        frame = intervals(self._folder, starts, ends).frame
        frame = frame[frame["level"] >= 0].astype({"name": object})
        own = {pid for r in rounds for pid in r.pids}
        frame = frame[~((frame["level"] == TASK) & frame["pid"].isin(own))]
        begin = frame["start"].to_numpy(np.int64)
        frame = frame.assign(round=windows.rounds_at(begin), ns=frame["end"] - begin)
        frame = frame[frame["round"] >= 0]
        keys = spans.iloc[frame["round"].to_numpy()]
        frame = frame.assign(arm=keys["arm"].to_numpy(), case=keys["case"].to_numpy())
        spent = (spans["end_ns"] - spans["start_ns"]).groupby([spans["arm"], spans["case"]]).sum()
        rows: list[dict[str, Any]] = []
        groups: Any = frame.groupby(["arm", "case", "cpu", "name"], sort=False)
        for (arm, case, cpu, what), mine in groups:
            side = self._side(arm, cpu)
            if side is None:
                continue
            seconds = float(spent[(arm, case)]) * 1e-9
            rows.append(
                {
                    "arm": arm,
                    "case": case,
                    "side": side,
                    "cpu": cpu,
                    "what": what,
                    "events": len(mine),
                    "per_s": len(mine) / seconds,
                    "share": mine["ns"].sum() * 1e-9 / seconds,
                    "p50_ns": mine["ns"].median(),
                    "max_ns": mine["ns"].max(),
                }
            )
        out = pd.DataFrame(rows, columns=_COLUMNS)
        return out.sort_values(
            ["arm", "case", "side", "share"], ascending=[True] * 3 + [False], ignore_index=True
        )

    def plot_noise(self, case: str | None = None) -> Figure:
        """Draws `df_noise`: what had the CPUs of each side, for how long and how often.

        Args:
            case: which case; by default the first.

        Raises:
            MemscError: no such case, or no noise at all.

        Example:
            >>> noisy.noise.plot_noise().savefig(file)
        """
        from memsc.analysis.figures.noise import plot_noise  # noqa: PLC0415 (slow to import)

        return plot_noise(self.df_noise(), case)

    def _side(self, arm: str, cpu: int) -> str | None:
        found = self._folder.session.arms.get(arm)
        if found is None:
            return None
        if cpu in found.app_cpus:
            return "app"
        return "service" if cpu in found.service_cpus else None
