# SPDX-License-Identifier: MIT
"""Whether the stamps say what an outside observer sees: static probes against stamps.

A probe sits right behind the stamp of the same name. A BPF program reads the kernel's clock there,
which knows nothing of the stamps; but it comes late by the way into the kernel, a part of what a
hit costs. So an observation must lie behind its stamp, by no more than the calibrated cost of one
hit and what the fit of the clocks leaves open: of 95 % of the hits, since the cost itself varies;
of cold ones where the thread passed no probe for a while or sleeps between calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from memsc.analysis.data.placing import calls_at
from memsc.analysis.data.requires import requires
from memsc.analysis.data.selection import Selection
from memsc.tracer.format import EVENTS, FLAGS, TraceFolder

PROBE = "stages"
OBSERVED = ("posted", "picked", "executed", "completed")
_EVENTS = ["time", "kind", "tid", "entry", "number", "result", "caller"]
_COST = (50, 95)
COLD_NS = 20_000
"""A thread that passed no probe for so long has cold hits: the calibration's pause (usdt.c)."""
ENOUGH = 20
"""Observations below which a median says nothing."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What one hit of a static probe costs, from the session's calibration.

    Attributes:
        hits: how many were measured, half of them back to back and half after a sleep.
        cost_ns: median of the whole of a hit, back to back.
        cost_p95_ns: what 95 % of them stay below.
        cold_ns: median after a sleep, when the kernel's way to the probe has left the caches.
        cold_p95_ns: what 95 % of those stay below.
        entry_ns: median of its part before the probe's program reads the clock, back to back.
        error_ns: how well cycles and nanoseconds fit; both are read on one CPU.
    """

    hits: int
    cost_ns: float
    cost_p95_ns: float
    cold_ns: float
    cold_p95_ns: float
    entry_ns: float
    error_ns: float


