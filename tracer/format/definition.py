# SPDX-License-Identifier: MIT
"""The trace folder: its one definition, and the reader.

A trace is a folder `NAME.memsc/` with a `session.json` (the model below) and tables, each a folder
of Parquet files `part-NNNN.parquet`. A part is one row group, closed and renamed when complete, so
that whatever stands under its final name is whole. This module is pure: it opens files and nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.tracer.format.counted import Counters
from memsc.tracer.format.damage import contradiction, every_printable, whole
from memsc.tracer.format.parts import Part, check_regular, location, read_part, rows_of

SCHEMA = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Makes of a session of a schema one of the next: none yet, for 1 is the first.

A field that is added needs no new schema, only a default: traces from before it open as they are.
"""
SUFFIX = ".memsc"
SESSION = "session.json"
CALLS = "calls"
TIMINGS = "timings"
EVENTS = "events"

STAMPS = ("called", "posted", "picked", "executed", "completed")
STAGES = ("post", "poll", "execute", "complete")

# Bits of the `flags` column: `enum memsc_call_flags` of runtime/src/layout.h, held to it by a test.
FLAGS = {"async": 1, "pooled": 2, "slept": 4, "woke": 8, "takeover": 16}

# Where `flags` has each side's polls (enum memsc_polls; the same test), and how they are packed.
POLLS = {"service": 8, "app": 20}
_POLLS_MOST, _POLLS_EXACT, _POLLS_STEP_SHIFT = 4095, 2048, 7


def polls_of(flags: NDArray[np.int64], side: str) -> NDArray[np.int64]:
    """How often a side looked while it waited: exact below 2048, then rounded down by up to 6 %.

    Args:
        flags: the column.
        side: "app" (the caller, for its result) or "service" (since it served the call before).
    """
    packed = flags >> POLLS[side] & _POLLS_MOST
    steps = (packed - _POLLS_EXACT) << _POLLS_STEP_SHIFT
    return np.where(packed < _POLLS_EXACT, packed, steps)


NAME: pa.DataType = pa.dictionary(pa.int32(), pa.string())


def field(name: str, unit: str | None = None, kind: pa.DataType | None = None) -> pa.Field[Any]:
    """A column: int64 unless a kind is given, with its unit in the metadata."""
    metadata = {"unit": unit} if unit else None
    return pa.field(
        name, kind if kind is not None else pa.int64(), nullable=False, metadata=metadata
    )


CALLS_SCHEMA: pa.Schema = pa.schema(
    [
        field("arm", kind=NAME),
        field("case", kind=NAME),
        field("round"),
        field("pid"),
        field("tid"),
        field("syscall", kind=NAME),
        field("number"),
        field("result"),
        *(field(stamp, "cycles") for stamp in STAMPS),
        field("app_cpu"),
        field("service_cpu"),
        field("flags", "bits"),
    ],
    metadata={"memsc_schema": str(SCHEMA)},
)

TIMINGS_SCHEMA: pa.Schema = pa.schema(
    [
        field("arm", kind=NAME),
        field("case", kind=NAME),
        field("round"),
        field("recording"),
        field("calls", "calls"),
        field("cycles", "cycles"),
    ],
    metadata={"memsc_schema": str(SCHEMA)},
)

EVENT_UNITS = {"time": "ns"}
"""Units of the columns that every event has: time (CLOCK_MONOTONIC), cpu, pid, tid, kind."""


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
    stage: str  # or "total"
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


class Round(msgspec.Struct, frozen=True):
    """One run of one case under one arm; `check` rounds are disturbed by probes, on purpose."""

    arm: str
    case: str
    round: int
    check: bool = False
    recording: bool = True
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
    unfinished: int | None = None  # made by processes that were killed before they saw the end
    local: int | None = None
    stopped: str | None = None  # why the session ended it: "interrupted", "duration", "snapshot"
    attached: bool = False  # the program ran before, and went on
    over: int | None = None  # of a snapshot, as in `Arm`; `calls` are all that were recorded
    kept: int | None = None
    events_lost: dict[str, int] = {}  # that found a full ring, by probe
    isolated: str | None = None  # by what means the application's CPUs were (as Isolation.how)
    tracer_cpu_s: float | None = None  # of the session itself, until all is drained and written
    # What a benchmark's program says beside its times, by name; null where it does not know.
    measures: dict[str, float | None] | None = None

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


class Noise(msgspec.Struct, frozen=True):
    """What took the application's CPUs away, per second, over `seconds` of time."""

    seconds: float
    interrupts: float
    softirqs: float
    switches: float | None = None
    switches_reason: str | None = None
    by_interrupt: dict[str, float] = {}  # the most frequent ones


class Isolation(msgspec.Struct, frozen=True):
    """How the application's CPUs were kept free, and what came there nevertheless.

    `before` and `isolated` are measured on a CPU that one thread keeps busy, so that they compare;
    `during` is while the session's programs ran.
    """

    how: str | None = (
        None  # "v2 partition", "v2 cpuset", "v1 cpuset", "affinity"; null: not isolated
    )
    strays: int = 0  # threads of the kernel that cannot be moved
    interrupts_moved: int = 0
    interrupts_kept: int = 0
    notes: list[str] = []
    before: Noise | None = None
    isolated: Noise | None = None
    during: Noise | None = None
    failed: list[str] = []  # what could not be given back at the end, and why


