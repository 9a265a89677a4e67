# SPDX-License-Identifier: MIT
"""Keeps other tasks off a session's CPUs, by the best means there is.

In this order: a cgroup v2 partition, which the kernel itself keeps free; v2 groups whose CPUs are
narrowed; a v1 cpuset for all others; affinities. Each step is journaled before it is taken.
Privileged side; standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from memsc.runtime.topology import format_cpus, parse_cpus
from memsc.tracer.helper.isolation.journal import Journal
from memsc.tracer.helper.kernel import tasks

PARTITION, NARROWED, CPUSET, AFFINITY = "v2 partition", "v2 cpuset", "v1 cpuset", "affinity"
_PASSES = 5  # looks at who has come since the last


@dataclass
class Fence:
    """The fence, and how a session's program gets inside.

    Args:
        how: by what means: one of the constants above.
        inside: the group of the program; None where affinity is all.
        strays: threads the kernel leaves nobody move, which may still run there.
        notes: why nothing better was possible.
    """

    how: str
    inside: Path | None = None
    strays: int = 0
    notes: list[str] = field(default_factory=list[str])

    def adopt(self, pid: int, cpus: frozenset[int]) -> None:
        """Let a process in, onto its CPUs; its children follow.

        Raises:
            OSError: the kernel refused.
        """
        if self.inside is not None:
            (self.inside / "cgroup.procs").write_text(f"{pid}\n")
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cpus)


@dataclass(frozen=True)
class Plan:
    """What is to be fenced.

    Args:
        app: CPUs of the application.
        service: CPUs of the service.
        online: all there are.
        asker: the session's process: where its program comes from.
    """

    app: frozenset[int]
    service: frozenset[int]
    online: frozenset[int]
    asker: int

    @property
    def both(self) -> frozenset[int]:
        """Where the program's threads may be."""
        return self.app | self.service

    @property
    def rest(self) -> frozenset[int]:
        """Where all others may be."""
        return self.online - self.app


def controllers(group: Path) -> list[str]:
    """What a group of cgroup v2 may control; nothing where another mount covers it."""
    try:
        return (group / "cgroup.controllers").read_text().split()
    except FileNotFoundError:
        return []


def build(journal: Journal, plan: Plan) -> Fence:
    """Build the best fence that the machine allows; what a failed try did is undone."""
    notes: list[str] = []
    v2, v1 = mounts()
    ways: list[Callable[[Journal, Plan, Path], Fence]] = []
    root = Path()
    if v2 is not None and "cpuset" in controllers(v2):
        if plan.online - plan.both:
            ways.append(_partition)
        else:
            notes.append("no partition: application and service would take every CPU")
        root = v2
        ways.append(_narrow)
    elif v1 is not None:
        root = v1
        ways.append(_cpuset)
    else:
        notes.append("no cpuset: neither cgroup version offers that controller")
    journal.remember(plan.online)
    for way in ways:
        before = len(journal.steps)
        try:
            fence = way(journal, plan, root)
        except OSError as error:
            notes.append(f"{error.filename or 'cgroups'}: {error.strerror}")
            journal.undo(before)
        else:
            break
    else:
        fence = Fence(AFFINITY)
    fence.notes = notes
    if fence.how != PARTITION:
        fence.strays = _sweep(journal, plan)
    return fence


def mounts() -> tuple[Path | None, Path | None]:
    """Where cgroup v2 is mounted, and the v1 hierarchy of cpusets."""
    v2 = v1 = None
    for line in (
        Path("/proc/self/mountinfo")
        .read_text(encoding="utf-8", errors="surrogateescape")
        .splitlines()
    ):
        place, kind = line.split(" - ")
        words = kind.split()
        point = Path(place.split()[4].encode().decode("unicode_escape"))
        if words[0] == "cgroup2":
            v2 = v2 or point
        elif words[0] == "cgroup" and "cpuset" in words[2].split(","):
            v1 = v1 or point
    return v2, v1