class Agreement:
    """Stamps against static probes.

    Args:
        folder: the opened trace.
        selection: which arms and cases.
    """

    def __init__(self, folder: TraceFolder, selection: Selection | None = None) -> None:
        self.folder = folder
        self._selection = selection or Selection()

    @requires(PROBE, what="what a probe hit costs")
    def hit(self) -> Hit | None:
        """The calibrated cost of a hit; None if the calibration recorded none."""
        events = self._events()
        events = events[events["kind"] == "calibrate"]
        clock = self.folder.session.clock
        # Each hit tells what the one before it took.
        took = events.loc[events["result"] > 0]
        cold = took["entry"].to_numpy(np.int64) % 2 == 0
        took = took["result"].to_numpy(np.int64) * clock.ns_per_cycle
        if not cold.any() or cold.all():
            return None
        warm = events[events["entry"] % 2 == 0]
        late = warm["time"].to_numpy(np.int64) - clock.ns(warm["number"].to_numpy(np.int64))
        warm_cost, warm_most = np.percentile(took[~cold], _COST).tolist()
        cold_cost, cold_most = np.percentile(took[cold], _COST).tolist()
        return Hit(
            hits=len(took),
            cost_ns=warm_cost,
            cost_p95_ns=warm_most,
            cold_ns=cold_cost,
            cold_p95_ns=cold_most,
            entry_ns=float(np.median(late)),
            error_ns=clock.residual_ns or 0.0,
        )

    @requires(PROBE, what="stamps against probes")
    def df_observations(self) -> pd.DataFrame:
        """Each observation with its call.

        Returns:
            One row per event of a synchronous call: arm, case, round, stamp (name), tid of the
            caller, `late_ns` (observed minus stamped; NaN where no recorded call fits), `cold` (no
            hit of the same thread shortly before) and `fits` (the call has the observed number, and
            result where that is known).

        Raises:
            MemscError: the trace lacks events of `stages`; it says which `--probes` bring them.

        Example:
            >>> frame = sampled.agreement.df_observations()
            >>> frame.groupby("stamp").size().to_dict()
            {'completed': 84, 'executed': 168, 'picked': 168, 'posted': 84}
        """
        events = self._events()
        events = events[events["kind"] != "calibrate"].sort_values("time", ignore_index=True)
        events["at"] = self.folder.session.clock.cycles(events["time"].to_numpy(np.int64))
        now = self._selection
        now.only("arms", "cases", what="stamps against probes", why="of some calls there are few")
        wanted = {r.key for r in self.folder.session.rounds if PROBE in r.probes}
        moments = events[["at"]].assign(tid=events["caller"])
        best = calls_at(self.folder, moments, "tid", "called", wanted)
        since = events.groupby("tid", sort=False)["time"].diff()
        stamp = events["kind"].to_numpy()
        stamped = np.select([stamp == name for name in OBSERVED], [best[n] for n in OBSERVED])
        late = (events["at"] - stamped) * self.folder.session.clock.ns_per_cycle
        known = np.isin(stamp, ("executed", "completed"))
        fits = best["number"].eq(events["number"])
        fits &= ~known | best["result"].eq(events["result"])
        frame = best[["arm", "case", "round"]].assign(
            stamp=stamp, tid=events["caller"], late_ns=late, fits=fits & best["called"].notna()
        )
        frame["cold"] = ~(since <= COLD_NS)
        # Calls of one thread that overlap cannot be told apart by time.
        overlapping = best["flags"].fillna(0).astype(np.int64) & FLAGS["async"]
        frame = frame[overlapping == 0]
        for name, chosen in (("arm", now.arms), ("case", now.cases)):
            if chosen is not None:
                frame = frame[frame[name].isin(chosen)]
        return frame.reset_index(drop=True)

    @requires(PROBE, what="stamps against probes")
    def df_agreement(self) -> pd.DataFrame:
        """How observations and stamps agree, by arm and stamp.

        Returns:
            arm, stamp, `n` observations, `unmatched` of them without a call that fits, p1_ns,
            p50_ns, p99_ns of observed minus stamped, `bound_ns` (what a hit may cost, warm or cold
            as most of them are, and the error of the clocks), `within` (share between -error and
            its bound) and `agree` (half of them are on either side and half of all fit a call; None
            for fewer than ENOUGH observations or without calibration).

        Raises:
            MemscError: the trace lacks events of `stages`; it says which `--probes` bring them.

        Example:
            >>> set(sampled.agreement.df_agreement()["agree"])
            {True}
        """
        hit, rows = self.hit(), list[list[object]]()
        observed = self.df_observations()
        for (arm, stamp), mine in observed.groupby(["arm", "stamp"], sort=False):
            late = mine.loc[mine["fits"], "late_ns"].to_numpy(np.float64)
            quantiles = np.percentile(late, [1, 50, 99]) if len(late) else np.full(3, np.nan)
            bound = within = agree = None
            if hit is not None and len(late) >= ENOUGH:
                cold = mine.loc[mine["fits"], "cold"].to_numpy(bool) | self._sleeps(str(arm))
                bounds = np.where(cold, hit.cold_p95_ns, hit.cost_p95_ns) + hit.error_ns
                bound = float(np.median(bounds))
                within = float(((late >= -hit.error_ns) & (late <= bounds)).mean())
                agree = bool(-hit.error_ns <= quantiles[1] and np.median(late - bounds) <= 0)
            unmatched = int((~mine["fits"]).sum())
            if hit is not None and len(mine) >= ENOUGH and 2 * unmatched > len(mine):
                agree = False
            rows.append([arm, stamp, len(mine), unmatched, *quantiles, bound, within, agree])
        return pd.DataFrame(rows, columns=_AGREEMENT)

    def _sleeps(self, arm: str) -> bool:
        side = self.folder.session.arms[arm]
        return side.transport in ("ipi", "adaptive") or side.service == "scanner"

    def _events(self) -> pd.DataFrame:
        table = f"{EVENTS}/{PROBE}"
        if not self.folder.rows(table):
            return pd.DataFrame({name: pd.Series(dtype=np.int64) for name in _EVENTS})
        frame: pd.DataFrame = self.folder.read(table, _EVENTS).to_pandas()
        return frame.astype({"kind": object})


_AGREEMENT = [
    "arm",
    "stamp",
    "n",
    "unmatched",
    "p1_ns",
    "p50_ns",
    "p99_ns",
    "bound_ns",
    "within",
    "agree",
]
