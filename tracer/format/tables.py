# SPDX-License-Identifier: MIT
"""The tables of the trace that probes bring beside or instead of events. Pure."""

from __future__ import annotations

import pyarrow as pa

from memsc.tracer.format.definition import NAME, SCHEMA, field

STACKS = "stacks"
COUNTERS = "counters"
THREAD = "thread"
"""What stands in the column `stage` where a thread was counted from its beginning to its end."""
OTHERS = "(others)"

TRUNCATED = "[truncated]"
"""The outermost frame's module where a stack goes on, but was not read further."""

# One row per frame. `stack` is what events name; `depth` counts from the innermost frame, 0.
# `function` is empty where it is not known; `offset` is then the place in the module's file, or the
# address, else it is that in the function. A stack whose first frame was not reached ends with one
# more, without a function, of module TRUNCATED, or "[unknown]" where nobody knows how to go on.
STACKS_SCHEMA: pa.Schema = pa.schema(
    [
        field("stack"),
        field("depth"),
        field("function", kind=NAME),
        field("module", kind=NAME),
        field("offset", "bytes"),
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
