# SPDX-License-Identifier: MIT
"""Counters of the CPU, read at the runtime's static probes: what a stage does, in events.

A program at each probe reads perf's counters of the CPU it runs on. The difference of two hits on
one CPU is what that CPU did between them, and one hit's own share, which the session measures
(`calibrate`) and the analysis takes off (`memsc.analysis.domains.stage_counters`). One call of
`MEMSC_PROBE_EVERY` passes them.
"""

from __future__ import annotations

from dataclasses import replace

from memsc.probes import stages
from memsc.probes.countable import COUNTERS, REFERENCE, Counter
from memsc.probes.declaration import Column, Probe

READ = tuple(counter for counter in COUNTERS if counter.name != REFERENCE)
"""Those that are read: a CPU's own time on a CPU says nothing."""


def column(counter: Counter) -> str:
    """The column of a counter's value; `<column>_waited` says how long it did not count, ns."""
    return counter.name.replace("-", "_")


def _columns(counter: Counter) -> tuple[Column, Column]:
    value, name = column(counter), counter.name
    return (
        Column(value, "i64", counter.unit, f"{name} of the CPU so far; -1 where it cannot be read"),
        Column(f"{value}_waited", "i64", "ns", f"how long {name} waited for its turn at the PMU"),
    )


PROBE = Probe(
    name="stage_counters",
    summary="counters of the CPU at the runtime's static probes, for some calls: what stages do",
    kinds=stages.PROBE.kinds,
    columns=(
        *stages.PROBE.columns,
        *(column for counter in READ for column in _columns(counter)),
    ),
    cost_ns=1800,
    hooks=tuple(
        replace(hook, program=hook.program.replace("stages_", "stage_counters_"))
        for hook in stages.PROBE.hooks
    ),
    disturbs=True,
    every=stages.EVERY,
    readings=READ,
)
