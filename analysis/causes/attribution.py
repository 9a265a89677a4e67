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
from memsc.analysis.data.overlap import Ints, Segments, flatten, overlaps
from memsc.tracer.format import FLAGS, STAGES, STAMPS, RoundKey, TraceFolder

SHORTEST_EXIT_NS = 1000
"""No hypervisor takes a CPU and gives it back in less: what is shorter is the processor's own."""

_APP, _SERVICE = 0, 1
_POST, _POLL, _EXECUTE, _COMPLETE = range(4)
_HAND_OFFS = (_POLL, _COMPLETE)
# A service interrupted between its last stamp and publishing: the event begins within this.
_PUBLISHING_NS = 300
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
    if len(frame):
        found = intervals(trace, stamps[0], stamps[-1])
    else:
        found = intervals(trace, np.zeros(0, np.int64), np.zeros(0, np.int64))
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
        excess[_COMPLETE, self._async] = 0
        self._rest = excess
        # A flag that most calls have is no reason for one to be slow.
        self._flags = flags & ~usual.flags
        self._all_flags = flags
        self._direct = self._column("picked") == self._column("called")
        useful = {"noise", "sched", "ipi"}
        self._probed = self._of_rounds(useful)
        self._parts: list[pd.DataFrame] = []

    def _column(self, name: str) -> Ints:
        return self._frame[name].to_numpy(np.int64)

    def run(self) -> Shares:
        delivery = self._events()
        self._runtime()
        for stage in range(len(STAGES)):
            side = "app" if stage in (_POST, _COMPLETE) else "service"
            self._give(stage, SLOWER, side, self._usual.slower[stage])
        self._host()
        for stage in range(len(STAGES)):
            self._give(stage, UNEXPLAINED, "", self._rest[stage])
        parts = [part for part in self._parts if len(part)]
        columns = ["call", "stage", "cause", "side", "ns"]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
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
        self._parts.append(
            pd.DataFrame({"call": calls, "ns": ns[calls]}).assign(
                stage=STAGES[stage], cause=cause, side=side
            )
        )

    # ---- events ----

    def _queries(self) -> pd.DataFrame:
        """Which CPU each stage needs, from when to when."""
        app, service = self._column("app_cpu"), self._column("service_cpu")
        # Who sleeps is woken from the other CPU: then the stage needs both.
        woken = (self._all_flags & FLAGS["woke"]) > 0
        slept = (self._all_flags & FLAGS["slept"]) > 0
        every = np.ones(self._calls, np.bool_)
        rows: list[pd.DataFrame] = []
        for stage, side, cpu, where, late in (
            (_POST, _APP, app, every, False),
            (_POLL, _SERVICE, service, every, False),
            (_POLL, _APP, app, woken & (app != service), False),
            (_EXECUTE, _SERVICE, service, ~self._direct, False),
            (_EXECUTE, _APP, app, self._direct, False),
            (_COMPLETE, _APP, app, every, False),
            (_COMPLETE, _SERVICE, service, slept & (app != service), False),
            (_COMPLETE, _SERVICE, service, ~slept & (app != service), True),
        ):
            calls = np.flatnonzero(where & ~(self._async & (stage == _COMPLETE)))
            rows.append(
                pd.DataFrame(
                    {
                        "call": calls,
                        "stage": stage,
                        "side": side,
                        "cpu": cpu[calls],
                        "start": self._stamps[stage, calls],
                        "end": self._stamps[stage + 1, calls],
                        "publishing": late,
                    }
                )
            )
        queries = pd.concat(rows, ignore_index=True)
        # Of a round without probes there are no events; what seems to reach into it is no event.
        return queries[self._probed[queries["call"].to_numpy()]]

    def _own(self, pairs: pd.DataFrame, events: pd.DataFrame) -> NDArray[np.bool_]:
        """Turns of the call's own thread, or of the service that works for it."""
        event, call = pairs["event"].to_numpy(), pairs["call"].to_numpy()
        tid, pid = events["tid"].to_numpy()[event], events["pid"].to_numpy()[event]
        turn = events["level"].to_numpy()[event] == TASK
        caller = tid == self._column("tid")[call]
        name = events["name"].to_numpy()[event].astype(str)
        # Without names it is the thread of the caller's process on the CPU that serves it.
        served = (pairs["side"].to_numpy() == _SERVICE) & np.char.startswith(name, "thread ")
        service = np.char.startswith(name, "memsc-") | served
        service &= pid == self._column("pid")[call]
        return turn & (caller | service)

    def _pairs(self, queries: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
        parts: list[pd.DataFrame] = []
        for cpu, mine in queries.groupby("cpu"):
            here = np.flatnonzero(events["cpu"].to_numpy() == cpu)
            if not len(here):
                continue
            columns = (events[name].to_numpy(np.int64)[here] for name in ("start", "end", "level"))
            segments = flatten(*columns)
            start, end = mine["start"].to_numpy(np.int64), mine["end"].to_numpy(np.int64)
            found = overlaps(start, end, segments)
            rows = mine.iloc[found.query]
            event = here[segments.owner[found.segment]]
            parts.append(rows.assign(event=event, ns=found.ns.astype(np.float64)))
        if not parts:
            return queries.iloc[:0].assign(event=np.int64(0), ns=0.0)
        pairs = pd.concat(parts, ignore_index=True)
        begins = events["start"].to_numpy(np.int64)[pairs["event"].to_numpy()]
        late = pairs["publishing"] & (begins > pairs["start"] + _PUBLISHING_NS)
        return pairs[~(late | self._own(pairs, events))]

    def _instants(self, queries: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
        """Events of which only the begin is known: they have no time, but may explain some."""
        parts: list[pd.DataFrame] = []
        for cpu, mine in queries[~queries["publishing"]].groupby("cpu"):
            here = events[events["cpu"] == cpu]
            time = here["start"].to_numpy(np.int64)
            length = np.zeros(len(time), np.int64) + 1
            points = Segments(time, time + length, np.arange(len(time)))
            # Instants that share a nanosecond would not ascend; which of them is found matters not.
            once = np.flatnonzero(np.diff(time, prepend=-1) > 0)
            points = Segments(*(column[once] for column in points))
            found = overlaps(
                mine["start"].to_numpy(np.int64), mine["end"].to_numpy(np.int64), points
            )
            rows = mine.iloc[found.query]
            owner = here.index.to_numpy()[points.owner[found.segment]]
            parts.append(rows.assign(event=owner, ns=0.0))
        if not parts:
            return queries.iloc[:0].assign(event=np.int64(0), ns=0.0)
        pairs = pd.concat(parts, ignore_index=True)
        # A fault, or a move, is the thread's own or nothing to it.
        event, call = pairs["event"].to_numpy(), pairs["call"].to_numpy()
        tid, pid = (events[name].to_numpy(np.int64)[event] for name in ("tid", "pid"))
        named = events["name"].to_numpy()[event]
        own = (tid == self._column("tid")[call]) | (
            (pid == self._column("pid")[call]) & (pairs["side"].to_numpy() == _SERVICE)
        )
        alike = ~np.isin(named.astype(str), ("page fault", "migrated"))
        return pairs[own | alike]

    def _events(self) -> float:
        queries = self._queries()
        whole, instants = self._whole, self._found.of("instants")
        pairs = self._pairs(queries, whole)
        marks = self._instants(queries, instants)
        pairs = pairs.assign(cause=self._names(pairs, whole), level=_taken(whole, pairs, "level"))
        marks = marks.assign(cause=self._names(marks, instants), level=-1)
        # Two CPUs in one stage may both be away: together not longer than the stage.
        index = [pairs["stage"].to_numpy(), pairs["call"].to_numpy()]
        seen = np.zeros_like(self._lengths)
        np.add.at(seen, tuple(index), pairs["ns"].to_numpy())
        scale = np.minimum(1.0, self._lengths / np.maximum(seen, 1e-9))
        pairs = pairs.assign(ns=pairs["ns"] * scale[tuple(index)])
        seen = np.minimum(seen, self._lengths)
        self._rest = np.maximum(self._rest - seen, 0)
        self._take(pairs)
        both = pd.concat([pairs, marks], ignore_index=True)
        delivery = self._delivery(both)
        # Longest first: who was there longest answers for the way in and out.
        both = both.sort_values("ns", ascending=False, kind="stable")
        counts = np.zeros_like(self._lengths)
        np.add.at(counts, (both["stage"].to_numpy(), both["call"].to_numpy()), 1)
        first = both.drop_duplicates(["stage", "call"])
        stage, call = first["stage"].to_numpy(), first["call"].to_numpy()
        ways = np.minimum(self._rest[stage, call], delivery * counts[stage, call])
        self._rest[stage, call] -= ways
        self._take(first.assign(ns=ways))
        return delivery

    def _take(self, pairs: pd.DataFrame) -> None:
        sides = np.array(["app", "service"], object)[pairs["side"].to_numpy()]
        stages = np.array(STAGES, object)[pairs["stage"].to_numpy()]
        part = pairs[["call", "ns", "cause"]].assign(stage=stages, side=sides)
        self._parts.append(part[part["ns"] > 0])

    def _names(self, pairs: pd.DataFrame, events: pd.DataFrame) -> NDArray[np.object_]:
        name = _taken(events, pairs, "name").astype(object)
        turn = _taken(events, pairs, "level") == TASK
        who = np.where(
            pairs["side"].to_numpy() == _SERVICE, "service preempted by ", "preempted by "
        )
        return np.where(turn, who + name, name)

    def _delivery(self, pairs: pd.DataFrame) -> float:
        """Twice what is usually missing around a single interrupt: its way in and out."""
        alone = pairs[~pairs.duplicated(["call", "stage"], keep=False)]
        alone = alone[alone["level"] > TASK]
        rest = self._rest[alone["stage"].to_numpy(), alone["call"].to_numpy()]
        if len(rest) < _CALIBRATED:
            return float(_DELIVERY_NS[bool(self._trace.session.environment.virtual)])
        return float(2 * np.median(rest))

    # ---- what the runtime says ----

    def _runtime(self) -> None:
        def has(*names: str) -> NDArray[np.bool_]:
            return (self._flags & sum(FLAGS[name] for name in names)) > 0

        everything = np.full(self._calls, np.inf)
        self._give(_POLL, BUSY, "service", self._column("busy") * self._ns)
        self._give(_POLL, WOKEN, "service", everything, has("woke"))
        self._give(_POLL, POOLED, "service", everything, has("pooled"))
        self._give(_EXECUTE, WAITED, "service", everything, has("pooled", "takeover"))
        self._give(_COMPLETE, POOLED, "service", everything, has("takeover"))
        self._give(_COMPLETE, SLEPT, "app", everything, has("slept"))

    # ---- the host, or the processor ----

    def _host(self) -> None:
        seen = self._fully_probed()
        stolen = self._stolen()
        for stage in range(len(STAGES)):
            rest = self._rest[stage]
            away = self._away(stage)
            long = rest >= SHORTEST_EXIT_NS
            side = "app" if stage in (_POST, _COMPLETE) else "service"
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
        arms = begins_asleep(self._trace.session.arms, poll=stage == _POLL)
        woken = self._frame["arm"].isin(arms).to_numpy() & seen & ~self._async
        cpu = self._column("service_cpu" if stage == _POLL else "app_cpu")
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
        if stage == _POST:
            # A few stores: there is nothing else that it could have done.
            return np.ones(self._calls, np.bool_)
        if stage == _EXECUTE:
            return self._usual.steady
        polls = self._polls(stage)
        costs = [self._slow.poll_cycles.get(a, (np.nan, np.nan)) for a in self._frame["arm"]]
        service = np.array(costs, np.float64).reshape(-1, 2)[:, _SERVICE]
        if stage == _COMPLETE:
            # It looked too seldom; or it looked all the time and there was nothing to see, for the
            # service was away between its last stamp and publishing. One of them was.
            return polls
        since = self._column("since")
        waited = self._column("picked") - np.where(since > 0, since, self._column("posted"))
        looked = self._column("service_polls") * service
        return polls & (looked + self._rest[_POLL] / self._ns / 2 <= waited)

    def _polls(self, stage: int) -> NDArray[np.bool_]:
        """Calls of which the sides of a hand-off waited by looking, from beginning to end."""
        arms = self._trace.session.arms
        # Of a scanner the caller does, for the thread that has executed the call.
        mine = {n: a for n, a in arms.items() if a.service == "inline" or stage == _COMPLETE}
        polling = {n for n, arm in mine.items() if arm.transport in ("memsc", "adaptive")}
        slept = (self._all_flags & (FLAGS["slept"] | FLAGS["woke"])) > 0
        both = np.array([arm in polling for arm in self._frame["arm"]], np.bool_)
        return both & ~self._async & ~slept

    def _stolen(self) -> NDArray[np.float64]:
        """What the steal clock says of the windows that overlap each stage, on its CPU."""
        stolen = np.zeros_like(self._lengths)
        events = self._found.of("stolen")
        if not len(events):
            return stolen
        queries = self._queries()
        for cpu, mine in queries[~queries["publishing"]].groupby("cpu"):
            here = events[events["cpu"] == cpu]
            if not len(here):
                continue
            starts, ends = here["start"].to_numpy(np.int64), here["end"].to_numpy(np.int64)
            segments = flatten(starts, ends, np.zeros(len(here), np.int64))
            spans = mine["start"].to_numpy(np.int64), mine["end"].to_numpy(np.int64)
            found = overlaps(*spans, segments)
            rows = mine.iloc[found.query]
            amount = here["stolen"].to_numpy(np.float64)[segments.owner[found.segment]]
            np.maximum.at(stolen, (rows["stage"].to_numpy(), rows["call"].to_numpy()), amount)
        return stolen


def _taken(events: pd.DataFrame, pairs: pd.DataFrame, column: str) -> NDArray[np.generic]:
    values: NDArray[np.generic] = events[column].to_numpy()[pairs["event"].to_numpy(np.int64)]
    return values
