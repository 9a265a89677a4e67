# SPDX-License-Identifier: MIT
"""Where in the program calls are made: the caller's stack of one call of so many.

It is taken before the call's first stamp, so what it costs is in none of its stages.
"""

from __future__ import annotations

from dataclasses import replace

from memsc.probes import stages
from memsc.probes.declaration import Kind, Probe
from memsc.probes.profile import STACKS

PROBE = Probe(
    name="paths",
    summary="where in the program calls are made, of one call of so many: latency by call path",
    kinds=(Kind("called", "tid is about to make a call"),),
    columns=(*stages.PROBE.columns, STACKS[0]),
    cost_ns=6000,
    hooks=(
        replace(
            stages.PROBE.hooks[0],
            place="memsc:called",
            program="paths_on_called",
            kinds=("called",),
        ),
    ),
    ring_bytes=4 << 20,
    walks=True,
    every=1009,  # some 6 µs each, beside the shortest call's 0.3
)
