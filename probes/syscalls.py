# SPDX-License-Identifier: MIT
"""System calls of tracked tasks, as the kernel sees them: the check that none were made."""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

PROBE = Probe(
    name="syscalls",
    summary="every system call of tracked tasks; slows every task's calls while attached",
    kinds=(
        Kind("enter", "tid enters system call number"),
        Kind("exit", "tid leaves it with result"),
    ),
    columns=(
        Column(
            "number",
            "i64",
            "number",
            "system call number; -1 when the call was entered before the probe was attached",
        ),
        Column(
            "result",
            "i64",
            "value",
            "value or -errno of exit; for enter the process that made the task, 0 if it is older",
        ),
        Column("address", "u64", "address", "where the program goes on behind enter; 0 for exit"),
    ),
    cost_ns=180,
    hooks=(
        Hook(
            "raw_syscalls:sys_enter",
            "syscalls_on_enter",
            kinds=("enter",),
            fields=("id", "args"),
            raw=True,
            required=True,
        ),
        Hook(
            "raw_syscalls:sys_exit",
            "syscalls_on_exit",
            kinds=("exit",),
            fields=("id", "ret"),
            raw=True,
            required=True,
        ),
    ),
    disturbs=True,
)
