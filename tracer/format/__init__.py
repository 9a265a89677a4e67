# SPDX-License-Identifier: MIT
"""The trace folder: what it is, how it is read, and how it is written. Pure.

What readers need of it is named here; it is all that `memsc.analysis` imports from the tracer.
Whoever writes a trace takes `memsc.tracer.format.writer`, too.
"""

from __future__ import annotations

from memsc.tracer.format.counted import (
    CounterEvent,
    Counters,
)
from memsc.tracer.format.definition import (
    CALLS,
    CALLS_SCHEMA,
    EVENT_UNITS,
    EVENTS,
    FLAGS,
    NAME,
    POLLS,
    SCHEMA,
    SESSION,
    STAGES,
    STAMPS,
    SUFFIX,
    TIMINGS,
    TIMINGS_SCHEMA,
    Arm,
    Clock,
    Isolation,
    Noise,
    ProbeStatus,
    Round,
    RoundKey,
    Session,
    Snapshot,
    TraceFolder,
    decode_session,
    field,
    open_trace,
    part_name,
    polls_of,
)
from memsc.tracer.format.parts import (
    Part,
    columns_of,
    location,
    range_of,
    read_part,
)

__all__ = [
    "CALLS",
    "CALLS_SCHEMA",
    "EVENTS",
    "EVENT_UNITS",
    "FLAGS",
    "NAME",
    "POLLS",
    "SCHEMA",
    "SESSION",
    "STAGES",
    "STAMPS",
    "SUFFIX",
    "TIMINGS",
    "TIMINGS_SCHEMA",
    "Arm",
    "Clock",
    "CounterEvent",
    "Counters",
    "Isolation",
    "Noise",
    "Part",
    "ProbeStatus",
    "Round",
    "RoundKey",
    "Session",
    "Snapshot",
    "TraceFolder",
    "columns_of",
    "decode_session",
    "field",
    "location",
    "open_trace",
    "part_name",
    "polls_of",
    "range_of",
    "read_part",
]