class Session(msgspec.Struct, frozen=True):
    """`session.json`. A value that is not known is null, with a reason beside it, never 0."""

    memsc: str
    created: str
    command: list[str]
    clock: Clock
    schema: int = SCHEMA
    complete: bool = False
    environment: dict[str, Any] = {}
    arms: dict[str, Arm] = {}
    rounds: list[Round] = []
    probes: dict[str, ProbeStatus] = {}
    isolation: Isolation | None = None
    perturbation: dict[str, Any] | None = None
    snapshot: Snapshot | None = None
    counters: Counters | None = None

    def encode(self) -> bytes:
        """The file's bytes: indented JSON in field order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def decode_session(data: bytes, path: Path) -> Session:
    """Parses `session.json`, of this schema or an older one.

    Raises:
        MemscError: not JSON, no schema number, a schema newer than this memsc or none of memsc's,
            or a field of the wrong type (named by its JSON path).
    """
    what = f"cannot read {path}"
    try:
        content = every_printable(msgspec.json.decode(data, type=dict[str, Any]))
        schema = msgspec.convert(content, _Versioned).schema
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise MemscError(what, f"not a memsc session ({error})", "name a trace folder") from error
    if not 1 <= schema <= SCHEMA:
        why = f"it has trace schema {schema}, this memsc reads 1 to {SCHEMA}"
        raise MemscError(what, why, "upgrade memsc" if schema > SCHEMA else "record it again")
    try:
        for step in range(schema, SCHEMA):
            content = UPGRADES[step](content)
        session = msgspec.convert(content, Session)
    except msgspec.ValidationError as error:
        raise MemscError(what, f"damaged session ({error})", "record it again") from error
    wrong = contradiction(session)
    if wrong:
        raise MemscError(what, f"damaged session ({wrong})", "record it again")
    return session


class _Versioned(msgspec.Struct):
    schema: int


@dataclass(frozen=True, slots=True)
class TraceFolder:
    """An opened trace: its session and the whole parts of its tables, nothing read yet."""

    path: Path
    session: Session
    parts: dict[str, list[Part]]

    def rows(self, table: str) -> int:
        """Rows of a table; 0 if the trace has no such table."""
        return sum(part.rows for part in self.parts.get(table, []))

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """A table's rows, one part at a time, in the order they were recorded."""
        for part in self.parts.get(table, []):
            yield read_part(part, columns)

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole table in memory: for small ones (`timings`, events of one probe).

        Raises:
            MemscError: the trace has no such table.
        """
        found = list(self.batches(table, columns))
        if not found:
            raise MemscError(
                f"cannot read {table} of {self.path}", "not recorded", self._remedy(table)
            )
        return pa.concat_tables(found, promote_options="permissive").unify_dictionaries()

    def _remedy(self, table: str) -> str:
        if table.startswith(f"{EVENTS}/"):
            return f"record again with --probes {table.removeprefix(f'{EVENTS}/')}"
        return f"this trace has {', '.join(sorted(self.parts)) or 'no tables'}"


def open_trace(path: str | Path) -> TraceFolder:
    """Opens a trace folder and looks at the footer of every part, which is cheap.

    Raises:
        MemscError: nothing there, not a trace, `session.json` missing or newer than this memsc, a
            part cut short (named).

    Example:
        >>> open_trace("demo.memsc").rows("calls")  # doctest: +SKIP
        4000000
    """
    folder = location(path)
    what = f"cannot open {folder}"
    if not folder.exists():
        raise MemscError(what, "no such folder", "record one with memsc trace -o FOLDER")
    if not folder.is_dir():
        raise MemscError(what, "not a folder", "a trace is a folder NAME.memsc")
    check_regular(folder / SESSION)
    try:
        data = (folder / SESSION).read_bytes()
    except FileNotFoundError as error:
        if (folder / CALLS).is_dir():
            raise MemscError(what, f"its {SESSION} is missing", "copy the whole folder") from error
        raise MemscError(
            what, "not a memsc trace", "name a folder that memsc trace wrote"
        ) from error
    except OSError as error:
        raise MemscError(what, error.strerror or str(error), "check its permissions") from error
    session = decode_session(data, folder / SESSION)
    tables = [folder / CALLS, folder / TIMINGS, *_children(folder / EVENTS)]
    tables += [folder / "counters", folder / "stacks"]
    parts = {str(table.relative_to(folder)): _parts(folder, table) for table in tables}
    return TraceFolder(folder, session, {name: found for name, found in parts.items() if found})


def part_name(index: int) -> str:
    """The file name of a table's part."""
    return f"part-{index:04d}.parquet"


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _parts(folder: Path, table: Path) -> list[Part]:
    # Past part 9999 the names get longer, so length comes before letters.
    files = sorted(table.glob("part-*.parquet"), key=lambda file: (len(file.name), file.name))
    return [Part(str(table.relative_to(folder)), file, rows_of(file)) for file in files]
