# SPDX-License-Identifier: MIT
"""The tables of a trace: their names, their columns, and what stands in them. Pure.

A table is a folder of Parquet files; every integer is int64, names are dictionary-encoded, units
stand in the columns' metadata.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA = 1
"""Of `session.json` and tables alike."""
CALLS = "calls"
TIMINGS = "timings"
EVENTS = "events"
STACKS = "stacks"
COUNTERS = "counters"
THREAD = "thread"
"""What stands in the column `stage` where a thread was counted from its beginning to its end."""
OTHERS = "(others)"

TRUNCATED = "[truncated]"
"""The outermost frame's module where a stack goes on, but was not read further."""

STAMPS = ("called", "posted", "picked", "executed", "completed")
Stage = Literal["post", "poll", "execute", "complete"]
STAGES: tuple[Stage, ...] = get_args(Stage)

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


def with_units(schema: pa.Schema) -> pa.Schema:
    """The schema with all units in its own metadata, too, under `UNITS` as JSON by column.

    Tools that do not show a column's metadata show a file's; many lose both when they rewrite it.
    """
    every: dict[str, Any] = {one.name: one.metadata or {} for one in schema}
    units = {name: found[b"unit"].decode() for name, found in every.items() if b"unit" in found}
    if not units:
        return schema
    return schema.with_metadata({**(schema.metadata or {}), UNITS: json.dumps(units)})


UNITS = "memsc_units"


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
        field("comm", kind=NAME),  # absent in traces made before it was noted
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

# One row per frame. `stack` is what events name; `depth` counts from the innermost frame, 0.
# `start` is where the function begins in its module's file, whether its name is known or not, and
# `offset` how far into it the frame is. Where no function is known, and of what is no file's,
# `start` is -1, and `offset` without a name is the place in the file, if it is one. A stack whose
# first frame was not reached ends with one more, without a function, of module TRUNCATED, or
# "[unknown]" where nobody knows how to go on.
STACKS_SCHEMA: pa.Schema = pa.schema(
    [
        field("stack"),
        field("depth"),
        field("function", kind=NAME),
        field("module", kind=NAME),
        field("offset", "bytes"),
        field("start", "bytes"),  # absent in traces made before it was noted
    ],
    metadata={"memsc_schema": str(SCHEMA)},
)

# One row per event and thread that was there when counting began; what all others did that they
# started stands together in rows of thread `OTHERS`, one for each side. `side` is that of the CPU
# ("app", "service"), or "both" where CPUs are not told apart. `enabled_ns` is how long it could
# have been counted, `running_ns` how long it was: where that is less, groups of events took turns
# at the PMU, and the value is to be scaled.
COUNTERS_SCHEMA: pa.Schema = pa.schema(
    [
        field("arm", kind=NAME),
        field("case", kind=NAME),
        field("round"),
        field("pid"),
        field("tid"),
        field("thread", kind=NAME),
        field("side", kind=NAME),
        field("stage", kind=NAME),
        field("event", kind=NAME),
        field("value", "as session.json says of the event"),
        field("enabled_ns", "ns"),
        field("running_ns", "ns"),
    ],
    metadata={"memsc_schema": str(SCHEMA)},
)
