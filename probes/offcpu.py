# SPDX-License-Identifier: MIT
"""Where tracked threads stand while they do not run, and for how long."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe
from memsc.probes.profile import STACKS

PROBE = Probe(
    name="offcpu",
    summary="where threads wait, and how long, with stacks; time is when they run again",
    kinds=(
        Kind("blocked", "tid slept until somebody woke it"),
        Kind("preempted", "tid could have run on, but another ran instead"),
        Kind("unseen", "tid leaves the CPU again; that it came back was not seen"),
    ),
    columns=(
        *STACKS,
        Column("duration", "i64", "ns", "from leaving the CPU to running again; -1: not seen"),
        Column(
            "waited",
            "i64",
            "ns",
            "of that, from being woken to running; all of it for preempted; -1: not seen",
        ),
    ),
    cost_ns=1900,
    hooks=(
        Hook(
            "sched:sched_switch",
            "offcpu_on_switch",
            kinds=("blocked", "preempted", "unseen"),
            fields=("prev_pid", "prev_state", "next_pid"),
            required=True,
        ),
        Hook("sched:sched_waking", "offcpu_on_waking", fields=("pid",)),
    ),
    tables=("offcpu_stacks",),
    walks=True,
)
