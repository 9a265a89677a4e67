# SPDX-License-Identifier: MIT
"""Whether a trace may be believed: the invariants, checked and not assumed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from memsc.analysis.data.outside import fit
from memsc.analysis.data.scan import ALL, Cells
from memsc.analysis.data.sketch import QUANTITIES, TOTAL, Sketch
from memsc.analysis.domains.agreement import PROBE, Agreement
from memsc.analysis.domains.coverage import BOUND, ArmCoverage, coverage, percent, unreached
from memsc.analysis.domains.ends import UNAVAILABLE, failures
from memsc.analysis.domains.events_per_round import COUNTS, df_events_per_round
from memsc.tracer.format import CALLS, Round, TraceFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEGLIGIBLE = 1e-3
"""Events per call up to which an arm counts as free of them: what else the machine did."""

HANDFUL = 20
"""Events up to which starting and stopping may be the cause, however few the calls were."""

STAMP_CHECKS = ("stamps_in_order", "service_within_caller", "fits_outside")

# Of these the `memsc` transport promises none.
_PROMISED = (
    "app_syscalls",
    "ipis_to_app_cpu",
    "ipis_to_service_cpu",
    "ipis_taken_by_app_cpu",
    "ipis_taken_by_service_cpu",
    "app_cpu_switches",
)
_SILENT = ("memsc",)


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant of one arm.

    Attributes:
        value: what was found, None if that is not known.
        expected: what it must be, None where it is only reported.
        held: None if it could not be checked or nothing is promised.
        reason: why it is not known, or what the value is made of.
        withholds: its failure makes every figure of the trace doubtful.
    """

    arm: str
    name: str
    value: float | None
    expected: float | None
    held: bool | None
    reason: str | None = None
    withholds: bool = False


