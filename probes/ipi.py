# SPDX-License-Identifier: MIT
"""Inter-processor interrupts: sent, spared and received, on the watched CPUs.

Linux before 6.4 has no tracepoint where one is sent; there the functions that do it are looked at:
those of 64-bit Arm, or those of x86 on real hardware and under KVM (Xen has others). Where they
arrive x86 has a tracepoint for each vector; Arm has one for all, whose reason is a text in the
kernel's memory, which no probe reads. No hook is required: what is absent is reported with its
reason, so that a count of nothing is never read as zero.
"""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe, Variant

_VECTORS = ("reschedule", "call_function_single", "call_function", "irq_work")
_SENDER = "use Linux 6.4 or newer, or one with fentry or kprobes, to see who sends interrupts"
_SEND_ONE = ("native_smp_send_reschedule", "native_send_call_func_single_ipi")
_SEND_MANY = ("native_send_call_func_ipi",)
_ARM_ONE = ("smp_send_reschedule", "arch_send_call_function_single_ipi")
_ARM_MANY = ("arch_send_call_function_ipi_mask",)
_X86 = "use an x86 kernel with CONFIG_TRACING to see them arrive"


def _entries(x86: tuple[str, ...], arm: tuple[str, ...], program: str) -> tuple[Variant, ...]:
    return (
        Variant("fentry", tuple((function, f"{program}_fentry") for function in x86)),
        Variant("kprobe", tuple((function, f"{program}_kprobe") for function in x86)),
        # Its kernels that have fentry have the tracepoint, too.
        Variant("kprobe", tuple((function, f"{program}_kprobe_arm") for function in arm)),
    )


def _received() -> tuple[Hook, ...]:
    return tuple(
        Hook(
            f"irq_vectors:{vector}_{end}",
            f"ipi_on_{vector}_{end}",
            kinds=(f"{vector}_{end}",),
            fields=("vector",),
            raw=True,
            remedy=_X86,
        )
        for vector in _VECTORS
        for end in ("entry", "exit")
    )


PROBE = Probe(
    name="ipi",
    summary="inter-processor interrupts sent, spared and received",
    kinds=(
        Kind("send", "tid's CPU sends an interrupt to target_cpu"),
        Kind("send_many", "tid's CPU sends an interrupt to several CPUs; which is not known"),
        Kind("wake_idle", "a wake-up on target_cpu needs no interrupt: it idles by polling"),
        Kind("reschedule_entry", "the CPU takes a reschedule interrupt"),
        Kind("reschedule_exit", "it has handled it"),
        Kind("call_function_single_entry", "the CPU takes a call, or a wake-up, from one other"),
        Kind("call_function_single_exit", "it has handled it"),
        Kind("call_function_entry", "the CPU takes a call that went to several"),
        Kind("call_function_exit", "it has handled it"),
        Kind("irq_work_entry", "the CPU takes deferred work, mostly its own"),
        Kind("irq_work_exit", "it has handled it"),
    ),
    columns=(
        Column("target_cpu", "i32", "cpu", "CPU it goes to, or arrived at; -1 for send_many"),
        Column("vector", "i32", "number", "interrupt vector that arrived; -1 where it is sent"),
    ),
    cost_ns=260,
    hooks=(
        Hook(
            "ipi:ipi_send_cpu",
            "ipi_on_send",
            kinds=("send",),
            fields=("cpu", "callsite", "callback"),
            raw=True,
            remedy=_SENDER,
            instead=_entries(_SEND_ONE, _ARM_ONE, "ipi_on_send"),
        ),
        Hook(
            "ipi:ipi_send_cpumask",
            "ipi_on_send_many",
            kinds=("send_many",),
            fields=("cpumask",),
            raw=True,
            remedy=_SENDER,
            instead=_entries(_SEND_MANY, _ARM_MANY, "ipi_on_send_many"),
        ),
        Hook(
            "sched:sched_wake_idle_without_ipi",
            "ipi_on_wake_idle",
            kinds=("wake_idle",),
            fields=("cpu",),
            raw=True,
        ),
        *_received(),
    ),
    by_default=True,
)
