# SPDX-License-Identifier: MIT
"""What this machine can do for memsc: each feature is tried, no version is ever asked.

A try may take up to a second (BCC compiles) and changes nothing that outlives it. Most of what
concerns BPF needs root; without root a feature says so instead of guessing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from memsc.runtime import topology as cpus
from memsc.runtime.errors import MemscError, hidden
from memsc.runtime.files import LAYER, LIBRARY, REINSTALL
from memsc.runtime.library import counter_step
from memsc.tracer.doctor import hook_trials, probing
from memsc.tracer.doctor.feature import Feature, attempt
from memsc.tracer.format import Environment
from memsc.tracer.helper.isolation import cpusets
from memsc.tracer.helper.kernel import bpf, perf
from memsc.tracer.helper.kernel.perf_counters import EVERYWHERE, open_counters
from memsc.tracer.session.surroundings import HIDDEN

# A function that exists wherever BPF does and that nobody calls in a hurry.
FUNCTIONS = ("__x64_sys_getpgid", "__arm64_sys_getpgid")
# The kernel's name for the counter that stamps are made of.
_CLOCKS = {"x86_64": "tsc", "aarch64": "arch_sys_counter"}


def find_all(
    environment: Environment,
    topology: cpus.Topology,
    probes: Future[list[Feature]] | None = None,
) -> Iterator[Feature]:
    """Try everything, in the order in which a user wants to read it.

    Args:
        environment: the machine as it describes itself.
        topology: its CPUs.
        probes: what `probing.begin` began before.
    """
    probes = probes or probing.begin()
    yield attempt("libmemsc", _library, REINSTALL, needed=True)
    yield attempt(
        "C-library layer", _layer, "use libmemsc's API, or --transport direct", needed=True
    )
    yield attempt("CPUs", lambda: _cpus(topology), "", needed=True)
    yield cpu_quota(environment)
    yield clock(environment)
    yield _glibc(environment)
    yield _sudo()
    yield from _isolation(topology)
    while_they_load = [*probing.tracepoints(), *_ways(), *_counters(environment)]
    yield from probes.result()
    yield from while_they_load
    yield attempt("io_uring SQPOLL", _uring, "set sysctl kernel.io_uring_disabled=0")


def _ways() -> Iterator[Feature]:
    """What programs can be attached by, beside tracepoints."""
    yield attempt(
        "kprobes",
        _kprobe,
        "use a kernel with CONFIG_KPROBE_EVENTS; needed only where a tracepoint is missing",
    )
    yield attempt(
        "fentry",
        _fentry,
        "use a kernel that lets BPF trace functions; needed only where a tracepoint is missing",
    )
    yield attempt("uprobes", lambda: _uprobe(0), "use a kernel with CONFIG_UPROBE_EVENTS")
    yield attempt("USDT", lambda: _uprobe(1), "use Linux built with reference-counted uprobes")


def _library() -> str:
    if not LIBRARY.exists():
        raise OSError(errno.ENOENT, "there is no libmemsc.so")
    try:
        version = ctypes.CDLL(str(LIBRARY)).memsc_version
    except (OSError, AttributeError) as error:
        raise OSError(errno.ENOEXEC, f"it does not load: {error}") from error
    version.restype = ctypes.c_char_p
    return f"version {version().decode()}"


def _layer() -> str:
    if not LAYER.exists():
        raise OSError(
            errno.ENOENT,
            f"none was built for {os.uname().machine} (there is for x86-64 and 64-bit Arm)",
        )
    return "carries unmodified programs"


def _cpus(topology: cpus.Topology) -> str:
    placed = cpus.place(topology, "memsc")
    app, service = map(cpus.format_cpus, (placed.app_cpus, placed.service_cpus))
    return "; ".join((f"application on {app}, service on {service}", *placed.notes))


def cpu_quota(environment: Environment) -> Feature:
    """Whether memsc's control groups hold its programs up."""
    quota = environment.cpu_quota
    if environment.cpu_quota_reason == HIDDEN:
        return Feature("CPU quota", "unknown", HIDDEN, "mount control groups on /sys/fs/cgroup")
    if quota is None:
        return Feature("CPU quota", "ok", environment.cpu_quota_reason or "none")
    detail = f"{quota:g} CPUs: programs and services that use more are held up, for ms each time"
    remedy = "run memsc in a control group without cpu.max, or allow it a CPU for each service"
    return Feature("CPU quota", "missing", detail, remedy)


