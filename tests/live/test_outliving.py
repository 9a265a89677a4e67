# SPDX-License-Identifier: MIT
"""What outlives what: programs their session, and sessions their folder in shared memory."""

from __future__ import annotations

import shutil
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


EMPTIED = f"""
import os, time
for i in range({RING} * 20):
    if i == {RING}: open("up", "w").close()
    os.getppid()
while not os.path.exists("over"): time.sleep(0.01)
if os.fork() == 0:
    for _ in range({RING} * 20): os.getppid()
    os._exit(0)
os.wait()
os.execv("/bin/true", ["true"])
"""


@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_an_emptied_shared_memory_loses_nothing(
    tmp_path: Path, transport: str, service: str
) -> None:
    """As at a logout (RemoveIPC) or by a sweep: programs and regions have no need of names."""
    arm = ("--transport", transport, "--service", service)
    options = ("--no-calibrate", "--probes", "none", "-o", "t.memsc")
    command = ("/usr/bin/python3", "-ISc", EMPTIED)
    with subprocess.Popen(
        [*MEMSC, "trace", *arm, *options, "--", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until((tmp_path / "up").exists, "the program's first calls")
        (folder,) = Path("/dev/shm").glob(f"memsc-*/session-{process.pid}-*")
        shutil.rmtree(folder)
        (tmp_path / "over").touch()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    trace = open_trace(tmp_path / "t.memsc")
    (done,) = trace.session.rounds
    assert (done.lost, done.unfinished) == (0, 0)
    calls = trace.read("calls", ["pid", "syscall"]).to_pandas()
    asked = calls[calls["syscall"] == "getppid"].groupby("pid", observed=True).size()
    assert sorted(asked) == [RING * 20, RING * 20]
