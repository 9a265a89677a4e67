# SPDX-License-Identifier: MIT
"""What this machine can do for memsc: each feature is tried, no version is ever asked.

A try may take up to a second (BCC compiles) and changes nothing that outlives it. Most of what
concerns BPF needs root; without root a feature says so instead of guessing.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memsc.probes import declaration
from memsc.runtime import topology as cpus
from memsc.runtime.errors import MemscError, reason, shortage
from memsc.runtime.files import LAYER, LIBRARY, REINSTALL
from memsc.runtime.library import counter_step
from memsc.tracer.doctor import hook_trials
from memsc.tracer.format import Environment
from memsc.tracer.helper import capabilities
from memsc.tracer.helper.isolation import cpusets
from memsc.tracer.helper.kernel import bpf, perf, tracefs
from memsc.tracer.helper.kernel.perf_counters import EVERYWHERE, open_counters
from memsc.tracer.helper.loading import headers
from memsc.tracer.session.observe.channel import PYTHON, Channel

State = Literal["ok", "missing", "unknown"]

AS_ROOT = "run it with sudo"
# A function that exists wherever BPF does and that nobody calls in a hurry.
FUNCTIONS = ("__x64_sys_getpgid", "__arm64_sys_getpgid")


@dataclass(frozen=True)
class Feature:
    """One thing that was tried.

    Args:
        name: what a user calls it.
        state: `unknown` only where the try itself was not possible.
        detail: what was found, one line.
        remedy: what to do about a lack; empty when ok.
        needed: `memsc run` does not work without it.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""
    needed: bool = False

    def as_json(self) -> dict[str, str]:
        """The four fields of the JSON output."""
        return {
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def attempt(name: str, tried: Callable[[], str], remedy: str, needed: bool = False) -> Feature:
    """Try a feature.

    Args:
        name: the feature's.
        tried: tries it and returns the detail; raises OSError or MemscError if it is not there, or
            there is not enough of something to tell.
        remedy: against an OSError; a MemscError brings its own.
        needed: see Feature.
    """
    try:
        return Feature(name, "ok", tried(), needed=needed)
    except MemscError as error:
        if helps := shortage(error.why):
            return Feature(name, "unknown", error.why, helps, needed)
        return Feature(name, "missing", error.why, error.remedy, needed)
    except OSError as error:
        if helps := shortage(str(error)):
            return Feature(name, "unknown", reason(error), helps, needed)
        refused = error.errno in (errno.EPERM, errno.EACCES)
        if refused and os.geteuid() != 0:
            return Feature(name, "unknown", "needs root to tell", AS_ROOT, needed)
        if refused and (lack := capabilities.shortfall()):
            return Feature(name, "missing", lack, capabilities.AS_THE_MACHINES_ROOT, needed)
        why = error.strerror or str(error)
        if why == os.strerror(error.errno or 0):
            why = f"the kernel says: {why}"
        return Feature(name, "missing", why, remedy, needed)


def find_all(environment: Environment, topology: cpus.Topology) -> Iterator[Feature]:
    """Try everything, in the order in which a user wants to read it."""
    yield attempt("libmemsc", _library, REINSTALL, needed=True)
    yield attempt(
        "C-library layer", _layer, "use libmemsc's API, or --transport direct", needed=True
    )
    yield attempt("CPUs", lambda: _cpus(topology), "", needed=True)
    yield _quota(environment)
    yield _clock(environment)
    yield _glibc(environment)
    yield _sudo()
    yield from _isolation(topology)
    yield from _bpf()
    yield from _tracepoints()
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
    yield from _counters(environment)
    yield attempt("io_uring SQPOLL", _uring, "set sysctl kernel.io_uring_disabled=0")


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


def _quota(environment: Environment) -> Feature:
    quota = environment.cpu_quota
    if quota is None:
        return Feature("CPU quota", "ok", environment.cpu_quota_reason or "none")
    detail = f"{quota:g} CPUs: programs and services that use more are held up, for ms each time"
    remedy = "run memsc in a control group without cpu.max, or allow it a CPU for each service"
    return Feature("CPU quota", "missing", detail, remedy)


def _clock(environment: Environment) -> Feature:
    name, source = "clock", environment.clocksource
    if not environment.invariant_counter:
        lack = environment.invariant_counter_reason or "the counter is not invariant"
        return Feature(name, "missing", str(lack), "use a machine with an invariant counter")
    if source not in ("tsc", "arch_sys_counter"):
        return Feature(
            name, "missing", f"the kernel's clock is {source}", "boot with clocksource=tsc"
        )
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


def _bpf() -> Iterator[Feature]:
    yield attempt("BPF", _ring, "use a kernel with CONFIG_BPF_SYSCALL, 5.8 or newer, on the host")
    yield attempt("tracefs", _tracefs, "mount -t tracefs tracefs /sys/kernel/tracing")
    found: list[headers.Headers] = []
    yield attempt("kernel headers", lambda: _headers(found), "apt install linux-headers-amd64")
    if not found:
        yield Feature("BCC", "unknown", "needs kernel headers to tell", "see kernel headers")
        return
    refused: list[Feature] = []
    yield attempt("BCC", lambda: _bcc(refused), "apt install python3-bpfcc")
    yield from refused


def _ring() -> str:
    os.close(bpf.make_ring_buffer())
    os.close(bpf.load_program(bpf.RAW_TRACEPOINT))
    return "programs and ring buffers work"


def _tracefs() -> str:
    mounts = (
        Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    )
    if any(line.split()[2] == "tracefs" for line in mounts):
        return "mounted"
    # Mounting it takes a mount namespace, and this process keeps the one it has.
    child = os.fork()
    if child == 0:
        try:
            tracefs.mount()
            os._exit(0)
        except BaseException:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError(errno.EPERM, "it is not mounted and cannot be")
    return "not mounted; memsc mounts it for itself"


def _headers(found: list[headers.Headers]) -> str:
    found.append(headers.find_headers())
    where = found[0].folder or f"/lib/modules/{found[0].release}/build"
    return found[0].warning or f"{where}"


def _bcc(refused: list[Feature]) -> str:
    """As a session does: it is the helper that compiles, with the system's Python and its BCC.

    Args:
        refused: gets a feature for each probe that cannot be loaded here.
    """
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('bcc') is None)"
    if subprocess.run([PYTHON, "-I", "-c", find], check=False).returncode:
        raise OSError(errno.ENOENT, f"{PYTHON} has none (a venv's or PyPI's is not used)")
    if os.geteuid() != 0:
        raise OSError(errno.EPERM, "BCC insists on root")
    names = declaration.names()
    channel = Channel()
    try:
        sizes = dict.fromkeys(names, mmap.PAGESIZE)
        reply, descriptors = channel.ask("load", probes=list(names), ring_bytes=sizes)
        for descriptor in descriptors:
            os.close(descriptor)
    finally:
        channel.close()
    for name, state in reply["probes"].items():
        if not state["usable"]:
            feature = Feature(f"probe {name}", "missing", state["reason"], state["remedy"])
            refused.append(feature)
    return f"compiles; {len(names) - len(refused)} of {len(names)} probes load"


def _tracepoints() -> Iterator[Feature]:
    wanted: dict[str, declaration.Hook] = {}
    for name in (*declaration.names(), "tracking"):
        for hook in declaration.find(name).hooks:
            if hook.variants[0].way in ("tracepoint", "raw"):
                wanted.setdefault(hook.place, hook)
    for tracepoint, hook in sorted(wanted.items()):
        yield attempt(tracepoint, lambda hook=hook: hook_trials.attach(hook), hook.remedy)


def _kprobe() -> str:
    try:
        perf.kind_of("kprobe")
    except OSError as error:
        raise OSError(errno.ENOENT, "kprobes are not built in") from error
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
            last = last if error.errno == errno.ENOENT else error
        else:
            return "attaches"
    raise last


def _uprobe(semaphores: int) -> str:
    try:
        perf.kind_of("uprobe")
    except OSError as error:
        raise OSError(errno.ENOENT, "uprobes are not built in") from error
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
        yield Feature("perf_event_paranoid", "unknown", why, "use a kernel with CONFIG_PERF_EVENTS")
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
    if cycles.state == "ok":
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
