# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The tables of the trace that probes of stacks bring beside their events. Pure."""

from __future__ import annotations

import pyarrow as pa

from memsc.tracer.format import NAME, SCHEMA, field

STACKS = "stacks"

# One row per frame. `stack` is what events name; `depth` counts from the innermost frame, 0.
# `function` is empty where it is not known; `offset` is then the place in the module's file, or the
# address, else it is that in the function.
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
