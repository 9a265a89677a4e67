# SPDX-License-Identifier: MIT
"""Kills a session, its program or its helper, and counts what stands in the trace afterwards.

As root, since what is left in memory must be of these sessions alone:

    python -m tests.helpers.kills PLANS FOLDER

PLANS is JSON, a list of plans as lists. What became of each is a line of JSON. Sessions are made
by forks that have all imported: from their beginning on it takes as long as the command does.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ARMS = (("direct", "inline"), ("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner"))
VICTIMS = ("program", "helper", "session", "session helper", "session program", "all")
CALL = "getppid"
_UP, _SLOTS = 500, 40
_BEGINS_S = 30
_NEWNS, _PRIVATE, _SUBREAPER = 0x00020000, (1 << 18) | (1 << 14), 36

# Each process counts in a place of its own what it begins and what it has seen the end of. Two
# children live as long as their parent; others, if asked for, come and go.
PROGRAM = f"""
import os, sys, mmap
v = memoryview(mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)).cast("Q")
def calls(slot, count, parent=0):
    while count:
        count -= 1
        v[2 * slot] += 1
        found = os.getppid()
        v[2 * slot + 1] += 1
        if parent and found != parent: os._exit(0)
def pause():  # Python from 3.12 on has looked at its threads: tests/live/test_looked.py
    for _ in range(40): os.getuid()
me, slot = os.getpid(), 3
for child in 1, 2:
    if not os.fork(): calls(child, -1, me)
pause()
v[{_UP}] = 1
while True:
    calls(0, 3000)
    if sys.argv[2] == "forks":
        pid = os.fork()
        if not pid:
            calls(slot, 200)
            os._exit(0)
        os.waitpid(pid, 0)
        pause()
        slot = 3 + (slot - 2) % {_SLOTS}
"""


class Plan(NamedTuple):
    """One kill.

    Args:
        number: its name.
        victims: of VICTIMS.
        transport, service: the arm.
        running: count the moment from the program's first calls, not from the session's start.
        moment: seconds.
        forks: the program's processes come and go; then it is killed before its session.
    """

    number: int
    victims: str
    transport: str
    service: str
    running: bool
    moment: float
    forks: bool

    @property
    def outlives(self) -> bool:
        """Whether some of the program outlive the session, until they notice."""
        return "session" in self.victims and "program" not in self.victims

    @property
    def ends_by_it(self) -> bool:
        """Whether the session lives until its program has ended."""
        return self.victims in ("program", "helper")

    @property
    def whom(self) -> list[str]:
        """Who is killed, the program's processes first or last, by chance."""
        every = ["program", "session", "helper"] if self.victims == "all" else self.victims.split()
        before = self.forks or self.number % 2
        return sorted(every, key=lambda one: (one == "program") != before)


def plan(seed: int, number: int) -> Plan:
    """The kill of that number."""
    chance = random.Random(f"{seed}-{number}")
    victims = VICTIMS[number % len(VICTIMS)]
    running = chance.random() < 0.6
    # Some go on until parts have been written.
    latest = 8 if chance.random() < 0.1 else 1.5
    moment = chance.uniform(0, latest) if running else chance.uniform(0.1, 3)
    # One that is born when its session is dead already is not recorded.
    forks = chance.random() < 0.5 and victims not in ("session", "session helper")
    return Plan(number, victims, *chance.choice(ARMS), running, round(moment, 3), forks)


