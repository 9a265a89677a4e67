# SPDX-License-Identifier: MIT
"""`memsc trace --live` on a real terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from memsc.runtime.files import LAYER, WORK

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"),
    pytest.mark.skipif(not LAYER.exists(), reason="this build has no C-library layer"),
]
MEMSC = (sys.executable, "-m", "memsc.commands")


def command(folder: Path, *program: str) -> list[str]:
    options = ("--no-calibrate", "--probes", "none", "--live", "-o", str(folder))
    return [*MEMSC, "trace", *options, "--", *program]


def on_terminal(arguments: list[str]) -> tuple[str, int]:
    """What a program writes on a terminal, and its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(arguments[0], arguments, {**os.environ, "TERM": "xterm", "COLUMNS": "80"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError:  # how a terminal says that nobody is there any more
        pass
    os.close(terminal)
    return said.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_it_shows_what_happens_and_gives_the_terminal_back(tmp_path: Path) -> None:
    script = f"{WORK} sync 3000 {tmp_path / 'timings'}; echo hidden; sleep 1.5"
    said, status = on_terminal(command(tmp_path / "t.memsc", "sh", "-c", script))
    assert status == 0
    picture, _, after = said.partition("\x1b[?1049l")
    assert "\x1b[?1049h" in picture  # a screen of its own, left again, with the cursor shown
    assert "\x1b[?25h" in said
    assert "calls/s" in picture
    assert "0 lost" in picture
    assert "mean ns" in picture
    assert "hidden" not in said
    assert "recorded in" in after
    plain = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", picture.replace("\x1b[H", "\n"))
    assert max(len(line) for line in plain.splitlines()) <= 80


def test_without_a_terminal_it_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "t.memsc", "true"),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "standard error is no terminal" in done.stderr
    assert not (tmp_path / "t.memsc").exists()
