# SPDX-License-Identifier: MIT
"""Under what conditions a session was recorded: its machine, how quiet, and what observing cost.

Parts of `session.json` (`memsc.tracer.format.session_file`). Where a value may be unknown, a field
`…_reason` beside it says why; it is there only then.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

Reason = str | UnsetType


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The machine: its software, kernel and CPUs, and how quiet these can be.

    No name of host or user is in it, and of the kernel's command line only what concerns timing.
    CPU lists are written as the kernel writes them: "0", "0,2-3".
    """

    memsc: str | None = None
    memsc_reason: Reason = UNSET
    python: str | None = None
    glibc: str | None = None
    glibc_reason: Reason = UNSET
    bcc: str | None = None
    bcc_reason: Reason = UNSET
    packages: dict[str, str | None] = {}
    """Versions of Python packages; one that is not installed is null, and has a `…_reason`."""
    distribution: str | None = None
    distribution_reason: Reason = UNSET
    byte_order: str | None = None

    kernel: str | None = None
    kernel_reason: Reason = UNSET
    kernel_version: str | None = None
    kernel_version_reason: Reason = UNSET
    preemption: str | None = None
    preemption_reason: Reason = UNSET
    kernel_arguments: list[str] | None = None
    kernel_arguments_reason: Reason = UNSET
    mitigations: dict[str, str | None] | None = None
    mitigations_reason: Reason = UNSET
    perf_event_paranoid: int | None = None
    perf_event_paranoid_reason: Reason = UNSET

    architecture: str | None = None
    cpu_model: str | None = None
    cpu_model_reason: Reason = UNSET
    handoff: str | None = None
    """How memsc passes a line between CPUs here, unless told otherwise; `Arm` has what it did."""
    handoff_reason: Reason = UNSET
    cpu_microcode: str | None = None
    cpu_microcode_reason: Reason = UNSET
    cpus_present: str | None = None
    cpus_online: str | None = None
    cpus_allowed: str | None = None
    cpus_reachable: str | None = None
    cores: int | None = None
    threads_per_core: int | None = None
    last_level_caches: list[str] = []
    """CPU lists: those of each list share a cache."""
    numa_nodes: int | None = None
    numa_nodes_reason: Reason = UNSET
    invariant_counter: bool | None = None
    invariant_counter_reason: Reason = UNSET
    clocksource: str | None = None
    clocksource_reason: Reason = UNSET

    idle_driver: str | None = None
    idle_driver_reason: Reason = UNSET
    idle_governor: str | None = None
    idle_governor_reason: Reason = UNSET
    idle_states: list[str] | None = None
    idle_states_reason: Reason = UNSET
    cpufreq_driver: str | None = None
    cpufreq_driver_reason: Reason = UNSET
    cpufreq_governor: str | None = None
    cpufreq_governor_reason: Reason = UNSET
    smt: str | None = None
    smt_reason: Reason = UNSET
    isolated_cpus: str | None = None
    nohz_full_cpus: str | None = None
    nohz_full_cpus_reason: Reason = UNSET
    cpuset: str | None = None
    cpuset_reason: Reason = UNSET
    cpu_quota: float | None = None
    """How many CPUs' time memsc's control groups may use; null for no limit."""
    cpu_quota_reason: Reason = UNSET
    load_1m: float | None = None
    load_1m_reason: Reason = UNSET

    virtual: bool | None = None
    virtual_reason: Reason = UNSET
    hypervisor: str | None = None
    hypervisor_reason: Reason = UNSET
    memory_bytes: int | None = None
    memory_bytes_reason: Reason = UNSET

    interrupts: dict[int, str] | None = None
    """Who sits on each interrupt line: events have but its number."""
    interrupts_reason: Reason = UNSET
    enlarged_from: str | UnsetType = UNSET
    """Of a trace that was made from another: that one's name."""


How = Literal["v2 partition", "v2 cpuset", "v1 cpuset", "affinity"]
"""By what means CPUs are kept free: control groups of either version, or threads' affinities."""


class Noise(msgspec.Struct, frozen=True):
    """What took the application's CPUs away, per second, over `seconds` of time."""

    seconds: float
    interrupts: float
    softirqs: float
    switches: float | None = None
    switches_reason: str | None = None
    by_interrupt: dict[str, float] = {}
    """The most frequent ones."""


class Isolation(msgspec.Struct, frozen=True):
    """How the application's CPUs were kept free, and what came there nevertheless.

    `before` and `isolated` are measured on a CPU that one thread keeps busy, so that they compare;
    `during` is while the session's programs ran.
    """

    how: How | None = None
    """Null: not isolated."""
    strays: int = 0
    """Threads of the kernel that cannot be moved."""
    interrupts_moved: int = 0
    interrupts_kept: int = 0
    notes: list[str] = []
    before: Noise | None = None
    isolated: Noise | None = None
    during: Noise | None = None
    failed: list[str] = []
    """What could not be given back at the end, and why."""


class Added(msgspec.Struct, frozen=True):
    """What is added to the median call, nanoseconds, with its 95 % interval."""

    off_ns: float
    added_ns: float
    low_ns: float
    high_ns: float


class AddedByProbes(Added, frozen=True, kw_only=True):
    """The same, of probes on top of recording."""

    names: list[str]


class Hit(msgspec.Struct, frozen=True):
    """What one hit of a probe costs, as the kernel accounts for its programs, and as declared."""

    hits: int
    cost_ns: float | None = None
    declared_ns: float | None = None
    reason: Reason = UNSET


class Perturbation(msgspec.Struct, frozen=True, kw_only=True):
    """What observing costs, measured at the session's start in rounds of `calls` of one arm."""

    arm: str | None = None
    calls: int | None = None
    pairs: int | None = None
    seconds: float | None = None
    recording: Added | None = None
    probes: AddedByProbes | None = None
    probes_reason: Reason = UNSET
    hits: dict[str, Hit] = {}
    reason: Reason = UNSET
    """Why none of it is known."""

    def hit_ns(self, probe: str) -> float | None:
        """What one hit of a probe costs, nanoseconds: what it measures below is not reported.

        Returns:
            As measured at the session's start, else as the probe declares; None where neither is
            known.
        """
        hit = self.hits.get(probe)
        if hit is None:
            return None
        return hit.declared_ns if hit.cost_ns is None else hit.cost_ns


class Surroundings(msgspec.Struct, frozen=True):
    """What held a round's programs up from outside; null where the kernel does not tell.

    Only a program's own control groups count for `throttled_ns`: their CPU quota was used up.
    """

    throttled_ns: int | None = None
    throttled_periods: int | None = None
    cpu_pressure: float | None = None  # share of the time that some task waited for a CPU
    suspended_ns: int = 0  # the machine was: CLOCK_BOOTTIME went on, CLOCK_MONOTONIC did not
    stepped_ns: int = 0  # by which the wall clock was set
