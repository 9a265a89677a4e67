# SPDX-License-Identifier: MIT
"""A session in a process of its own, for tests of how it ends and of whose it is."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.workload import gone

_LIBC = ctypes.CDLL(None, use_errno=True)
_BPF_PROG_GET_FD_BY_ID = 13
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]

# Does as told by the lines it reads, and answers each with a line of JSON.
SCRIPT = """\
import json, os, sys
from memsc.runtime.errors import MemscError
from memsc.tracer.session.observe.probe_client import Helper
def say(**what):
    print(json.dumps(what), flush=True)
try:
    helper = Helper()
    states = helper.load(["sched", "syscalls"])
except MemscError as error:
    say(error=str(error))
    raise SystemExit(1)
helper.attach("sched", "syscalls")
usable = [state.usable for state in states.values()]
say(helper=helper.pid, sudo=helper._channel._process.pid, usable=usable)
for line in sys.stdin:
    command, _, argument = line.strip().partition(" ")
    try:
        if command == "track":
            say(threads=helper.track(int(argument)))
        elif command == "count":
            helper.track(os.getpid())
            helper.recording = True
            for _ in range(int(argument)): os.getppid()
            helper.recording = False
            calls = helper.drain("syscalls")
            say(calls=int(sum(calls["number"][calls["kind"] == 0] == os_number)))
        elif command == "losses":
            say(losses={k: v.total for k, v in helper.losses().items()})
        elif command == "close":
            helper.close()
            say(closed=True)
    except MemscError as error:
        say(error=str(error))
"""


class Session:
    """A process with a helper that has probes attached.

    Args:
        number: getppid's.
        prefix: a command that runs it, as another user say.
    """

    def __init__(
        self,
        number: int,
        prefix: Sequence[str] = (),
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        code = f"os_number = {number}\n{SCRIPT}"
        self.process = subprocess.Popen(
            [*prefix, python, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment,
            start_new_session=True,  # without a terminal, so that sudo asks nobody
        )
        self.hello = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        return answer

    def ask(self, command: str) -> dict[str, Any]:
        """One command's answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.communicate()


def program_ids(pid: int) -> set[int]:
    """Identities of the BPF programs that a process holds."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        found |= {
            int(number) for number in re.findall(r"^prog_id:\s*(\d+)", path.read_text(), re.M)
        }
    return found


def loaded(program: int) -> bool:
    """Whether the kernel still has a BPF program."""
    attributes = ctypes.create_string_buffer(program.to_bytes(4, sys.byteorder), 64)
    descriptor = _LIBC.syscall(_SYS_BPF, _BPF_PROG_GET_FD_BY_ID, attributes, 64)
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def nothing_left(helper: int, programs: set[int]) -> bool:
    """Whether a helper and all its programs are gone."""
    return gone(helper) and not any(loaded(program) for program in programs)
