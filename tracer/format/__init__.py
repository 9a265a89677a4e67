# SPDX-License-Identifier: MIT
"""The trace folder: what it is, how it is read, and how it is written. Pure.

What readers need of it is named here; it is all that `memsc.analysis` imports from the tracer.
To write a trace, import `memsc.tracer.format.writer`, too.
"""

from __future__ import annotations

from memsc.tracer.format.conditions import (
    Added,
    AddedByProbes,
    Environment,
    Hit,
    How,
    Isolation,
    Noise,
    Perturbation,
)
from memsc.tracer.format.parts import (
    Part,
    columns_of,
    location,
    part_name,
    range_of,
    read_part,
)
from memsc.tracer.format.reader import (
    SUFFIX,
    TraceFolder,
    decode_session,
    open_trace,
)
from memsc.tracer.format.session_file import (
    SESSION,
    Arm,
    Clock,
    CounterEvent,
    Counters,
    Coverage,
    ProbeStatus,
    Round,
    RoundKey,
    Session,
    Snapshot,
    Unrecorded,
)
from memsc.tracer.format.tables import (
    CALLS,
    CALLS_SCHEMA,
    COUNTERS,
    EVENT_UNITS,
    EVENTS,
    FLAGS,
    NAME,
    POLLS,
    SCHEMA,
    STACKS,
    STAGES,
    STAMPS,
    TIMINGS,
    TIMINGS_SCHEMA,
    field,
    polls_of,
)

__all__ = [
    "CALLS",
    "CALLS_SCHEMA",
    "COUNTERS",
    "EVENTS",
    "EVENT_UNITS",
    "FLAGS",
    "NAME",
    "POLLS",
    "SCHEMA",
    "SESSION",
    "STACKS",
    "STAGES",
    "STAMPS",
    "SUFFIX",
    "TIMINGS",
    "TIMINGS_SCHEMA",
    "Added",
    "AddedByProbes",
    "Arm",
    "Clock",
    "CounterEvent",
    "Counters",
    "Coverage",
    "Environment",
    "Hit",
    "How",
    "Isolation",
    "Noise",
    "Part",
    "Perturbation",
    "ProbeStatus",
    "Round",
    "RoundKey",
    "Session",
    "Snapshot",
    "TraceFolder",
    "Unrecorded",
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
