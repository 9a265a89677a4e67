# SPDX-License-Identifier: MIT
"""Counts of each thread, by the kernel's perf events: no BPF program, and no event in the trace.

What is counted stands in `memsc.probes.countable`.
"""

from __future__ import annotations

from memsc.probes.declaration import Probe

PROBE = Probe(
    name="counters",
    summary="counts of each thread: time, faults, switches, and cycles where there is a PMU",
    kinds=(),
    columns=(),
    hooks=(),
)
