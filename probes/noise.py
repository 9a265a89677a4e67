# SPDX-License-Identifier: MIT
"""What takes a watched CPU away from the program: interrupts, other threads, faults, the host.

Intervals are single events whose `time` is their begin. Migrations are the probe `sched`'s.
"""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

_X86 = "use an x86 kernel with CONFIG_TRACING to see interrupts by vector"
_VECTORS = {
    "timer": ("local_timer", "the local timer's interrupt"),
    "reschedule": ("reschedule", "another CPU's request to look for a task to run"),
    "call_function_single": ("call_function_single", "a call, or a wake-up, from one other CPU"),
    "call_function": ("call_function", "a call that went to several CPUs"),
    "irq_work": ("irq_work", "deferred work, mostly the CPU's own"),
    "platform": ("x86_platform_ipi", "a platform's interrupt"),
    "thermal": ("thermal_apic", "the thermal sensor's interrupt"),
}


def _vectors() -> tuple[Hook, ...]:
    return tuple(
        Hook(
            f"irq_vectors:{event}_{end}",
            f"noise_on_{kind}_{end}",
            kinds=(kind,) if end == "exit" else (),
            fields=("vector",),
            raw=True,
            remedy=_X86,
        )
        for kind, (event, _) in _VECTORS.items()
        for end in ("entry", "exit")
    )


def _pair(event: str, stem: str, kind: str, field: str) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            f"irq:{event}_{end}",
            f"noise_on_{stem}_{end}",
            kinds=(kind,) if end == "exit" else (),
            fields=(field,),
            raw=True,
        )
        for end in ("entry", "exit")
    )


PROBE = Probe(
    name="noise",
    summary="what takes the program's CPUs away: interrupts, threads, faults, the host",
    kinds=(
        *(Kind(kind, meaning) for kind, (_, meaning) in _VECTORS.items()),
        Kind("shootdown", "an interrupt in which the CPU flushes translations for another CPU"),
        Kind("irq", "a device's handler; number is its interrupt line"),
        Kind("softirq", "a soft interrupt; number is its vector"),
        Kind("task", "tid, called name, had the CPU; the idle task is left out"),
        Kind("stolen", "number nanoseconds of the interval went to the host, says the steal clock"),
        Kind("fault_user", "tid touched the page of address number in user mode"),
        Kind("fault_kernel", "the kernel did so for tid"),
        Kind("flush_others", "tid makes other CPUs flush number pages, and waits for them"),
    ),
    columns=(
        Column("duration", "u64", "ns", "how long from time on; 0 where only the begin is known"),
        Column("number", "i64", "value", "what the kind says, else the interrupt vector or 0"),
        Column("name", "name", "name", "name of tid"),
    ),
    cost_ns=210,
    hooks=(
        *_vectors(),
        *_pair("irq_handler", "irq", "irq", "irq"),
        *_pair("softirq", "softirq", "softirq", "vec"),
        Hook(
            "sched:sched_switch",
            "noise_on_switch",
            kinds=("task",),
            fields=("prev_pid",),
            raw=True,
            required=True,
        ),
        Hook(
            "sched:sched_stat_runtime",
            "noise_on_account",
            kinds=("stolen",),
            fields=("runtime",),
            raw=True,
        ),
        Hook(
            "exceptions:page_fault_user",
            "noise_on_fault_user",
            kinds=("fault_user",),
            fields=("address",),
            raw=True,
            remedy=_X86,
        ),
        Hook(
            "exceptions:page_fault_kernel",
            "noise_on_fault_kernel",
            kinds=("fault_kernel",),
            fields=("address",),
            raw=True,
            remedy=_X86,
        ),
        Hook(
            "tlb:tlb_flush",
            "noise_on_flush",
            kinds=("shootdown", "flush_others"),
            fields=("reason", "pages"),
            raw=True,
            remedy=_X86,
        ),
    ),
    by_default=True,
)