def _group_of(pid: int, controller: str) -> Path:
    """A process's group below the root; controller is empty for v2."""
    for line in (
        Path(f"/proc/{pid}/cgroup")
        .read_text(encoding="utf-8", errors="surrogateescape")
        .splitlines()
    ):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(path.lstrip("/"))
    return Path()


def _name() -> str:
    return f"memsc-{os.getpid()}"


def _partition(journal: Journal, plan: Plan, root: Path) -> Fence:
    home = root / _group_of(plan.asker, "") / "cgroup.procs"
    journal.controller(root, "cpuset")
    group = root / _name()
    journal.group(group, home)
    (group / "cpuset.cpus").write_text(format_cpus(plan.both))
    said = "refused"
    # Linux 6.1 and newer know "isolated"; a plain partition is balanced, which matters little
    # where every thread has a CPU of its own.
    for kind in ("isolated", "root"):
        with suppress(OSError):
            (group / "cpuset.cpus.partition").write_text(kind)
            said = (group / "cpuset.cpus.partition").read_text().strip()
            if said == kind:
                return Fence(PARTITION, group)
    raise OSError(0, said, str(group))


def _narrow(journal: Journal, plan: Plan, root: Path) -> Fence:
    home = root / _group_of(plan.asker, "") / "cgroup.procs"
    journal.controller(root, "cpuset")
    for file in sorted(root.glob("*/cpuset.cpus")):
        given = frozenset(_cpus(file)) or plan.online
        if given & plan.app and given - plan.app:
            journal.write(file, format_cpus(given - plan.app))
    group = root / _name()
    journal.group(group, home)
    return Fence(NARROWED, group)


def _cpuset(journal: Journal, plan: Plan, root: Path) -> Fence:
    home = root / _group_of(plan.asker, "cpuset") / "cgroup.procs"
    top = root / _name()
    there = frozenset(_cpus(root / "cpuset.cpus"))
    mems = (root / "cpuset.mems").read_text()
    journal.group(top, home)
    groups = {top: plan.online, top / "inside": plan.both, top / "rest": plan.rest}
    for group, cpus in groups.items():
        if group != top:
            journal.group(group, home if group.name == "inside" else root / "cgroup.procs")
        (group / "cpuset.cpus").write_text(format_cpus(cpus & there))
        (group / "cpuset.mems").write_text(mems)
    # Without balancing above and inside, the kernel's balancer looks at the others' CPUs alone.
    journal.write(root / "cpuset.sched_load_balance", "0")
    for group in (top, top / "inside"):
        (group / "cpuset.sched_load_balance").write_text("0")
    refused: set[str] = set()
    for _ in range(_PASSES):
        members = set((root / "cgroup.procs").read_text().split()) - refused
        for pid in members:
            try:
                if not tasks.fixed(int(pid)):
                    (top / "rest" / "cgroup.procs").write_text(f"{pid}\n")
                    continue
            except OSError:
                pass
            refused.add(pid)
        if not members - refused:
            break
    return Fence(CPUSET, top / "inside")


def _cpus(file: Path) -> tuple[int, ...]:
    text = file.read_text(encoding="utf-8").strip()
    return parse_cpus(text) if text else ()


def _sweep(journal: Journal, plan: Plan) -> int:
    """Take the application's CPUs from every affinity that has them; returns who kept them."""
    strays: set[int] = set()
    for _ in range(_PASSES):
        chosen: list[tuple[int, frozenset[int]]] = []
        for thread in tasks.threads():
            if thread.tid in strays or not tasks.reachable(thread.pid):
                continue
            now = tasks.affinity(thread.tid)
            if now & plan.app and (thread.fixed or not now - plan.app):
                strays.add(thread.tid)
            elif now & plan.app:
                chosen.append((thread.tid, now))
        if not chosen:
            break
        journal.affinity(plan.app, chosen)
    return len(strays)