class Checks:
    """The invariants of a trace.

    Args:
        trace: the opened folder.
        cells: its sketches, with `all`.
        arms: arms in the order they are shown.
        ns: nanoseconds to a unit of the sketches; by default they are in cycles.

    Attributes:
        allow_unrecorded: programs and calls that were not recorded withhold no verdict.
        ok_status: exit statuses of programs, beside 0, that are no failure.
    """

    def __init__(
        self,
        trace: TraceFolder,
        cells: Callable[[], Cells],
        arms: list[str],
        ns: float | None = None,
    ) -> None:
        self._trace = trace
        self._cells = cells
        self._arms = arms
        self._ns = trace.session.clock.ns_per_cycle if ns is None else ns
        self._found: list[Check] | None = None
        self.allow_unrecorded = trace.session.allow_unrecorded
        self.ok_status = set(trace.session.ok_status)

    def all(self) -> list[Check]:
        """Every check of every arm."""
        if self._found is None:
            silent = {arm for arm in self._arms if self._promises(arm)}
            events = df_events_per_round(self._trace, silent, self._cells().fills)
            self._found = [
                check
                for arm in self._arms
                for check in (
                    *self._counts(arm),
                    *self._coverage(arm),
                    *self._stamps(arm),
                    *self._events(arm, events),
                )
            ]
            self._found += self._agreement()
        return self._found

    def df_checks(self) -> pd.DataFrame:
        """Every check of every arm.

        Returns:
            One row per arm and check: arm, name, value (NaN: not known), expected (NaN: only
            reported), held (None: not checked), reason, withholds. What is counted is of whole
            rounds, whatever calls were selected.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> frame = t.checks.df_checks().query("arm == 'memsc' and held == True")
            >>> frame["name"].head(4).tolist()
            ['lost', 'counted', 'failed_rounds', 'stamps_in_order']
        """
        names = ["arm", "name", "value", "expected", "held", "reason", "withholds"]
        return pd.DataFrame(
            [[getattr(check, name) for name in names] for check in self.all()], columns=names
        )

    def plot_checks(self) -> Figure:
        """Draws `df_checks`: ✓ held, ✗ broken, ? not known, else what was found.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> t.checks.plot_checks().savefig(file)
        """
        from memsc.analysis.figures.checks import plot_checks  # noqa: PLC0415 (slow to import)

        return plot_checks(self.df_checks())

    def df_events_per_round(self) -> pd.DataFrame:
        """What the kernel did in each round.

        Returns:
            One row per round that had probes: see `memsc.analysis.domains.events_per_round`.

        Raises:
            MemscError: a part of the trace is damaged.

        Example:
            >>> t.checks.df_events_per_round()[["arm", "round", "calls"]].head(2).values.tolist()
            [['direct', 0, 686], ['ipi', 0, 686]]
        """
        frame = df_events_per_round(self._trace)
        return frame[frame["arm"].isin(self._arms)].reset_index(drop=True)

    def withheld(self) -> list[str]:
        """Why no verdict may be given; empty if one may. Reads no events: they never withhold."""
        return [
            f"{check.arm}: {check.reason or check.name}"
            for arm in self._arms
            for check in (*self._counts(arm), *self._coverage(arm), *self._stamps(arm))
            if check.withholds and not check.held
        ]

    @cached_property
    def coverage(self) -> dict[str, ArmCoverage]:
        """What of each arm was recorded; arms at which nobody looked are not there."""
        rounds = self._trace.session.rounds
        found = {
            arm: coverage([r for r in rounds if r.arm == arm], self._unasked("syscalls"))
            for arm in self._arms
        }
        return {arm: one for arm, one in found.items() if one is not None}

    def _unasked(self, probe: str) -> str:
        """Why a probe saw nothing of an arm."""
        status = self._trace.session.probes.get(probe)
        if status and status.attached:
            lost = f", or {status.lost} of its events were lost" if status.lost else ""
            return f"no calls recorded with --probes {probe}{lost}"
        return status.reason if status and status.reason else f"record with --probes {probe}"

    def unrecorded(self) -> list[str]:
        """What ran and was not recorded, however little it was."""
        return [
            f"{arm}: {says}"
            for arm, one in self.coverage.items()
            for says in (one.says, one.says_calls)
            if says
        ]

    def uncounted(self) -> list[str]:
        """What nobody counted, so that nobody knows whether there was more: whose, and why."""
        return unreached(self.coverage)

    def _counts(self, arm: str) -> list[Check]:
        side = self._trace.session.arms[arm]
        rounds = [r for r in self._trace.session.rounds if r.arm == arm]
        recorded = [r for r in rounds if r.recording]
        lost = _total([side.lost] if side.lost is not None else [r.lost for r in rounds])
        found = [_lost(arm, lost), *self._sample(arm)]
        sums = [_total([getattr(r, name) for r in recorded]) for name in ("calls", "lost", "made")]
        calls, missing, made = sums
        if calls is None or missing is None or made is None:
            why = "no round was recorded"
            if not self._trace.session.complete:
                why = "the session did not end in order"
            elif any(r.attached for r in recorded):
                why = "what a running program made before and after is not told apart"
            found.append(Check(arm, "counted", None, 0, None, why))
        else:
            # Round by round: a call too many in one must not pay for one too few in another.
            off = sum(
                abs(sum(map(_zero, (r.calls, r.lost, r.unfinished, r.skipped))) - _zero(r.made))
                for r in recorded
            )
            says = None if off == 0 else f"{off} calls are neither recorded nor counted as lost"
            found.append(Check(arm, "counted", off, 0, off == 0, says, withholds=True))
        found += [*self._events_lost(arm, rounds), *self._rows(arm)]
        fine = {0, UNAVAILABLE} if self._is_peer(arm) else {0}
        failed, says = failures(rounds, fine | self.ok_status)
        found.append(Check(arm, "failed_rounds", failed, 0, not failed, says))
        return found

    def _is_peer(self, arm: str) -> bool:
        """Whether an arm is another program, measured beside memsc: no transport's name."""
        return not arm.startswith(self._trace.session.arms[arm].transport)

    def _events_lost(self, arm: str, rounds: list[Round]) -> list[Check]:
        """Whether the probes saw what happened: causes and counts are short of what they lost."""
        lost: Counter[str] = Counter()
        for one in rounds:
            lost.update(one.events_lost)
        known = {name: self._trace.session.probes.get(name) for name in lost}
        much = [
            f"{n:,} of {name}"
            for name, n in lost.items()
            if n > BOUND * (n + ((status.seen or 0) if (status := known[name]) else 0))
        ]
        if not lost:
            return []
        total = lost.total()
        says = f"events were lost: {', '.join(much)}" if much else None
        return [Check(arm, "events_lost", total, 0, not much, says, withholds=True)]

    def _coverage(self, arm: str) -> list[Check]:
        """Whether what was recorded stands for all that ran."""
        found = self.coverage.get(arm)
        if found is None:
            return []
        withholds = not self.allow_unrecorded
        few = found.count <= BOUND * found.programs
        programs = Check(arm, "unrecorded_programs", found.count, 0, few, found.says, withholds)
        if found.share is None:
            return [programs]
        says = found.says_calls or (
            f"calls unrecorded: 0 of {found.calls:,}, at most {percent(found.share_high)}"
        )
        share = Check(
            arm, "unrecorded_calls", found.share, 0, found.share <= BOUND, says, withholds
        )
        return [programs, share]

    def _sample(self, arm: str) -> list[Check]:
        """Whether the calls that are there stand for all: those of a snapshot were chosen."""
        snapshot, side = self._trace.session.snapshot, self._trace.session.arms[arm]
        if snapshot is None:
            return []
        says = snapshot.why
        if side.over is not None and side.calls:
            share = f"{100 * side.over / side.calls:.3g} %"
            says = f"{says}: {side.over} of {side.calls} calls are over ({share}), {side.kept} kept"
        return [Check(arm, "all_kept", None, None, False, says, withholds=True)]

    def _rows(self, arm: str) -> list[Check]:
        """Whether the files hold what the session wrote: a part may have been removed or added."""
        session = self._trace.session
        told = _total([r.calls if r.kept is None else r.kept for r in session.rounds])
        if told is None or not session.complete or arm != self._arms[0]:
            return []  # once is enough: files are not an arm's own
        rows = self._trace.rows(CALLS)
        says = f"its files hold {rows} calls, its session wrote {told}"
        off = abs(rows - told)
        return [Check(arm, "rows", off, 0, not off, says if off else None, withholds=True)]

    def _stamps(self, arm: str) -> list[Check]:
        """Whether the calls' stamps can be true."""
        cells = self._cells()
        mine = [cell for cell in cells.sketches if cell.arm == arm and cell.syscall == ALL]
        if not mine:
            return [Check(arm, name, None, 0, None, "no calls recorded") for name in STAMP_CHECKS]
        whole = [cells.whole(cell) for cell in mine]
        return [self._in_order(arm, whole), self._within_caller(arm, whole), self._fits(arm)]

    def _in_order(self, arm: str, whole: list[Sketch]) -> Check:
        """Stamps of one side are readings of one CPU: no clock excuses them."""
        back, ns = self._backwards(whole, ("post", "execute", TOTAL))
        says = f"{back} stages between stamps of one CPU are below zero, by {ns:.0f} ns at most"
        return Check(arm, "stamps_in_order", back, 0, not back, says if back else None, True)

    def _within_caller(self, arm: str, whole: list[Sketch]) -> Check:
        """The service's stamps lie between its caller's, as far as two CPUs' counters agree."""
        beyond, ns = self._backwards(whole, ("poll", "complete"))
        bound = self._trace.session.clock.skew_bound_ns
        says = f"{beyond} stages between stamps of two CPUs are below zero, by {ns:.0f} ns at most"
        says += f"; their counters may differ by {bound:.0f} ns" if bound is not None else ""
        fine = not beyond or (bound is not None and ns <= bound)
        says = says if beyond else None
        return Check(arm, "service_within_caller", beyond, 0, fine, says, withholds=True)

    def _backwards(self, whole: list[Sketch], stages: Collection[str]) -> tuple[int, float]:
        """How often some stages are below zero, and by how many nanoseconds at most."""
        at = [QUANTITIES.index(stage) for stage in stages]
        often = sum(int(sketch.negative[at].sum()) for sketch in whole)
        return often, -min(int(sketch.mins[at].min()) for sketch in whole) * self._ns

    def _fits(self, arm: str) -> Check:
        """Calls take no more time than there was around them."""
        name, clock = "fits_outside", self._trace.session.clock
        margin = math.ceil((clock.skew_bound_ns or 0) / clock.ns_per_cycle)
        rounds = [r for r in self._trace.session.rounds if r.arm == arm]
        found = fit(rounds, self._cells().fills, margin)
        if not found.rounds:
            return Check(arm, name, None, 0, None, "nobody measured the time around its rounds")
        if found.off:
            return Check(arm, name, len(found.off), 0, False, found.off[0], withholds=True)
        says = "every call within its round"
        if found.share is not None and not self._trace.session.sparse:
            says = f"calls fill {100 * found.share:.3g} % of the time around them"
        return Check(arm, name, 0, 0, True, says, withholds=True)

    def _agreement(self) -> list[Check]:
        """Whether the static probes, where they were asked for, saw what the stamps say."""
        status = self._trace.session.probes.get(PROBE)
        if status is None:
            return []
        name = "stamps_off"
        if not status.attached or not status.seen:
            why = status.reason or "the static probes saw no call"
            return [Check(arm, name, None, 0, None, why) for arm in self._arms]
        agreement = Agreement(self._trace)
        found, hit = agreement.df_agreement(), agreement.hit()
        checks: list[Check] = []
        for arm in self._arms:
            mine = found[(found["arm"] == arm) & found["agree"].notna()]
            if mine.empty or hit is None:
                checks.append(Check(arm, name, None, 0, None, "insufficient: too few calls"))
                continue
            off = mine.loc[mine["agree"] != True, "stamp"].tolist()  # noqa: E712 - a column
            late = ", ".join(
                f"{row['stamp']} {row['p50_ns']:.0f}"
                for row in mine.to_dict("records")
                if row["n"] > row["unmatched"]
            )
            says = (
                f"probes come {late or '?'} ns after their stamps; a hit costs {hit.cost_ns:.0f} ns"
            )
            if unmatched := int(mine["unmatched"].sum()):
                says += f"; {unmatched} of {mine['n'].sum()} fit no call"
            checks.append(Check(arm, name, len(off), 0, not off, says))
        return checks

    def _events(self, arm: str, events: pd.DataFrame) -> list[Check]:
        return [self._event(arm, name, probe, events) for name, (probe, _) in COUNTS.items()]

    def _event(self, arm: str, name: str, probe: str, events: pd.DataFrame) -> Check:
        full = f"{name}_per_call"
        expected = 0.0 if self._promises(arm) and name in _PROMISED else None
        session = self._trace.session
        if why := session.snapshot.why if session.snapshot else session.sparse:
            return Check(arm, full, None, expected, None, why)
        mine = events[(events["arm"] == arm) & events[name].notna()]
        status = self._trace.session.probes.get(probe)
        if mine.empty:
            return Check(arm, full, None, expected, None, self._unasked(probe))
        calls, count = int(mine["calls"].sum()), float(mine[name].sum())
        lost = (status.lost or 0) if status else 0
        if lost and (expected is None or (count + lost) / calls > NEGLIGIBLE):
            return Check(arm, full, None, expected, None, f"{lost} events of {probe} lost")
        says = f"{int(count)} in {calls} calls"
        if expected is not None:
            # The promise is about calls that nobody waits in: waiting costs what it costs.
            aside, waits = int(mine[f"{name}_aside"].sum()), int(mine["waits"].sum())
            if aside:
                says += f", {aside} of them while the program or one of {waits} calls waited"
            count, calls = count - aside, calls - waits
        if name == "app_syscalls":
            # Calls that must run on the caller are its own, whatever forwards the others.
            rest = mine[name] - (0 if expected is None else mine[f"{name}_aside"])
            local = float(np.minimum(rest, mine["local"].fillna(0)).sum())
            if local:
                says += f", {int(local)} of them local on purpose"
            count -= local
        if lost:
            # Even if every lost event were one of these, the promise would hold.
            says, count = f"{says}, at most {lost} more among lost events", count + lost
        if not calls:
            return Check(
                arm, full, None, expected, None, f"insufficient: every call waited, {says}"
            )
        value = count / calls
        if expected is None:
            return Check(arm, full, value, None, None, says)
        if _too_few(count, calls):
            return Check(arm, full, value, expected, None, f"insufficient: {says}")
        return Check(arm, full, value, expected, value <= NEGLIGIBLE, says)

    def _promises(self, arm: str) -> bool:
        side = self._trace.session.arms[arm]
        return side.transport in _SILENT and side.service != "scanner"


def _lost(arm: str, lost: int | None) -> Check:
    if lost is None:
        why = "the session did not end in order"
        return Check(arm, "lost", None, 0, None, why, withholds=True)
    says = None if lost == 0 else f"{lost} calls lost: record again with a larger --ring"
    return Check(arm, "lost", lost, 0, lost == 0, says, withholds=True)


def _too_few(count: float, calls: int) -> bool:
    """Whether a promise per call cannot be told from what starting and stopping cost."""
    return calls * NEGLIGIBLE < 1 or NEGLIGIBLE * calls < count <= HANDFUL


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _zero(value: int | None) -> int:
    return value or 0
