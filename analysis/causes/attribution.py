# SPDX-License-Identifier: MIT
"""Why a slow call was slow: its excess over the usual, shared out to what was seen meanwhile.

The excess of each stage over the stage's median belongs, in this order, to the events that had the
CPU the stage needs; to the entry and exit of these, up to a calibrated cost; to what the runtime
says it did (parked, slept, pooled, served others); to what the usual call of its round took longer;
and the rest to the host if the side that should have looked did not, or to the processor if it is
too short for the host. What no evidence supports is unexplained. docs/decisions/0009-causes.md says
why, and what each rests on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.causes.intervals import TASK, Found, has_noise, intervals
from memsc.analysis.causes.meetings import COMPLETE, EXECUTE, POLL, POST, SERVICE, Meetings, Met
from memsc.analysis.causes.shares import (
    BUSY,
    HOST,
    LATE,
    LINE,
    POOLED,
    SLEPT,
    SLOWER,
    STALL,
    UNEXPLAINED,
    WAITED,
    WAKING,
    WOKEN,
    Shares,
    Usual,
)
from memsc.analysis.causes.slow import Slow
from memsc.analysis.causes.wake_ups import arrivals, begins_asleep
from memsc.analysis.data.overlap import Ints
from memsc.tracer.format import FLAGS, STAGES, STAMPS, RoundKey, TraceFolder

SHORTEST_EXIT_NS = 1000
"""No hypervisor takes a CPU and gives it back in less: what is shorter is the processor's own."""

_HAND_OFFS = (POLL, COMPLETE)
_SIDES = ("app", "service", "")  # the first two as in `Met.side`
# What an interrupt's way in and out may cost where a trace holds too few to calibrate it.
_DELIVERY_NS = {True: 10_000, False: 2_000}
_CALIBRATED = 20
_SEEN_PER_LOST = 1000


def attribute(trace: TraceFolder, slow: Slow, usual: Usual) -> tuple[Shares, Found]:
    """Shares out the excess of slow calls.

    Args:
        trace: an opened trace.
        slow: its slow calls.
        usual: what calls of their kind take.

    Returns:
        The shares, and the events that were found around the calls.
    """
    clock, frame = trace.session.clock, slow.frame
    stamps = np.stack([clock.ns(frame[name].to_numpy(np.int64)) for name in STAMPS])
    cpus = [frame[name].to_numpy(np.int64) for name in ("app_cpu", "service_cpu")]
    threads = set(frame["pid"].tolist()) | set(frame["tid"].tolist())
    found = intervals(trace, stamps[0], stamps[-1], cpus, threads)
    work = _Attribution(trace, slow, usual, stamps, found)
    return work.run(), found


