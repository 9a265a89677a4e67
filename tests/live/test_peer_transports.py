# SPDX-License-Identifier: MIT
"""The programs of the suites `peers` and `calls`: each does what it says, or says why it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from memsc.bench.suites import peer_transports, small_calls
from memsc.runtime import topology
from memsc.runtime.files import PEERS, WORK
from memsc.runtime.launch import TRANSPORTS

TWO = len(os.sched_getaffinity(0)) > 1
HERE, THERE = str(max(os.sched_getaffinity(0))), str(min(os.sched_getaffinity(0)))
PRIME = 101


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("case", ["null", "read"])
@pytest.mark.parametrize("peer", peer_transports.PROGRAMS)
def test_a_peer_times_each_call_or_says_why_it_is_not_here(
    tmp_path: Path, peer: str, case: str
) -> None:
    if peer == "uring" and not TWO:
        pytest.skip("its polling thread needs a CPU of its own")
    file = tmp_path / "timings"
    done = run(str(PEERS), peer, case, str(PRIME), HERE, THERE, str(file))
    if done.returncode == peer_transports.UNAVAILABLE:
        assert done.stderr.startswith("memsc-peers: ")
        return
    assert done.returncode == 0, done.stderr
    cycles = np.fromfile(file, np.int64)
    assert len(cycles) == PRIME
    assert cycles.min() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["timings"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", small_calls.OPERATIONS)
def test_an_operation_works_under_every_transport(
    tmp_path: Path, name: str, transport: str
) -> None:
    if transport in topology.SPINNING and not TWO:
        pytest.skip("both sides poll")
    file = tmp_path / "timings"
    command = ("taskset", "-c", HERE, str(WORK), "calls", name, str(tmp_path), "31", str(file))
    done = run(*command, MEMSC_TRANSPORT=transport, MEMSC_SERVICE_CPUS=THERE)
    assert done.returncode == 0, done.stderr
    assert len(np.fromfile(file, np.int64)) == 31
    assert [path.name for path in tmp_path.iterdir()] == ["timings"]


@pytest.mark.parametrize("name", ["nothing", "read", "read-0", "read-x", "stat-1", "read-1048577"])
def test_an_operation_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    done = run(str(WORK), "calls", name, str(tmp_path), "1", str(tmp_path / "timings"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
