# SPDX-License-Identifier: MIT
"""Which CPUs there are, how near they are to each other, and which of them to use.

A CPU list is written as the kernel writes it: `0`, `0,2-3`; in Python it is a sorted tuple.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from memsc.runtime.errors import USAGE, MemscError

SYSFS = Path("/sys/devices/system")
CPU_LIMIT = 8192  # the largest CONFIG_NR_CPUS there is
NEAREST = (0, 0, 0)  # see _distance
MOST_SERVICES = 16  # MEMSC_MAX_SERVICES
SPINNING = frozenset({"memsc", "adaptive"})  # their two sides poll, and so need a CPU each


@dataclass(frozen=True)
class Cpu:
    """One online CPU and who shares what with it; every set contains the CPU itself."""

    number: int
    siblings: frozenset[int]  # hardware threads of the same core
    cache: frozenset[int]  # CPUs under the same last-level cache
    node: int | None  # NUMA node, None if the kernel names none


@dataclass(frozen=True)
class Topology:
    """The machine's CPUs, and what of them this process may use."""

    present: frozenset[int]
    cpus: dict[int, Cpu]  # the online ones, by number
    allowed: frozenset[int]  # this process's affinity: defaults are chosen from these
    reachable: frozenset[int]  # its affinity may be set to these (its cpuset)
    isolated: frozenset[int] = frozenset()  # kept free of other tasks by isolcpus or a partition

    @property
    def online(self) -> frozenset[int]:
        """Numbers of the online CPUs."""
        return frozenset(self.cpus)


@dataclass(frozen=True)
class Placement:
    """Where application and service run."""

    app_cpus: tuple[int, ...]
    service_cpus: tuple[int, ...]  # empty for the transport direct, which has no service
    notes: tuple[str, ...] = field(default=())  # what is less than ideal about it, one line each


def parse_cpus(text: str, what: str = "CPU list") -> tuple[int, ...]:
    """Parse a CPU list.

    Args:
        text: `0`, `0,2-3`; an empty list is an error.
        what: how the user gave it, for the message.

    Raises:
        MemscError: with status 2, if it is not a CPU list.
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() for end in ends):
            raise _unreadable(what, text, f"'{part.strip()}' is neither a CPU nor a range of CPUs")
        low, high = (int(end[:9]) for end in ends)
        if high >= CPU_LIMIT or max(map(len, ends)) > 9:
            raise _unreadable(what, text, f"no machine has a CPU {ends[1]}")
        if low > high:
            raise _unreadable(what, text, f"the range '{part.strip()}' runs backwards")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _unreadable(what: str, text: str, why: str) -> MemscError:
    return MemscError(f"{what} '{text}'", why, "write it like 0,2-3", USAGE)


def move_to(cpus: Iterable[int]) -> None:
    """Move the calling thread to CPUs; what it starts begins there.

    Raises:
        MemscError: the kernel grants none of them, though it did when they were chosen.
    """
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        why = f"nothing can be put there any more ({error.strerror}): somebody keeps it for himself"
        remedy = "wait until it is free, or choose others with --app-cpus and --service-cpus"
        raise MemscError(f"CPU {format_cpus(cpus)}", why, remedy) from error


def format_cpus(cpus: Iterable[int]) -> str:
    """Write a CPU list as the kernel does: sorted, ranges of two and more joined by a dash."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def read(
    sysfs: Path = SYSFS,
    allowed: Iterable[int] | None = None,
    reachable: Iterable[int] | None = None,
) -> Topology:
    """Read the machine's topology.

    Args:
        sysfs: the folder that holds `cpu/` and `node/`.
        allowed: CPUs of this process's affinity; default: asked from the kernel.
        reachable: CPUs its affinity may be set to; default: tried.

    What sysfs does not tell is taken at its plainest: no siblings, one cache for the package
    or else for the machine, no node.
    """
    online = _read_set(sysfs / "cpu" / "online")
    if online is None:
        online = frozenset(os.sched_getaffinity(0))
    present = _read_set(sysfs / "cpu" / "present") or online
    nodes = {
        cpu: int(folder.name.removeprefix("node"))
        for folder in sorted((sysfs / "node").glob("node[0-9]*"))
        for cpu in _read_set(folder / "cpulist") or ()
    }
    cpus = {cpu: _read_cpu(sysfs, cpu, online, nodes.get(cpu)) for cpu in sorted(online)}
    return Topology(
        present=present | online,
        cpus=cpus,
        allowed=online & frozenset(os.sched_getaffinity(0) if allowed is None else allowed),
        reachable=online & frozenset(_try_affinity(online) if reachable is None else reachable),
        isolated=online & (_read_set(sysfs / "cpu" / "isolated") or frozenset()),
    )


