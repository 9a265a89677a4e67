# SPDX-License-Identifier: MIT
"""Faults of a whole machine: a CPU goes offline under a session, its clock steps."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.workload import wait_until

from memsc import analysis as ma
from memsc.analysis.domains.checks import STAMP_CHECKS
from memsc.runtime import topology
from memsc.tracer.format import open_trace

pytestmark = [
    pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs"),
]

CPUS = Path("/sys/devices/system/cpu")
VICTIM = 1  # CPU 0 cannot go offline
OTHER = 2 if len(topology.read().reachable) > 2 else 0
DAY = 86_400.0
CPUS_OF = {
    "service": {"service": VICTIM, "app": OTHER},
    "app": {"service": OTHER, "app": VICTIM},
}
ARMS = ("ipi-inline", "memsc-inline", "memsc-scanner")
# Calls until it is told to end, and says then how many it has made.
PROGRAM = """
import os
n = 0
while not os.path.exists("end") or n % 1000:
    os.getppid(); n += 1
    if n == 100: open("up", "w").close()
print(n, flush=True)
"""


def switch(on: bool) -> None:
    (CPUS / f"cpu{VICTIM}/online").write_text(str(int(on)))


@pytest.fixture(autouse=True)
def machine_as_before() -> Iterator[None]:
    before = time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()
    yield
    switch(True)
    time.clock_settime(time.CLOCK_REALTIME, before + time.monotonic())
    assert not list(Path("/run/memsc").glob("*.journal"))
    assert not list(Path("/sys/fs/cgroup").glob("memsc*"))
    assert not list(Path("/dev/shm").glob("memsc-*/session-*"))


def start(
    folder: Path, arm: str, *options: str, service: int = VICTIM, app: int = OTHER
) -> subprocess.Popen[str]:
    """A session whose program makes calls already."""
    transport, _, mode = arm.partition("-")
    command = [*MEMSC, "trace", "-o", "t.memsc", "--transport", transport, "--service", mode]
    command += ["--app-cpus", str(app), "--service-cpus", str(service), "--no-calibrate"]
    session = subprocess.Popen(
        [*command, *options, "--", "/usr/bin/python3", "-ISc", PROGRAM],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: (folder / "up").exists() or session.poll() is not None, "the program")
    return session


def check(folder: Path, session: subprocess.Popen[str]) -> None:
    """Let the program end; it has made its calls, and the trace has them all."""
    (folder / "end").touch()
    out, err = session.communicate(timeout=120)
    assert session.returncode == 0, err
    assert "Traceback" not in err
    (done,) = open_trace(folder / "t.memsc").session.rounds
    assert done.exit_status == 0
    assert done.lost == done.unfinished == 0
    assert done.calls == done.made
    rows = ma.open(folder / "t.memsc").where(syscall="getppid").stages.df_stages()
    assert set(rows["n"]) == {int(out)}
    report = [*MEMSC, "report", "--json", "t.memsc"]
    told = subprocess.run(report, cwd=folder, capture_output=True, text=True, check=True)
    (arm,) = json.loads(told.stdout)["arms"].values()
    assert all(arm["checks"][name]["held"] for name in STAMP_CHECKS)


ROLES = pytest.mark.parametrize("role", ["service", "app"])


@ROLES
@pytest.mark.parametrize("arm", ARMS)
def test_a_cpu_goes_offline_and_comes_back(tmp_path: Path, arm: str, role: str) -> None:
    session = start(tmp_path, arm, "--probes", "sched,ipi", **CPUS_OF[role])
    switch(False)
    time.sleep(1)
    switch(True)
    time.sleep(1)
    check(tmp_path, session)


@ROLES
def test_an_isolated_cpu_goes_offline(tmp_path: Path, role: str) -> None:
    """It stays so until the session is over, which gives back what is left."""
    session = start(tmp_path, "memsc-inline", "--probes", "none", "--isolate", **CPUS_OF[role])
    switch(False)
    time.sleep(1)
    check(tmp_path, session)


def test_a_session_starts_without_a_cpu(tmp_path: Path) -> None:
    switch(False)
    done = subprocess.run(
        [*MEMSC, "run", "--service-cpus", str(VICTIM), "--", "true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(VICTIM) in done.stderr


@pytest.mark.parametrize("arm", ARMS)
def test_the_clock_steps(tmp_path: Path, arm: str) -> None:
    """By a day, forward and back."""
    session = start(tmp_path, arm, "--probes", "sched")
    for step in (DAY, -DAY):
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + step)
        time.sleep(1)
    check(tmp_path, session)


def test_a_duration_is_no_matter_of_the_clock_on_the_wall(tmp_path: Path) -> None:
    began = time.monotonic()
    session = start(tmp_path, "memsc-inline", "--probes", "none", "--duration", "5")
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) - DAY)
    session.communicate(timeout=120)
    assert time.monotonic() - began >= 5
    (done,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert done.stopped == "duration"