class _Attribution:
    def __init__(
        self, trace: TraceFolder, slow: Slow, usual: Usual, stamps: Ints, found: Found
    ) -> None:
        self._trace, self._slow, self._usual = trace, slow, usual
        self._frame, self._stamps, self._found = slow.frame, stamps, found
        self._whole = found.of("intervals")
        self._calls = len(slow.frame)
        self._ns = trace.session.clock.ns_per_cycle
        self._lengths = np.diff(stamps, axis=0).astype(np.float64)
        excess = np.maximum(self._lengths - usual.stages, 0)
        flags = self._column("flags")
        self._async = (flags & FLAGS["async"]) > 0
        # The caller was elsewhere: when it comes back is not the call's matter.
        excess[COMPLETE, self._async] = 0
        self._rest = excess
        # A flag that most calls have is no reason for one to be slow.
        self._flags = flags & ~usual.flags
        self._all_flags = flags
        useful = {"noise", "sched", "ipi"}
        self._meetings = Meetings(self._frame, stamps, self._of_rounds(useful))
        self._causes: dict[str, int] = {}
        # Of each part: call, stage, cause, side and ns.
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def _cause(self, name: str) -> int:
        return self._causes.setdefault(name, len(self._causes))

    def _column(self, name: str) -> Ints:
        return self._frame[name].to_numpy(np.int64)

    def run(self) -> Shares:
        delivery = self._events()
        self._runtime()
        for stage in range(len(STAGES)):
            side = "app" if stage in (POST, COMPLETE) else "service"
            self._give(stage, SLOWER, side, self._usual.slower[stage])
        self._host()
        for stage in range(len(STAGES)):
            self._give(stage, UNEXPLAINED, "", self._rest[stage])
        call, stage, cause, side, ns = (
            np.concatenate(some) for some in zip(*self._parts, strict=True)
        )
        columns = {
            "call": call,
            "stage": pd.Categorical.from_codes(stage, pd.Index(STAGES, dtype=object)),
            "cause": pd.Categorical.from_codes(cause, pd.Index(list(self._causes), dtype=object)),
            "side": pd.Categorical.from_codes(side, pd.Index(_SIDES, dtype=object)),
            "ns": ns,
        }
        frame = pd.DataFrame(columns, copy=False)
        return Shares(frame, delivery)

    def _give(
        self,
        stage: int,
        cause: str,
        side: str,
        ns: NDArray[np.floating[Any]],
        where: NDArray[np.bool_] | None = None,
    ) -> None:
        """Gives a cause so much of a stage's rest, where it has any."""
        ns = np.minimum(ns, self._rest[stage])
        given = ns > 0 if where is None else (ns > 0) & where
        calls = np.flatnonzero(given)
        self._rest[stage, calls] -= ns[calls]
        alike = (stage, np.int8), (self._cause(cause), np.int32), (_SIDES.index(side), np.int8)
        columns = (np.full(len(calls), one, kind) for one, kind in alike)
        self._parts.append((calls.astype(np.int32), *columns, ns[calls]))

    # ---- events ----

    def _events(self) -> float:
        whole, instants = self._whole, self._found.of("instants")
        pairs, marks = self._meetings.intervals(whole), self._meetings.instants(instants)
        # Two CPUs in one stage may both be away: together not longer than the stage.
        at = pairs.stage, pairs.call
        seen = np.zeros_like(self._lengths)
        np.add.at(seen, at, pairs.ns)
        scale = np.minimum(1.0, self._lengths / np.maximum(seen, 1e-9))
        pairs = pairs._replace(ns=pairs.ns * scale[at])
        seen = np.minimum(seen, self._lengths)
        self._rest = np.maximum(self._rest - seen, 0)
        causes = self._names(pairs, whole)
        self._take(pairs, causes, pairs.ns)
        both = Met.of([pairs, marks])
        causes = np.concatenate([causes, self._names(marks, instants)])
        levels = whole["level"].to_numpy(np.int8)[pairs.event]
        levels = np.concatenate([levels, np.full(len(marks.call), -1, np.int8)])
        counts = np.zeros_like(self._lengths)
        np.add.at(counts, (both.stage, both.call), 1)
        delivery = self._delivery(both, levels, counts)
        # Longest first: who was there longest answers for the way in and out.
        order = np.argsort(-both.ns, kind="stable")
        places = both.stage[order] * np.int64(self._calls) + both.call[order]
        first = order[np.sort(np.unique(places, return_index=True)[1])]
        one = both.at(first)
        ways = np.minimum(self._rest[one.stage, one.call], delivery * counts[one.stage, one.call])
        self._rest[one.stage, one.call] -= ways
        self._take(one, causes[first], ways)
        return delivery

    def _take(self, met: Met, causes: Ints, ns: NDArray[np.float64]) -> None:
        some = ns > 0
        self._parts.append(
            (met.call[some], met.stage[some], causes[some], met.side[some], ns[some])
        )

    def _names(self, met: Met, events: pd.DataFrame) -> Ints:
        """The cause that each event is to the side that it met."""
        names = events["name"].cat
        code = names.codes.to_numpy()[met.event].astype(np.int64)
        turn = events["level"].to_numpy()[met.event] == TASK
        kind = np.where(turn, 1 + met.side, 0)
        prefixes = ("", "preempted by ", "service preempted by ")
        found, place = np.unique(3 * code + kind, return_inverse=True)
        texts = [prefixes[one % 3] + names.categories[one // 3] for one in found.tolist()]
        return np.array([self._cause(text) for text in texts], np.int64)[place]

    def _delivery(self, met: Met, levels: NDArray[np.int8], counts: NDArray[np.float64]) -> float:
        """Twice what is usually missing around a single interrupt: its way in and out."""
        alone = (counts[met.stage, met.call] == 1) & (levels > TASK)
        rest = self._rest[met.stage[alone], met.call[alone]]
        if len(rest) < _CALIBRATED:
            return float(_DELIVERY_NS[bool(self._trace.session.environment.virtual)])
        return float(2 * np.median(rest))

    # ---- what the runtime says ----

    def _runtime(self) -> None:
        def has(*names: str) -> NDArray[np.bool_]:
            return (self._flags & sum(FLAGS[name] for name in names)) > 0

        everything = np.full(self._calls, np.inf)
        self._give(POLL, BUSY, "service", self._column("busy") * self._ns)
        self._give(POLL, WOKEN, "service", everything, has("woke"))
        self._give(POLL, POOLED, "service", everything, has("pooled"))
        self._give(EXECUTE, WAITED, "service", everything, has("pooled", "takeover"))
        self._give(COMPLETE, POOLED, "service", everything, has("takeover"))
        self._give(COMPLETE, SLEPT, "app", everything, has("slept"))

    # ---- the host, or the processor ----

    def _host(self) -> None:
        seen = self._fully_probed()
        stolen = self._meetings.stolen(self._found.of("stolen"))
        for stage in range(len(STAGES)):
            rest = self._rest[stage]
            away = self._away(stage)
            long = rest >= SHORTEST_EXIT_NS
            side = "app" if stage in (POST, COMPLETE) else "service"
            by_clock = (stolen[stage] >= rest / 2) & long
            self._give(stage, HOST, side, rest.copy(), seen & (by_clock | (away & long)))
            # Shorter than any exit, and nothing of the guest there: the processor itself.
            short = seen & ~long & (self._polls(stage) if stage in _HAND_OFFS else away)
            cause = LINE if stage in _HAND_OFFS else STALL
            self._give(stage, cause, side, self._rest[stage].copy(), short)
            if stage in _HAND_OFFS:
                self._wake_ups(stage, side, seen)

    def _wake_ups(self, stage: int, side: str, seen: NDArray[np.bool_]) -> None:
        """What a hand-off took longer that begins with a wake-up, and no event explains."""
        arms = begins_asleep(self._trace.session.arms, poll=stage == POLL)
        woken = self._frame["arm"].isin(arms).to_numpy() & seen & ~self._async
        cpu = self._column("service_cpu" if stage == POLL else "app_cpu")
        came = arrivals(self._whole, cpu, *self._stamps[stage : stage + 2])
        # Later than all of a hand-off usually takes: so much at least was before it.
        self._give(stage, LATE, side, came - self._usual.stages[stage], woken)
        self._give(stage, WAKING, side, self._rest[stage].copy(), woken)

    def _fully_probed(self) -> NDArray[np.bool_]:
        """Calls of rounds in which next to nothing of the guest can have gone unseen."""
        status = self._trace.session.probes.get("noise")
        if not has_noise(self._trace) or status is None or status.lost is None:
            return np.zeros(self._calls, np.bool_)
        # Full rings are known by round; of hits that the kernel skipped only the number is. One in
        # a thousand is hardly the one that a call's gap wants for its explanation.
        full = sum(r.events_lost.get("noise", 0) for r in self._trace.session.rounds)
        if (status.lost - full) * _SEEN_PER_LOST > (status.seen or 0):
            return np.zeros(self._calls, np.bool_)
        return self._of_rounds({"noise"})

    def _of_rounds(self, probes: set[str]) -> NDArray[np.bool_]:
        """Calls of rounds that had any of some probes."""
        known = {r.key for r in self._trace.session.rounds if probes & set(r.probes)}
        keys = self._frame[["arm", "case", "round"]].itertuples(index=False)
        return np.array([RoundKey(*key) in known for key in keys], np.bool_)

    def _away(self, stage: int) -> NDArray[np.bool_]:
        """Whether the side that the stage needs was demonstrably not running for the rest."""
        if stage == POST:
            # A few stores: there is nothing else that it could have done.
            return np.ones(self._calls, np.bool_)
        if stage == EXECUTE:
            return self._usual.steady
        polls = self._polls(stage)
        costs = [self._slow.poll_cycles.get(a, (np.nan, np.nan)) for a in self._frame["arm"]]
        service = np.array(costs, np.float64).reshape(-1, 2)[:, SERVICE]
        if stage == COMPLETE:
            # It looked too seldom; or it looked all the time and there was nothing to see, for the
            # service was away between its last stamp and publishing. One of them was.
            return polls
        since = self._column("since")
        waited = self._column("picked") - np.where(since > 0, since, self._column("posted"))
        looked = self._column("service_polls") * service
        return polls & (looked + self._rest[POLL] / self._ns / 2 <= waited)

    def _polls(self, stage: int) -> NDArray[np.bool_]:
        """Calls of which the sides of a hand-off waited by looking, from beginning to end."""
        arms = self._trace.session.arms
        # Of a scanner the caller does, for the thread that has executed the call.
        mine = {n: a for n, a in arms.items() if a.service == "inline" or stage == COMPLETE}
        polling = {n for n, arm in mine.items() if arm.transport in ("memsc", "adaptive")}
        slept = (self._all_flags & (FLAGS["slept"] | FLAGS["woke"])) > 0
        both = np.array([arm in polling for arm in self._frame["arm"]], np.bool_)
        return both & ~self._async & ~slept
