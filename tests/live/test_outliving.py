# SPDX-License-Identifier: MIT
"""What a program leaves behind goes on when its session has ended and nobody empties its rings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import wait_until

from memsc.tracer.format import open_trace

pytestmark = [
    two_cpus,
    layered,
]
ARMS = (("direct", "inline"), ("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner"))
RING = 64
# A daemon, as daemons are made; its parent waits for the end of its session if told to.
PROGRAM = f"""
import os, sys, time
if os.fork():
    while sys.argv[1] == "stay": time.sleep(1)
    while not os.path.exists("up"): time.sleep(0.01)
    os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for i in range({RING} * 20):
    if i == {RING}: open("up", "w").close()
    os.getppid()
while not os.path.exists("over"): time.sleep(0.01)
for _ in range({RING} * 20): os.getppid()
open("done", "w").close()
"""


def session(folder: Path, transport: str, service: str, how: str) -> subprocess.Popen[bytes]:
    """One whose program makes more calls than rings hold, and waits for those to be taken."""
    arm = ("--transport", transport, "--service", service, "--ring", str(RING))
    options = ("--when-full", "wait", "--no-calibrate", "--probes", "none", "-o", "t.memsc")
    with (folder / "errors").open("wb") as errors:  # no pipe: the daemon has it, too
        return subprocess.Popen(
            [*MEMSC, "trace", *arm, *options, "--", "/usr/bin/python3", "-ISc", PROGRAM, how],
            cwd=folder,
            stderr=errors,
        )


@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_a_daemon_goes_on_unrecorded(tmp_path: Path, transport: str, service: str) -> None:
    process = session(tmp_path, transport, service, "go")
    assert process.wait(120) == 0
    (tmp_path / "over").touch()
    wait_until((tmp_path / "done").exists, "the daemon's last call")
    (done,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert (done.calls or 0) + (done.lost or 0) + (done.unfinished or 0) == done.made
    assert (done.calls or 0) >= RING
    assert "outlive the program, unrecorded" in (tmp_path / "errors").read_text()
    # What was recorded of it after its parent's end lies within the round.
    last = int(
        open_trace(tmp_path / "t.memsc").read("calls", ["completed"])["completed"].to_numpy().max()
    )
    assert done.end_cycles is not None
    assert last <= done.end_cycles + 10_000
    assert not list(Path("/dev/shm").glob(f"memsc-*/session-{process.pid}-*"))


def test_a_killed_session_holds_up_nobody(tmp_path: Path) -> None:
    process = session(tmp_path, "memsc", "inline", "stay")
    wait_until((tmp_path / "up").exists, "the daemon's first calls")
    process.kill()
    process.wait()
    (tmp_path / "over").touch()
    wait_until((tmp_path / "done").exists, "the daemon's last call")
    cleaned = subprocess.run([*MEMSC, "clean"], check=False, capture_output=True, text=True)
    assert cleaned.returncode == 0, cleaned.stderr
    assert not list(Path("/dev/shm").glob(f"memsc-*/session-{process.pid}-*"))
