# SPDX-License-Identifier: MIT
"""Keeps the set of tracked tasks up to date; makes no events. Always attached with any probe."""

from __future__ import annotations

from memsc.probes.declaration import Hook, Probe

PROBE = Probe(
    name="tracking",
    summary="children of tracked tasks are tracked, the dead are forgotten",
    kinds=(),
    columns=(),
    hooks=(
        Hook(
            "sched:sched_process_fork",
            "tracking_on_fork",
            fields=("parent_pid", "child_pid"),
            required=True,
        ),
        Hook("sched:sched_process_exec", "tracking_on_exec", fields=("pid", "old_pid")),
        Hook("sched:sched_process_exit", "tracking_on_exit", fields=("pid",), required=True),
    ),
    offered=False,
)