def _read_cpu(sysfs: Path, cpu: int, online: frozenset[int], node: int | None) -> Cpu:
    folder = sysfs / "cpu" / f"cpu{cpu}"
    itself = frozenset({cpu})
    siblings = _first_set(folder / "topology", "core_cpus_list", "thread_siblings_list")
    package = _first_set(folder / "topology", "package_cpus_list", "core_siblings_list")
    caches = {
        level: shared
        for index in (folder / "cache").glob("index[0-9]*")
        if (level := _read_int(index / "level")) is not None
        and (shared := _read_set(index / "shared_cpu_list"))
    }
    cache = caches[max(caches)] if caches else package or online
    return Cpu(cpu, (siblings or itself) & online | itself, cache & online | itself, node)


def _first_set(folder: Path, *names: str) -> frozenset[int] | None:
    return next((found for name in names if (found := _read_set(folder / name))), None)


def _read_set(file: Path) -> frozenset[int] | None:
    try:
        text = file.read_text(encoding="utf-8")
        return frozenset(parse_cpus(text)) if text.strip() else frozenset()
    except (OSError, MemscError):
        return None


def _read_int(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _try_affinity(online: frozenset[int]) -> frozenset[int]:
    """Ask for all CPUs in a thread of its own, and see which the kernel grants."""
    granted: set[int] = set(os.sched_getaffinity(0))

    def ask() -> None:
        try:
            os.sched_setaffinity(0, online)
            granted.update(os.sched_getaffinity(0))
        except OSError:
            pass  # a sandbox refuses: what this process has is all that is known to work

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return frozenset(granted)


def place(
    topology: Topology,
    transport: str,
    app_cpus: Iterable[int] | None = None,
    service_cpus: Iterable[int] | None = None,
) -> Placement:
    """Choose the CPUs for application and service, or check those that the user chose.

    By default one CPU each: under the same last-level cache but not of the same core, the
    application on an isolated CPU if there is one, else away from CPU 0 and its interrupts.

    Args:
        topology: the machine.
        transport: `direct`, `ipi`, `memsc`, `adaptive` or `uring`.
        app_cpus: the user's choice of --app-cpus, or None.
        service_cpus: the user's choice of --service-cpus, or None; for `direct` it is checked
            and then unused.

    Raises:
        MemscError: a chosen CPU does not exist, is offline or may not be used; both sides would
            share a CPU; there is only one CPU and the transport spins.
    """
    apps = None if app_cpus is None else _check(topology, app_cpus, "--app-cpus")
    services = None if service_cpus is None else _check(topology, service_cpus, "--service-cpus")
    if apps is None:
        apps = (_choose_app(topology, None if transport == "direct" else services),)
    if transport == "direct":
        return Placement(apps, ())
    if services is None:
        services = _choose_service(topology, apps, transport)
    if len(services) > MOST_SERVICES:
        raise MemscError(
            f"--service-cpus {format_cpus(services)}",
            f"a process has at most {MOST_SERVICES} service CPUs",
            "name fewer",
        )
    shared = set(apps) & set(services)
    # Where nobody asked for it, there is no other.
    avoidable = service_cpus is not None and len(topology.reachable) > 1
    if shared and (transport in SPINNING or avoidable):
        raise MemscError(
            f"CPU {format_cpus(shared)} for application and service",
            "each side needs a CPU of its own",
            "give --app-cpus and --service-cpus no CPU in common",
        )
    return Placement(apps, services, _notes(topology, apps, services))


def _check(topology: Topology, cpus: Iterable[int], option: str) -> tuple[int, ...]:
    chosen = tuple(sorted(set(cpus)))
    usable = f"choose from {format_cpus(topology.reachable)}"
    for cpu in chosen:
        what = f"{option} {format_cpus(chosen)}"
        if cpu not in topology.present:
            raise MemscError(what, f"this machine has no CPU {cpu}", usable)
        if cpu not in topology.online:
            bring = f"{usable}, or write 1 to /sys/devices/system/cpu/cpu{cpu}/online as root"
            raise MemscError(what, f"CPU {cpu} is offline", bring)
        if cpu not in topology.reachable:
            raise MemscError(what, f"the cpuset of this process excludes CPU {cpu}", usable)
    if not chosen:
        raise MemscError(option, "it names no CPU", usable)
    return chosen


def _choose_app(topology: Topology, services: tuple[int, ...] | None) -> int:
    """Choose for a service that is fixed (a tuple) or yet to be chosen (None)."""
    usable = topology.allowed | topology.isolated & topology.reachable
    # When nothing else is left the caller reports the overlap, by name.
    left = sorted(
        usable - set(services or ()) or usable,
        key=lambda cpu: (cpu not in topology.isolated, cpu == 0, -cpu),
    )
    best, least = left[0], None
    for cpu in left:
        peers = [services] if services else [(peer,) for peer in topology.allowed - {cpu}]
        distance = min((_distance(topology, cpu, peer) for peer in peers), default=None)
        if distance is not None and (least is None or distance < least):
            best, least = cpu, distance
        if least == NEAREST:
            break
    return best


def _choose_service(topology: Topology, apps: tuple[int, ...], transport: str) -> tuple[int, ...]:
    candidates = topology.allowed - set(apps)
    if candidates:
        return (min(candidates, key=lambda cpu: (*_distance(topology, cpu, apps), cpu)),)
    if transport not in SPINNING:
        return apps[:1]
    if len(topology.online) == 1:
        why = "this machine has one CPU, and both sides of this transport poll"
        remedy = "use --transport direct or --transport ipi"
    elif len(topology.reachable) == 1:
        why = f"this process may run on CPU {format_cpus(topology.reachable)} only"
        remedy = "widen its cpuset, or use --transport direct or --transport ipi"
    else:
        why = f"of CPUs {format_cpus(topology.allowed)}, none is left for the service"
        remedy = "name another with --service-cpus, or use --transport direct or --transport ipi"
    raise MemscError(f"--transport {transport}", why, remedy)


def _distance(topology: Topology, cpu: int, others: tuple[int, ...]) -> tuple[int, int, int]:
    """Sort key: CPUs of a core in use come last, then what is further off than need be."""
    this = topology.cpus[cpu]
    near = [topology.cpus[other] for other in others]
    return (
        sum(cpu in other.siblings for other in near),
        sum(cpu not in other.cache for other in near),
        sum(this.node != other.node for other in near),
    )


def _notes(topology: Topology, apps: tuple[int, ...], services: tuple[int, ...]) -> tuple[str, ...]:
    notes: list[str] = []
    for app in apps:
        for service in services:
            cpu, pair = topology.cpus[app], f"CPUs {app} (application) and {service} (service)"
            if app == service:
                notes.append(f"CPU {app} is both sides': no interrupt is sent between them")
            elif service in cpu.siblings:
                notes.append(f"{pair} share a core: each slows the other")
            elif service not in cpu.cache:
                notes.append(f"{pair} share no cache: every call crosses the interconnect")
    return tuple(notes)
