# SPDX-License-Identifier: MIT
"""`session.json`: what is known of a session beside its tables. Pure.

A value that is not known is null, with a reason beside it, never 0. A field that is added needs no
new schema, only a default: traces from before it open as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from memsc.tracer.format.conditions import (
    Environment,
    How,
    Isolation,
    Perturbation,
    Reason,
    Surroundings,
)
from memsc.tracer.format.tables import SCHEMA, Stage

SESSION = "session.json"


Stopped = Literal["interrupted", "duration", "snapshot", "killed"]
"""Why a session ended a program; or that it was killed itself, and what it held came in later."""
Measured = Stage | Literal["total"]


class RoundKey(NamedTuple):
    """One run of one case under one arm."""

    arm: str
    case: str
    round: int


class Clock(msgspec.Struct, frozen=True):
    """The fit between the CPU's counter and CLOCK_MONOTONIC, and how far CPUs disagree."""

    counter: str
    hz: float
    anchor_cycles: int
    anchor_ns: int
    ns_per_cycle: float
    residual_ns: float | None = None
    points: int = 0
    skew_bound_ns: float | None = None
    skew_reason: str | None = None
    # What other clocks showed beyond CLOCK_MONOTONIC; null in traces made before they were noted.
    boottime_offset_ns: int | None = None
    realtime_offset_ns: int | None = None
    # Every reading is a multiple of it beyond another; null in traces made before it was noted.
    step_cycles: int | None = None

    @property
    def step_ns(self) -> float | None:
        """By how much the counter moves at a time: stamps are equal, or at least so far apart."""
        return None if self.step_cycles is None else self.step_cycles * self.ns_per_cycle

    @property
    def margin_ns(self) -> int:
        """By how many nanoseconds stamps of two CPUs, or a stamp and an event, may disagree."""
        return int(np.ceil((self.residual_ns or 0.0) + (self.skew_bound_ns or 0.0)))

    def ns(self, cycles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Stamps in cycles as CLOCK_MONOTONIC nanoseconds, rounded."""
        return self.anchor_ns + whole((cycles - self.anchor_cycles) * self.ns_per_cycle)

    def cycles(self, ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The inverse of `ns`, within one cycle."""
        return self.anchor_cycles + whole((ns - self.anchor_ns) / self.ns_per_cycle)


class Snapshot(msgspec.Struct, frozen=True):
    """Which calls a session kept: those of which a stage took longer, and what was around them."""

    expression: str
    stage: Measured
    threshold_ns: int
    window_ns: int  # before and after
    count: int | None = None  # slow calls after which a round stopped; null went on

    @property
    def why(self) -> str:
        """Why no figure of the kept calls is one of all calls."""
        return f"only calls with {self.expression} and those around them were kept"


class Arm(msgspec.Struct, frozen=True):
    """One side of a comparison. Counts are null until the session has drained its last round."""

    transport: str
    service: str | None = None
    app_cpus: list[int] = []
    service_cpus: list[int] = []
    calls: int | None = None
    lost: int | None = None
    made: int | None = None
    over: int | None = None  # of a snapshot: calls over the threshold,
    kept: int | None = None  # and those that its tables hold
    skipped: int | None = None  # made and not drawn, where one of so many was recorded
    handoff: str | None = (
        None  # how its sides passed a line, one of launch.HANDOFFS; null: not at all
    )


class Unrecorded(msgspec.Struct, frozen=True):
    """A program that ran and was not recorded, or not to its end: its path or name."""

    name: str
    why: str
    times: int = 1


class Coverage(msgspec.Struct, frozen=True):
    """What there was to record in a round, and what of it was not.

    `by` says who counted the programs: the kernel, or the layer in them. By their word alone,
    what a program that is not recorded executes in turn is not known.
    """

    programs: int
    by: Literal["kernel", "layer"]
    by_reason: str | None = None  # why not the kernel
    unrecorded: list[Unrecorded] = []
    missed: dict[str, int] = {}  # calls that programs made unrecorded, by why
    beside: int = 0  # calls made on the service's own CPUs, where programs have put themselves
    unseen: int | None = None  # calls in processes that are not recorded: the kernel counts them in
    # check rounds with probe syscalls
    elsewhere: int | None = None  # of processes that are recorded, by instructions that memsc does
    # not reach: a program's own, or such as were left as they are; counted like `unseen`


class Round(msgspec.Struct, frozen=True):
    """One run of one case under one arm; `check` rounds are disturbed by probes, on purpose."""

    arm: str
    case: str
    round: int
    check: bool = False
    recording: bool = True
    turn: int = 0  # rounds of one turn stand side by side in time: of all arms, recorded or not
    probes: list[str] = []
    start_ns: int | None = None
    end_ns: int | None = None
    start_cycles: int | None = None
    end_cycles: int | None = None
    pids: list[int] = []
    exit_status: int | None = None
    calls: int | None = None
    lost: int | None = None
    made: int | None = None
    unfinished: int | None = None  # that never came back: their process or handler was gone
    local: int | None = None
    skipped: int | None = None  # as in `Arm`; null in traces made before calls could be
    stopped: Stopped | None = None  # why the session ended it
    attached: bool = False  # the program ran before, and went on
    piped: bool = False  # others read its standard output, and may have enough of it before it ends
    over: int | None = None  # of a snapshot, as in `Arm`; `calls` are all that were recorded
    kept: int | None = None
    events_lost: dict[str, int] = {}  # that found a full ring, by probe
    handoff: str | None = None  # as in `Arm`
    isolated: How | None = None  # by what means the application's CPUs were
    tracer_cpu_s: float | None = None  # of the session itself, until all is drained and written
    # What a benchmark's program says beside its times, by name; null where it does not know.
    measures: dict[str, float | None] | None = None
    surroundings: Surroundings | None = None
    coverage: Coverage | None = None  # null where the program was not memsc's to start

    @property
    def key(self) -> RoundKey:
        """What tells it apart in every table."""
        return RoundKey(self.arm, self.case, self.round)


class ProbeStatus(msgspec.Struct, frozen=True):
    """Whether a probe was attached, why not, and how many events it saw and lost.

    `uncounted`: counters that its events lack, and why.
    """

    attached: bool
    reason: str | None = None
    seen: int | None = None
    lost: int | None = None
    uncounted: dict[str, str] = {}


class CounterEvent(msgspec.Struct, frozen=True):
    """One event of the table `counters`; what cannot be counted says why, and has no rows."""

    unit: str
    meaning: str
    counted: bool
    reason: str | None = None
    kernel: bool = True  # what happens in the kernel is counted, too


class Counters(msgspec.Struct, frozen=True):
    """What was counted of threads, and how."""

    events: dict[str, CounterEvent]
    apart: bool  # what is done on the service's CPUs from what is done on the application's
    apart_reason: str | None = None
    elsewhere_ns: int = 0  # time that threads spent on CPUs that were not counted on


class Side(msgspec.Struct, frozen=True):
    """One side of a comparison in turn: its rounds are those of this arm and case."""

    arm: str
    case: str
    command: list[str]
    settings: dict[str, str] = {}  # of memsc, that are not as they are by default


class InTurn(msgspec.Struct, frozen=True):
    """Two sides that a session recorded in turn; a turn is A B B A, or B A A B (`Round.turn`)."""

    base: Side
    new: Side


class Session(msgspec.Struct, frozen=True):
    """`session.json`. A value that is not known is null, with a reason beside it, never 0."""

    memsc: str
    created: str
    command: list[str]
    clock: Clock
    schema: int = SCHEMA
    complete: bool = False
    environment: Environment = Environment()
    arms: dict[str, Arm] = {}
    rounds: list[Round] = []
    probes: dict[str, ProbeStatus] = {}
    isolation: Isolation | None = None
    perturbation: Perturbation | None = None
    snapshot: Snapshot | None = None
    record_every: int = 1  # one of so many calls was recorded, at random; all are counted
    counters: Counters | None = None
    allow_unrecorded: bool = False  # the user knows that not all is recorded
    in_turn: InTurn | None = None
    ok_status: list[int] = []  # exit statuses beside 0 that are no failure, as a shell gives them
    build: str | None = None
    """Of the program's file, by its content: a history tells by it which build was recorded."""
    build_reason: Reason = UNSET

    @property
    def sparse(self) -> str | None:
        """What a figure of recorded calls is to be read with; None: all calls were recorded."""
        if self.record_every == 1:
            return None
        return f"one of {self.record_every} calls was recorded, at random"

    def encode(self) -> bytes:
        """The file's bytes: indented JSON in field order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def sums(arm: str, rounds: Sequence[Round]) -> dict[str, Any]:
    """Counts of an arm over its recorded rounds, as fields of `Arm`."""
    mine = [r for r in rounds if r.arm == arm and r.recording]
    found: dict[str, Any] = {
        name: sum(getattr(r, name) or 0 for r in mine) for name in ("calls", "lost", "made")
    }
    for name in ("over", "kept"):
        if any(getattr(r, name) is not None for r in mine):
            found[name] = sum(getattr(r, name) or 0 for r in mine)
    if any(r.skipped for r in mine):
        found["skipped"] = sum(r.skipped or 0 for r in mine)
    if handoffs := {r.handoff for r in rounds if r.arm == arm and r.handoff}:
        found["handoff"] = ", ".join(sorted(handoffs))
    # What a program made before it was attached to is nobody's to count.
    return found | ({"made": None} if any(r.attached for r in mine) else {})


def whole(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Times rounded; those that no trace can hold, of one that was changed, stay far away."""
    return np.clip(np.rint(values), -(2.0**62), 2.0**62).astype(np.int64)
