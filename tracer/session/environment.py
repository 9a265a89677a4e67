# SPDX-License-Identifier: MIT
"""The environment that every result carries: machine, kernel, CPUs, and how quiet they can be.

What is not known is None, and `NAME_reason` says why.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from memsc.runtime.topology import Topology, format_cpus, read
from memsc.tracer.format import Environment
from memsc.tracer.session.surroundings import no_quota, quota

Json = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | Mapping[int, str] | None
PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "pyelftools")

# Where Debian installs Python packages, BCC among them.
SYSTEM_PACKAGES = ("/usr/lib/python3/dist-packages",)

# Kernel arguments that change timing; the others may say things that are nobody's business.
ARGUMENTS = frozenset({
    "clocksource", "cpuidle.governor", "cpuidle.off", "cpuidle_haltpoll.force", "cpufreq.off",
    "haltpoll.guest_halt_poll_ns", "hz", "idle", "intel_idle.max_cstate", "intel_pstate",
    "amd_pstate", "irqaffinity", "isolcpus", "kpti", "kthread_cpus", "mitigations", "nmi_watchdog",
    "nohlt", "nohz", "nohz_full", "nosmt", "nosoftlockup", "nowatchdog", "noxsave", "preempt",
    "processor.max_cstate", "pti", "rcu_nocb_poll", "rcu_nocbs", "retbleed", "skew_tick",
    "spec_rstack_overflow", "spectre_v2", "threadirqs", "transparent_hugepage", "tsc",
})  # fmt: skip


@dataclass(frozen=True)
class Unknown:
    """A value that could not be told, and why."""

    reason: str


def describe(root: Path = Path("/"), topology: Topology | None = None) -> Environment:
    """Describe this machine.

    Args:
        root: where `proc`, `sys` and `etc` are, for tests.
        topology: of this machine, if it was read already.

    Returns:
        What was found; every None has a `NAME_reason` beside it.
    """
    topology = topology or read(root / "sys/devices/system")
    found: dict[str, Json | Unknown] = {}
    for part in (_software, _kernel, _cpus, _quiet, _host, _interrupts):
        found |= part(root, topology)
    return Environment(**cast("dict[str, Any]", settle(found)))


def _interrupts(root: Path, _: Topology) -> dict[str, Json | Unknown]:
    """Who sits on each interrupt line: events have but its number."""
    lines = {
        int(folder.name): text_of(folder / "actions")
        for folder in (root / "sys/kernel/irq").glob("[0-9]*")
    }
    named = {n: name for n, name in sorted(lines.items()) if isinstance(name, str)}
    return {"interrupts": named or Unknown("this kernel names no interrupt lines")}


def settle(found: dict[str, Json | Unknown]) -> dict[str, Json]:
    """Turn each Unknown into None with its reason beside it."""
    settled: dict[str, Json] = {}
    for name, value in found.items():
        if isinstance(value, Unknown):
            settled[name] = None
            settled[f"{name}_reason"] = value.reason
        else:
            settled[name] = value
    return settled


def version_of(package: str) -> str | Unknown:
    """Version of an installed Python package."""
    # BCC is the system's even where memsc is installed without its packages.
    paths = [*sys.path, *SYSTEM_PACKAGES]
    # The folder's name has it, and what lies in it takes long to read.
    for path in paths:
        for kind in ("dist-info", "egg-info"):
            for folder in Path(path).glob(f"{package}-*.{kind}"):
                return folder.name.removesuffix(f".{kind}").partition("-")[2].partition("-py")[0]
    from importlib import metadata  # noqa: PLC0415 - slow to import

    found = next(iter(metadata.distributions(name=package, path=paths)), None)
    return Unknown("not installed") if found is None else found.version


def text_of(file: Path) -> str | Unknown:
    """A file's text, stripped; why not, if it cannot be read or is empty."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return Unknown(f"this kernel shows no {file}")
    except OSError as error:
        return Unknown(f"{file}: {error.strerror}")
    return text or Unknown(f"{file} is empty")


def _and_then(value: str | Unknown, convert: Callable[[str], Json]) -> Json | Unknown:
    return value if isinstance(value, Unknown) else convert(value)


def _software(root: Path, _: Topology) -> dict[str, Json | Unknown]:
    names = {
        key: value.strip('"')
        for line in _lines(root / "etc/os-release")
        for key, _, value in [line.partition("=")]
    }
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    return {
        "memsc": version_of("memsc"),
        "python": platform.python_version(),
        "glibc": libc.split()[-1] if libc else Unknown("the C library is not glibc"),
        "bcc": version_of("bcc"),
        "packages": settle({name: version_of(name) for name in PACKAGES}),
        "distribution": names.get("PRETTY_NAME", Unknown("no /etc/os-release names it")),
        "byte_order": sys.byteorder,
    }


def _kernel(root: Path, _: Topology) -> dict[str, Json | Unknown]:
    version = text_of(root / "proc/sys/kernel/version")
    arguments = text_of(root / "proc/cmdline")
    return {
        "kernel": text_of(root / "proc/sys/kernel/osrelease"),
        "kernel_version": version,
        "preemption": _preemption(root, version),
        "kernel_arguments": _and_then(
            arguments,
            lambda line: [word for word in line.split() if word.partition("=")[0] in ARGUMENTS],
        ),
        "mitigations": _folder(root / "sys/devices/system/cpu/vulnerabilities"),
        "perf_event_paranoid": _and_then(
            text_of(root / "proc/sys/kernel/perf_event_paranoid"), int
        ),
    }


