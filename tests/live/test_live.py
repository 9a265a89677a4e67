# SPDX-License-Identifier: MIT
"""`memsc trace --live` on a real terminal of 80 columns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus
from tests.helpers.terminal import CURSOR, SCREEN, SCREEN_BACK, Terminal
from tests.helpers.workload import wait_until

from memsc.runtime.files import WORK
from memsc.tracer.format import open_trace

pytestmark = [
    two_cpus,
    layered,
]


def command(folder: Path, *program: str) -> list[str]:
    options = ("--no-calibrate", "--probes", "none", "--live", "-o", str(folder))
    return [*MEMSC, "trace", *options, "--", *program]


def on_terminal(arguments: list[str], terminal: Terminal) -> subprocess.Popen[bytes]:
    """A program on a terminal."""
    device = terminal.device
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    return subprocess.Popen(arguments, env=environment, stdin=device, stdout=device, stderr=device)


def test_it_shows_what_happens_and_gives_the_terminal_back(tmp_path: Path) -> None:
    script = f"{WORK} sync 3000 {tmp_path / 'timings'}; echo hidden; sleep 1.5"
    terminal = Terminal()
    assert on_terminal(command(tmp_path / "t.memsc", "sh", "-c", script), terminal).wait() == 0
    said = terminal.written()
    picture, _, after = said.partition(SCREEN_BACK)
    assert SCREEN in picture  # a screen of its own, left again, with the cursor shown
    assert CURSOR in said
    assert "calls/s" in picture
    assert "0 lost" in picture
    assert "mean ns" in picture
    assert "hidden" not in said
    assert "recorded in" in after
    plain = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", picture.replace("\x1b[H", "\n"))
    assert max(len(line) for line in plain.splitlines()) <= 80


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_gets_the_terminal_back(tmp_path: Path, number: signal.Signals) -> None:
    terminal = Terminal()
    trace, up = tmp_path / "t.memsc", tmp_path / "up"
    session = on_terminal(command(trace, "sh", "-c", f"echo > {up}; exec sleep 1000"), terminal)
    wait_until(up.exists, "the program")
    session.send_signal(number)
    assert session.wait(60) == 128 + number
    shown, _, after = terminal.written().rpartition(SCREEN_BACK)
    assert "what was recorded is in" in after
    assert SCREEN in shown and CURSOR in shown[shown.rfind(SCREEN) :] + after
    assert open_trace(trace).session.complete


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
