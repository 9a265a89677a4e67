# SPDX-License-Identifier: MIT
"""The trace folder: what it is, how it is read, and how it is written. Pure.

What readers need of it is named here; it is all that `memsc.analysis` imports from the tracer.
To write a trace, import `memsc.tracer.format.writer`, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memsc.tracer.format.conditions import (
        Added,
        AddedByProbes,
        Environment,
        Hit,
        How,
        Isolation,
        Noise,
        Perturbation,
        Surroundings,
    )
    from memsc.tracer.format.parts import (
        Part,
        columns_of,
        location,
        part_name,
        range_of,
        read_part,
        read_rounds,
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
        InTurn,
        ProbeStatus,
        Round,
        RoundKey,
        Session,
        Side,
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
    "InTurn",
    "Isolation",
    "Noise",
    "Part",
    "Perturbation",
    "ProbeStatus",
    "Round",
    "RoundKey",
    "Session",
    "Side",
    "Snapshot",
    "Surroundings",
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
    "read_rounds",
]
_PLACES = {
    "conditions": (
        "Added AddedByProbes Environment Hit How Isolation Noise Perturbation Surroundings"
    ),
    "parts": "Part columns_of location part_name range_of read_part read_rounds",
    "reader": "SUFFIX TraceFolder decode_session open_trace",
    "session_file": (
        "SESSION Arm Clock CounterEvent Counters Coverage InTurn ProbeStatus Round RoundKey "
        "Session Side Snapshot Unrecorded"
    ),
    "tables": (
        "CALLS CALLS_SCHEMA COUNTERS EVENT_UNITS EVENTS FLAGS NAME POLLS SCHEMA STACKS STAGES "
        "STAMPS TIMINGS TIMINGS_SCHEMA field polls_of"
    ),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Each name when it is first used: of a session most do without tables, which need Arrow."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