def _preemption(root: Path, version: str | Unknown) -> Json | Unknown:
    # "none voluntary (full)": the one in force stands in brackets.
    modes = text_of(root / "sys/kernel/debug/sched/preempt")
    if isinstance(modes, str) and "(" in modes:
        return modes.partition("(")[2].partition(")")[0]
    if isinstance(version, str):
        words = [word for word in version.split() if word.startswith("PREEMPT")]
        if words == ["PREEMPT_DYNAMIC"]:
            return Unknown("chosen at boot, and shown in debugfs to root alone")
        return words[0] if words else "none or voluntary"
    return version


def _cpus(root: Path, topology: Topology) -> dict[str, Json | Unknown]:
    first = _cpuinfo(root)
    model = first.get("model name") or first.get("CPU part")
    flags = first.get("flags", first.get("Features", "")).split()
    caches = {cpu.cache for cpu in topology.cpus.values()}
    cores = {cpu.siblings for cpu in topology.cpus.values()}
    nodes = {cpu.node for cpu in topology.cpus.values()} - {None}
    return {
        "architecture": platform.machine(),
        "cpu_model": model or Unknown("/proc/cpuinfo names none"),
        "handoff": _handoff(first.get("vendor_id")),
        "cpu_microcode": first.get("microcode") or Unknown("/proc/cpuinfo names none"),
        "cpus_present": format_cpus(topology.present),
        "cpus_online": format_cpus(topology.online),
        "cpus_allowed": format_cpus(topology.allowed),
        "cpus_reachable": format_cpus(topology.reachable),
        "cores": len(cores),
        "threads_per_core": max((len(core) for core in cores), default=1),
        "last_level_caches": sorted(format_cpus(cache) for cache in caches),
        "numa_nodes": len(nodes) or Unknown("the kernel names none"),
        "invariant_counter": _invariant(flags),
        "clocksource": text_of(
            root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
    }


def _handoff(vendor: str | None) -> Json | Unknown:
    """As `memsc_handoff_choose` in runtime/src/handoff.c chooses."""
    if platform.machine() == "x86_64" and not vendor:
        return Unknown("/proc/cpuinfo names no vendor")
    return "intel" if vendor == "GenuineIntel" else "amd"


def _invariant(flags: list[str]) -> Json | Unknown:
    if platform.machine() == "x86_64":
        if not flags:
            return Unknown("/proc/cpuinfo shows no flags")
        return {"constant_tsc", "nonstop_tsc"} <= set(flags)
    if platform.machine() == "aarch64":
        return True  # by architecture: CNTVCT counts at one rate, in every idle state
    return Unknown(f"memsc does not know the counter of {platform.machine()}")


def _quiet(root: Path, topology: Topology) -> dict[str, Json | Unknown]:
    cpu = root / "sys/devices/system/cpu"
    some = cpu / f"cpu{min(topology.online, default=0)}"
    states = [
        name
        for file in sorted((some / "cpuidle").glob("state*/name"))
        if isinstance(name := text_of(file), str)
    ]
    full = text_of(cpu / "nohz_full")
    return {
        "idle_driver": text_of(cpu / "cpuidle/current_driver"),
        "idle_governor": text_of(cpu / "cpuidle/current_governor"),
        "idle_states": states or Unknown("this kernel shows none"),
        "cpufreq_driver": text_of(some / "cpufreq/scaling_driver"),
        "cpufreq_governor": text_of(some / "cpufreq/scaling_governor"),
        "smt": text_of(cpu / "smt/control"),
        "isolated_cpus": format_cpus(topology.isolated),
        # The kernel writes "(null)" where no argument was given.
        "nohz_full_cpus": _and_then(full, lambda text: "" if text == "(null)" else text),
        "cpuset": text_of(root / "proc/self/cpuset"),
        "cpu_quota": quota(root=root) or Unknown(no_quota(root=root)),
        "load_1m": _and_then(text_of(root / "proc/loadavg"), lambda text: float(text.split()[0])),
    }


def _host(root: Path, _: Topology) -> dict[str, Json | Unknown]:
    flags = _cpuinfo(root).get("flags", "").split()
    memory = [line.split()[1] for line in _lines(root / "proc/meminfo") if "MemTotal" in line]
    return {
        "virtual": "hypervisor" in flags if flags else Unknown("/proc/cpuinfo shows no flags"),
        "hypervisor": _hypervisor(root, flags),
        "memory_bytes": int(memory[0]) * 1024 if memory else Unknown("no /proc/meminfo"),
    }


def _hypervisor(root: Path, flags: list[str]) -> Json | Unknown:
    named = text_of(root / "sys/hypervisor/type")
    if isinstance(named, str):
        return named
    clocks = text_of(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    for mark, name in (("kvm-clock", "kvm"), ("hyperv", "hyperv"), ("xen", "xen")):
        if isinstance(clocks, str) and mark in clocks:
            return name
    vendor = text_of(root / "sys/class/dmi/id/sys_vendor")
    if "hypervisor" in flags and isinstance(vendor, str):
        return vendor
    if flags and "hypervisor" not in flags:
        return "none"
    return Unknown("neither sysfs, clock sources nor DMI name one")


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first CPU's paragraph."""
    found: dict[str, str] = {}
    for line in _lines(root / "proc/cpuinfo"):
        key, colon, value = line.partition(":")
        if not colon and found:
            break
        found[key.strip()] = value.strip()
    return found


def _folder(folder: Path) -> Json | Unknown:
    if not folder.is_dir():
        return Unknown(f"this kernel shows no {folder}")
    return settle({file.name: text_of(file) for file in sorted(folder.iterdir())})


def _lines(file: Path) -> list[str]:
    text = text_of(file)
    return text.splitlines() if isinstance(text, str) else []
