# SPDX-License-Identifier: MIT
"""Interactive shells on a terminal: jobs are stopped, continued and ended as without memsc."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.preloaded import ATTACHABLE, MARKS

ARMS = {
    "direct": (),
    "ipi": ("--transport", "ipi"),
    "memsc": (),
    "memsc-scanner": ("--service", "scanner"),
}
SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
STOPPED = "(?i)stopped|suspended"
LIMIT_S = 60
STOP, INTERRUPT, END = b"\x1a", b"\x03", b"\x04"

pytestmark = MARKS


class Shell:
    """A shell on a terminal of its own, with what it has written."""

    def __init__(self, command: list[str], home: Path) -> None:
        kept = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "LC_ALL": "C"}
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(home)
            os.execvpe(command[0], command, kept)
        self._written = ""
        self._group = 0

    def send(self, text: bytes) -> None:
        """Type something; what is waited for next is looked for behind it."""
        self._written = ""
        os.write(self._terminal, text)

    def read(self, seconds: float) -> bool:
        """Take what is written meanwhile; whether there was something."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        self._written += os.read(self._terminal, 4096).decode(errors="replace")
        return True

    def says(self, pattern: str) -> None:
        """Wait for it."""
        end = time.monotonic() + LIMIT_S
        while not re.search(pattern, self._written):
            assert time.monotonic() < end, (pattern, self._written)
            self.read(1)

    def at_prompt(self) -> None:
        """Wait until the shell answers, and so is the terminal's foreground."""
        self.send(b"echo at-''prompt\n")
        self.says("at-prompt")
        self._group = os.tcgetpgrp(self._terminal)

    def gives_back(self, key: bytes) -> None:
        """Type a key until the shell has the terminal: a job's last processes may just start."""
        end = time.monotonic() + LIMIT_S
        while os.tcgetpgrp(self._terminal) != self._group:
            assert time.monotonic() < end, self._written
            os.write(self._terminal, key)
            for _ in range(50):
                if os.tcgetpgrp(self._terminal) == self._group:
                    break
                self.read(0.02)

    def listed(self) -> str:
        """What it says of its jobs."""
        self.send(b"jobs; echo lis''ted\n")
        self.says("listed")
        return self._written

    def runs_job(self) -> None:
        """Wait until a job has the terminal."""
        end = time.monotonic() + LIMIT_S
        while os.tcgetpgrp(self._terminal) == self._group:
            assert time.monotonic() < end, self._written
            self.read(0.01)

    def ends(self) -> int:
        """Its exit status; of jobs that are left it warns once."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                os.write(self._terminal, b"exit 7\n")
                self.read(0.5)
            except OSError:  # how a terminal says that nobody is there any more
                pass
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(self._written)

    def close(self) -> None:
        """End it, if it is still there."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._terminal)


@pytest.fixture(params=SHELLS)
def name(request: pytest.FixtureRequest) -> str:
    """Of a shell that is here."""
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return request.param


@pytest.fixture(params=ARMS)
def shell(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """At its prompt."""
    memsc = str(FRONT)
    carried = (
        [memsc, "run", "-q", *ATTACHABLE, *ARMS[request.param], "--"]
        if request.param != "direct"
        else []
    )
    shell = Shell([*carried, *SHELLS[name]], tmp_path)
    try:
        shell.at_prompt()
        yield shell
    finally:
        shell.close()


def test_jobs_are_controlled(shell: Shell) -> None:
    """By keys and commands: the kernel stops and continues who runs on the caller's own thread."""
    shell.send(b"cat\n")
    shell.runs_job()
    shell.send(b"hello\n")
    shell.says("hello\r\nhello")
    shell.gives_back(STOP)
    shell.says(STOPPED)
    shell.send(b"fg\n")
    shell.runs_job()
    shell.send(b"again\n")
    shell.says("again\r\nagain")
    shell.gives_back(END)

    shell.at_prompt()
    shell.send(b"cat &\n")  # which may not read here
    shell.at_prompt()
    end = time.monotonic() + LIMIT_S
    while not re.search(STOPPED, shell.listed()):
        assert time.monotonic() < end
    shell.send(b"sleep 77\n")
    shell.runs_job()
    shell.gives_back(INTERRUPT)
    shell.at_prompt()

    # By exec: a shell that has begun a child by vfork cannot stop if that child was stopped first.
    shell.send(b"sh -c 'echo u\"\"p; exec sleep 77' | cat | cat\n")
    shell.says("up\r")  # all three are there
    shell.runs_job()
    shell.gives_back(STOP)
    shell.at_prompt()
    shell.send(b"fg\n")
    shell.runs_job()
    shell.gives_back(INTERRUPT)
    shell.at_prompt()
    assert shell.ends() == 7