def clock(environment: Environment) -> Feature:
    """Whether stamps are made of the counter that the kernel's clock is made of."""
    name, source = "clock", environment.clocksource
    if environment.invariant_counter is None:
        lack = str(environment.invariant_counter_reason)
        return Feature(name, "unknown", lack, "mount all of proc on /proc")
    if not environment.invariant_counter:
        lack = "the counter is not invariant"
        return Feature(name, "missing", lack, "use a machine with an invariant counter")
    if source is None:
        return Feature(name, "unknown", str(environment.clocksource_reason), "mount sysfs on /sys")
    counter = _CLOCKS.get(platform.machine())
    if source != counter:
        lack = f"the kernel's clock is {source}, not {counter}"
        return Feature(name, "missing", lack, f"boot with clocksource={counter}")
    return Feature(name, "ok", f"invariant {source}{_steps()}; sessions measure rate and skew")


def _steps() -> str:
    try:
        return f" in steps of {counter_step().ns:.2g} ns"
    except MemscError:
        return ""  # there is no library, which is said in its own line


def _glibc(environment: Environment) -> Feature:
    version = environment.glibc
    if version is None:
        why = str(environment.glibc_reason)
        return Feature("glibc", "missing", why, "use a distribution with glibc", needed=True)
    return Feature("glibc", "ok", str(version), needed=True)


def _sudo() -> Feature:
    if os.geteuid() == 0:
        return Feature("sudo", "ok", "not needed: this is root")
    if shutil.which("sudo") is None:
        return Feature("sudo", "missing", "not installed", "apt install sudo, or trace as root")
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return Feature("sudo", "ok", "asks for a password" if asked.returncode else "no password asked")


def _isolation(topology: cpus.Topology) -> Iterator[Feature]:
    name = "isolation"
    if topology.isolated:
        listed = cpus.format_cpus(topology.isolated)
        yield Feature(name, "ok", f"CPUs {listed} are isolated already")
        return
    remedy = "boot with isolcpus=N nohz_full=N; without, noise is measured all the same"
    yield attempt(name, _try_cpuset, remedy)


def _try_cpuset() -> str:
    v2, v1 = cpusets.mounts()
    if v2 is not None and "cpuset" in cpusets.controllers(v2):
        folder, how = v2, "partitions of cgroup v2"
    elif v1 is not None and v1.exists():  # no other mount covers it
        folder, how = v1, "cpusets of cgroup v1"
    else:
        raise OSError(errno.ENOENT, "no cgroup offers cpusets")
    group = folder / f"memsc-doctor-{os.getpid()}"
    group.mkdir()
    group.rmdir()
    return f"{how} at {folder}"


def _kprobe() -> str:
    perf.kind_of("kprobe")
    return _first_of(hook_trials.probe)


def _fentry() -> str:
    return _first_of(hook_trials.enter)


def _first_of(attach: Callable[[str], None]) -> str:
    last = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for name in FUNCTIONS:
        try:
            attach(name)
        except OSError as error:
            # The other architecture's function is absent: not what kept this one from working.
            last = last if error.errno == errno.ENOENT and not hidden(error) else error
        else:
            return "attaches"
    raise last


def _uprobe(semaphores: int) -> str:
    perf.kind_of("uprobe")
    # In a file that no process has mapped, so that the try stops nobody.
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x90" * 8192)
        file.flush()
        os.close(perf.open_uprobe(Path(file.name), 64, 4096 * semaphores))
    return "attaches; the kernel keeps the semaphore" if semaphores else "attaches"


