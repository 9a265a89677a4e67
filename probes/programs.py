# SPDX-License-Identifier: MIT
"""Which programs tracked tasks execute: the kernel's word, for what memsc's own is held against.

Every session with probes has it; its events are counted and not written.
"""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

PROBE = Probe(
    name="programs",
    summary="which programs are executed, for the count of those that ran unrecorded",
    kinds=(Kind("exec", "pid executes a program"),),
    columns=(Column("name", "name", "name", "its name, as the kernel has it: 15 bytes of it"),),
    cost_ns=300,
    hooks=(
        Hook(
            "sched:sched_process_exec",
            "programs_on_exec",
            kinds=("exec",),
            fields=("pid", "old_pid"),
            required=True,
        ),
    ),
    offered=False,
    ring_bytes=1 << 20,
)