class Kill:
    """One of them.

    Args:
        plan: which.
        folder: where trace and counts are to lie.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.trace = folder / f"{plan.number}.memsc"
        self.counts = folder / f"{plan.number}.counts"
        self.errors = folder / f"{plan.number}.errors"
        self.counts.write_bytes(bytes(4096))
        with self.counts.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 4096)
        self._seen = memoryview(self._shared).cast("Q")
        self.session = 0
        self.stuck: list[str] = []

    def run(self) -> None:
        """Start, kill, and wait for the end of all."""
        started = time.monotonic()
        self.session = _forked(self._session)
        while self.plan.running and not self._seen[_UP] and self._lives(self.session):
            time.sleep(0.002)
        since = time.monotonic() if self.plan.running else started
        time.sleep(max(since + self.plan.moment - time.monotonic(), 0))
        for one in self.plan.whom:
            if one == "program" and self.plan.ends_by_it:
                self._await_program()
            self._kill(one)
        if self.plan.victims == "helper":  # session and program go on
            time.sleep(0.2)
            self._await_program()
            self._kill("program")
        if self.plan.ends_by_it and not self._seen[_UP]:
            os.kill(self.session, signal.SIGTERM)
        self._gather()

    def _await_program(self) -> None:
        """Until it has begun, as a machine that others keep busy may be late.

        Nobody would be killed otherwise, and a session that is ended while its program begins
        leaves the program's children, whose calls are nobody's by then.
        """
        end = time.monotonic() + _BEGINS_S
        while not self._seen[_UP] and self._lives(self.session) and time.monotonic() < end:
            time.sleep(0.002)

    def _session(self) -> None:
        from memsc.commands.__main__ import main

        probes = "sched" if "helper" in self.plan.whom else "none"
        arm = ["--transport", self.plan.transport, "--service", self.plan.service]
        how = ["-o", str(self.trace), "--no-calibrate", "--probes", probes, *arm]
        how_program = "forks" if self.plan.forks else "stays"
        program = ["/usr/bin/python3", "-ISc", PROGRAM, str(self.counts), how_program]
        null = os.open(os.devnull, os.O_RDWR)
        errors = os.open(self.errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        for number, to in enumerate((null, null, errors)):
            os.dup2(to, number)
        os._exit(main(["trace", *how, "--", *program]))

    def _kill(self, whom: str) -> None:
        if whom == "session":
            found = [self.session]
        elif whom == "helper":
            found = [pid for pid in _below(self.session) if b"helper/boot.py" in _words(pid)]
        else:
            found = self._program()
        while found:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # Whoever was born meanwhile is next.
            found = [p for p in self._program() if self._lives(p)] if whom == "program" else []

    def _program(self) -> list[int]:
        """Its processes, wherever they hang by now; its launcher still holds it before it runs."""
        if not self._seen[_UP]:
            return []
        name = os.fsencode(str(self.counts))
        mine = [pid for pid in _below(os.getpid()) if pid != self.session]
        return [pid for pid in mine if name in _words(pid)]

    @staticmethod
    def _lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def _gather(self) -> None:
        """Wait until all have ended; what has not in a minute is killed, and told."""
        end = time.monotonic() + 60
        with suppress(ChildProcessError):
            while time.monotonic() < end:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.005)
            self.stuck = [_words(pid).replace(b"\0", b" ").decode() for pid in _below(os.getpid())]
            while True:  # they are not dead at once, and some are nobody else's to wait for
                for pid in _below(os.getpid()):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)

    def found(self) -> dict[str, Any]:
        """What the next memsc finds; to be asked in a process of its own."""
        from memsc.tracer.format import CALLS, open_trace
        from memsc.tracer.state.leftovers import tidy

        says = tidy()
        begun, ended = (
            sum(self._seen[0 : 2 * _SLOTS + 6 : 2]),
            sum(self._seen[1 : 2 * _SLOTS + 7 : 2]),
        )
        found: dict[str, Any] = {"says": says, "begun": begun, "ended": ended, "wrong": []}
        found["wrong"] += [f"did not end: {words[:80]}" for words in self.stuck]
        if not self.trace.exists():
            found["trace"] = "none"
            if begun:
                found["wrong"].append("no trace")
            return found
        trace = open_trace(self.trace)
        found["trace"] = "whole" if trace.session.complete else "cut short"
        rounds = trace.session.rounds
        rows = sum(
            batch["syscall"].to_pylist().count(CALL) for batch in trace.batches(CALLS, ["syscall"])
        )
        found |= {"recorded": rows, "rounds": len(rounds)}
        found |= {
            name: sum(getattr(r, name) or 0 for r in rounds)
            for name in ("calls", "lost", "unfinished", "made")
        }
        if trace.rows(CALLS) != found["calls"]:
            found["wrong"].append(f"{trace.rows(CALLS)} rows, {found['calls']} told")
        if found["calls"] + found["lost"] + found["unfinished"] != found["made"]:
            found["wrong"].append("recorded, lost and unfinished are not what was made")
        # What outlives its session may find its ring full.
        after = found["lost"] if self.plan.outlives else 0
        if found["lost"] != after or not ended <= rows + after <= begun:
            found["wrong"].append(f"{ended} to {begun} calls were made, {rows} recorded")
        found["wrong"] += [f"left: {path}" for path in Path("/dev/shm").glob("memsc-*/session-*")]
        if b"Traceback" in self.errors.read_bytes():
            found["wrong"].append(self.errors.read_text())
        return found


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _below(pid: int) -> list[int]:
    """Children and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_below(child)]
    return found


def _forked(what: Any) -> int:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            what()
            status = 0
        finally:
            os._exit(status)
    return pid


def _answer(kill: Kill) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = _forked(lambda: os.write(writing, json.dumps(kill.found()).encode()))
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"wrong": ["the next memsc failed"]}


def _apart() -> None:
    """Have a memory of our own, which no other memsc looks at, and what is left by anybody."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = [
        libc.unshare(_NEWNS),
        libc.mount(b"none", b"/", None, _PRIVATE, None),
        libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, None),
        libc.prctl(_SUBREAPER, 1, 0, 0, 0),
    ]
    if any(done):
        raise OSError(ctypes.get_errno(), "a memory of our own cannot be had")


def lacking() -> str | None:
    """Why this cannot be done here, if so."""
    done = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    return "needs a mount namespace of its own" if done.returncode else None


def kill_all(plans: list[Plan], folder: Path) -> list[dict[str, Any]]:
    """Do so in a process that is apart; what became of each, in order."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.kills", json.dumps(plans), str(folder)],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _main(plans: str, folder: str) -> None:
    for name in ("commands.trace", "tracer.session.session", "tracer.state.recovery"):
        importlib.import_module(f"memsc.{name}")
    _apart()
    for words in json.loads(plans):
        kill = Kill(Plan(*words), Path(folder))
        kill.run()
        found = _answer(kill)
        sys.stdout.write(json.dumps(kill.plan._asdict() | found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
