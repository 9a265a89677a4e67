# SPDX-License-Identifier: MIT
"""Other tracers: each one that is installed sees every call of a known number, or says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memsc.bench.suites import peer_tracers
from memsc.bench.suites.peer_tracers import TRACERS
from memsc.bench.suites.peer_transports import UNAVAILABLE
from memsc.runtime.files import LIBRARY, WORK

pytestmark = pytest.mark.bpf

CALLS = 1_009
WARM_UP = 2_000
EVERY_CALL = ("bpftrace", "funclatency")


def daemons() -> set[int]:
    """Numbers of the processes of lttng."""
    found = subprocess.run(["pgrep", "lttng"], capture_output=True, text=True, check=False)
    return set(map(int, found.stdout.split()))


@pytest.mark.parametrize("name", TRACERS)
def test_a_tracer_sees_all_calls_or_says_why_it_cannot(tmp_path: Path, name: str) -> None:
    timings, result = tmp_path / "timings", tmp_path / "result"
    before = daemons()
    cpus = sorted(os.sched_getaffinity(0))
    module = [sys.executable, "-m", peer_tracers.__name__, name, str(LIBRARY), str(result), "--"]
    # In the background, where a shell has SIGINT ignored.
    background = ("sh", "-c", '"$0" "$@" & wait $!', "taskset", "-c", str(cpus[-1]))
    done = subprocess.run(
        [*background, *module, str(WORK), "sync", str(CALLS), str(timings)],
        env=os.environ | {"MEMSC_TRANSPORT": "ipi", "MEMSC_SERVICE_CPUS": str(cpus[0])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode == UNAVAILABLE:
        assert done.stderr.startswith("memsc: ")
        assert done.stderr.count("\n") == 1
        assert not result.exists()
        return
    assert done.returncode == 0, done.stderr
    assert len(np.fromfile(timings, np.int64)) == CALLS
    seen = json.loads(result.read_text())
    assert seen["bytes"] > 0
    # Unknown where another daemon than its own does the work; funclatency's is all in the kernel.
    assert seen["cpu_s"] is None or seen["cpu_s"] > 0 or name == "funclatency"
    assert daemons() <= before
    if name in EVERY_CALL:
        assert seen["events"] + (seen["lost"] or 0) == CALLS + WARM_UP
