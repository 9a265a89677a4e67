# SPDX-License-Identifier: MIT
"""Where CPUs are: samples of the tracked threads, and of whatever else runs on the watched CPUs.

By cycles where there is a PMU, else by a timer, which cannot look into code that runs with
interrupts off: such time shows at the instruction that lets them in again.
"""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe, Variant

HERTZ = 997
"""Samples of a CPU in a second; a prime, so as not to march in step with what it looks at."""

STACKS = (
    Column(
        "user_stack",
        "i64",
        "stack",
        "where in the program, a number in the table stacks; negative: none, as -errno (-14 a "
        "kernel thread, -17 no room for it, -1 not this user's to see)",
    ),
    Column("kernel_stack", "i64", "stack", "where in the kernel, likewise; -14: not in the kernel"),
)

PROBE = Probe(
    name="profile",
    summary="samples of what the CPUs run, with stacks, in user space and in the kernel",
    kinds=(Kind("sample", "the CPU ran tid just then"),),
    columns=(*STACKS, Column("comm", "name", "name", "the thread's name")),
    cost_ns=3200,
    hooks=(
        Hook(
            f"cycles:{HERTZ}",
            "profile_on_sample",
            kinds=("sample",),
            way="sample",
            instead=(Variant("sample", ((f"cpu-clock:{HERTZ}", "profile_on_sample"),)),),
            required=True,
            remedy="use a kernel with CONFIG_PERF_EVENTS and CONFIG_BPF_EVENTS",
        ),
    ),
    ring_bytes=4 << 20,
    tables=("profile_stacks",),
    walks=True,
)
