# SPDX-License-Identifier: MIT
"""The faults: what each does to a session, before it starts or at its moment."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.helpers.faults.world import GROUPS, MEMORY, World, mount

# What may become of a program.
SPARED = "it finishes"
ENDED = "it is the victim, or may be ended with its session, which says so"
_PYTHON = 5  # descriptors without which no Python starts


def prepare(world: World) -> tuple[tuple[str, ...], Callable[[], None]]:
    """What must stand before the session starts: a command before its own, and what undoes it."""
    amount = world.plan.amount
    match world.plan.fault:
        case "disk-full":
            mount(world.disk, 1 << int(14 + 8 * amount), again=True)
        case "memory-full":
            mount(MEMORY, 1 << int(16 + 10 * amount), again=True)
        case "few-descriptors":
            return ("prlimit", f"--nofile={int(_PYTHON + 40 * amount)}", "--"), _nothing
        case "little-memory":
            limit = 1 << int(29 + 4 * amount)
            return ("prlimit", f"--as={limit}", "--"), _nothing
        case "time-namespace":
            ahead = ("--monotonic", str(int(1e6 * amount)), "--boottime", "777")
            return ("unshare", "--time", *ahead, "--"), _nothing
        case "memory-limit":
            return _memory_limit(1 << int(24 + 4 * amount))
        case _:
            pass
    return (), _nothing


def strike(world: World) -> None:
    """At its moment."""
    what, _, whom = world.plan.fault.partition("-")
    world.look()
    match what, whom:
        case "kill", _:
            for one in ("session", "helper", "target") if whom == "all" else (whom,):
                _send(world, one, signal.SIGKILL)
        case "stop", _:
            _send(world, whom, signal.SIGSTOP)
            time.sleep(0.05 + world.plan.amount / 2)
            _send(world, whom, signal.SIGCONT)
        case "interrupt", _:
            _send(world, whom, signal.SIGINT)
        case "end", _:
            _send(world, whom, signal.SIGTERM)
        case "slow", _:
            for _ in range(15):
                _send(world, "session", signal.SIGSTOP)
                time.sleep(0.03)
                _send(world, "session", signal.SIGCONT)
                time.sleep(0.005)
        case "read", _:
            with suppress(OSError):  # somebody is just writing: so be it
                mount(world.disk, 1 << 30, again=True, read_only=True)
        case "vanished", _:
            shutil.rmtree(world.trace, ignore_errors=True)
        case "few", "descriptors-target":
            if world.target is not None:
                limit = int(5 + 4 * world.plan.amount)
                with suppress(ProcessLookupError):
                    resource.prlimit(world.target, resource.RLIMIT_NOFILE, (limit, limit))
        case _:
            pass


def fate(world: World) -> str:
    """What may become of the program: SPARED or ENDED."""
    what, _, whom = world.plan.fault.partition("-")
    if what == "kill" and whom in ("target", "all"):
        return ENDED
    if world.plan.form == "pid":  # it was there before
        return SPARED
    if what == "kill" and whom == "session":
        return ENDED
    if what in ("interrupt", "end"):
        return ENDED
    # It has little itself, as its session has.
    if world.plan.fault in ("little-memory", "few-descriptors", "memory-limit"):
        return ENDED
    return SPARED


def endings(world: World) -> set[int]:
    """How the session may end: right, with a line on what failed, as its program did, or killed."""
    # The program may have ended before the session found it.
    late = {1} if world.plan.form == "pid" else set[int]()
    match world.plan.fault:
        case "kill-session" | "kill-all" | "memory-limit":
            return {0, 1, 4, 128 + signal.SIGKILL, -signal.SIGKILL}
        case "kill-target":
            return {0, 128 + signal.SIGKILL} | late
        case "interrupt-session":
            return {0, 128 + signal.SIGINT, -signal.SIGINT} | late
        case "end-session":
            return {0, 128 + signal.SIGTERM, -signal.SIGTERM} | late
        case _:
            return {0, 1}


def _nothing() -> None:
    pass


def _send(world: World, whom: str, number: signal.Signals) -> None:
    neighbour = world.neighbour
    pids = {
        "session": world.session.pid,
        "helper": world.helper,
        "target": world.target,
        "neighbour": neighbour and neighbour.pid,
    }
    pid = pids[whom]
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _memory_limit(size: int) -> tuple[tuple[str, ...], Callable[[], None]]:
    if not (GROUPS / "memory.limit_in_bytes").exists():
        return (), _nothing
    group = GROUPS / f"memsc-test-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(size))
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'

    def undo() -> None:
        for pid in Path(group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (GROUPS / "cgroup.procs").write_text(pid)
        group.rmdir()

    return ("sh", "-c", enter, "sh"), undo