def _counters(environment: Environment) -> Iterator[Feature]:
    allow = "sysctl kernel.perf_event_paranoid=2, or trace as root"
    paranoid = environment.perf_event_paranoid
    if not isinstance(paranoid, int):
        why = str(environment.perf_event_paranoid_reason)
        remedy = "mount all of proc on /proc, or use a kernel with CONFIG_PERF_EVENTS"
        yield Feature("perf_event_paranoid", "unknown", why, remedy)
    elif paranoid > 2 and os.geteuid() != 0:
        detail = f"{paranoid}: users may not count"
        yield Feature("perf_event_paranoid", "missing", detail, allow)
    else:
        yield Feature("perf_event_paranoid", "ok", str(paranoid))
    yield attempt("counters", _counted, "use a kernel with CONFIG_PERF_EVENTS")
    remedy = "in a virtual machine: let the host pass its counters through; else the BIOS"
    cycles = attempt("hardware counters", lambda: _cycles(False), remedy)
    yield cycles
    remedy = "see hardware counters"
    if cycles.state == "ok" and platform.machine() != "x86_64":
        remedy = "nothing: on this processor the kernel reads them for memsc"
    elif cycles.state == "ok":
        remedy = "write 1 to /sys/bus/event_source/devices/cpu/rdpmc"
    yield attempt("rdpmc", lambda: _cycles(True), remedy)


def _counted() -> str:
    """What counts of a thread and all it starts, on one CPU if the kernel is new enough."""
    lack, cpu = "", min(perf.online_cpus())
    try:
        found, _ = open_counters(0, cpu, inherit=True, kernel=True, on_exec=True)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        found, _ = open_counters(0, EVERYWHERE, inherit=True, kernel=True, on_exec=True)
        lack = "; both sides together, before Linux 6.12"
    for descriptor in found.values():
        os.close(descriptor)
    return ", ".join(found) + lack


def _cycles(from_user: bool) -> str:
    try:
        flags = perf.Flag.DISABLED | perf.Flag.EXCLUDE_KERNEL | perf.Flag.EXCLUDE_HV
        event = perf.open_event(perf.HARDWARE, flags=flags)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, "no PMU: this machine shows none") from error
    try:
        if from_user and not perf.readable_from_user(event):
            raise OSError(errno.EOPNOTSUPP, "the instruction is not allowed")
    finally:
        os.close(event)
    return "allowed" if from_user else "cycles count"


def _uring() -> str:
    os.close(bpf.make_polled_ring())
    return "the peer transport uring works"


def summarize(found: Sequence[Feature]) -> Iterator[Feature]:
    """Shorten the list for reading: tracepoints of one category that all attach become one."""
    categories: dict[str, list[Feature]] = {}
    for feature in found:
        category, colon, _ = feature.name.partition(":")
        if colon:
            categories.setdefault(category, []).append(feature)
    hooks = [feature for members in categories.values() for feature in members]
    if len({hook.detail for hook in hooks}) == 1 and hooks[0].state != "ok":
        categories = {"all": hooks}  # as a rule that nobody may
    for feature in found:
        category, colon, _ = feature.name.partition(":")
        category = "all" if "all" in categories else category
        members = categories.get(category, []) if colon else []
        if not colon:
            yield feature
        elif len({(member.state, member.detail) for member in members}) > 1:
            detail = f"{feature.name}: {feature.detail}"
            yield Feature("tracepoint", feature.state, detail, feature.remedy)
        elif feature is members[0]:
            detail = f"{category}: {len(members)}, each {feature.detail}"
            yield Feature("tracepoints", feature.state, detail, feature.remedy)


def verdict(found: Sequence[Feature]) -> list[str]:
    """What it comes to for a user, one line for running and one for tracing."""
    state = {feature.name: feature.state for feature in found}
    lacking = [f.name for f in found if f.needed and f.state == "missing"]
    lines = [
        f"memsc run: not possible, see {', '.join(lacking)}" if lacking else "memsc run: ready"
    ]
    base = [state[name] for name in ("BPF", "tracefs", "kernel headers", "BCC")]
    missing = [f.name for f in found if f.state == "missing"]
    absent = [name for name in missing if ":" in name or name.startswith("probe ")]
    if "missing" in base:
        lines.append("memsc trace: stamps only, since probes cannot be attached")
    elif "unknown" in base:
        lines.append("memsc trace: stamps; whether probes attach, 'sudo memsc doctor' tells")
    elif absent:
        lines.append("memsc trace: ready, less the tracepoints and probes that are missing")
    else:
        lines.append("memsc trace: ready")
    return lines
