# SPDX-License-Identifier: MIT
"""Who runs, who is woken and who is moved, on the watched CPUs and of the tracked tasks."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

PROBE = Probe(
    name="sched",
    summary="context switches, wake-ups and migrations",
    kinds=(
        Kind("switch", "the CPU stops running tid and runs target_tid"),
        Kind("waking", "tid asks for target_tid to be woken"),
        Kind(
            "wakeup",
            "target_tid became runnable; tid may not be the thread that woke it: see waking",
        ),
        Kind("wakeup_new", "the new task target_tid became runnable for the first time"),
        Kind("migrate", "target_tid is moved from from_cpu to target_cpu"),
    ),
    columns=(
        Column("target_tid", "u32", "task", "task it is about; of a switch the one that comes in"),
        Column("target_cpu", "i32", "cpu", "CPU that task runs on or will run on"),
        Column("from_cpu", "i32", "cpu", "CPU it comes from; -1 for wake-ups"),
        Column(
            "state",
            "i32",
            "flags",
            "of a switch the kernel's state of tid: 0 or 256 still runnable (it was preempted or "
            "yielded), else it sleeps or ends; -1 for other kinds",
        ),
    ),
    cost_ns=200,
    hooks=(
        Hook(
            "sched:sched_switch",
            "sched_on_switch",
            kinds=("switch",),
            fields=("prev_pid", "prev_state", "next_pid"),
            required=True,
        ),
        Hook(
            "sched:sched_waking",
            "sched_on_waking",
            kinds=("waking",),
            fields=("pid", "target_cpu"),
        ),
        Hook(
            "sched:sched_wakeup",
            "sched_on_wakeup",
            kinds=("wakeup",),
            fields=("pid", "target_cpu"),
            required=True,
        ),
        Hook(
            "sched:sched_wakeup_new",
            "sched_on_wakeup_new",
            kinds=("wakeup_new",),
            fields=("pid", "target_cpu"),
        ),
        Hook(
            "sched:sched_migrate_task",
            "sched_on_migrate",
            kinds=("migrate",),
            fields=("pid", "orig_cpu", "dest_cpu"),
        ),
    ),
    by_default=True,
)
