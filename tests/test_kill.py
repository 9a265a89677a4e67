# SPDX-License-Identifier: MIT
"""Whoever is killed, and whenever: nothing stays attached or isolated, and the trace opens.

MEMSC_KILL_ROUNDS and MEMSC_KILL_SEED say how often, and which moments; `make test-kill` does more.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests import enclosure

from memsc.runtime.files import LAYER, WORK
from memsc.tracer.format import open_trace

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"),
    pytest.mark.skipif(not LAYER.exists(), reason="this build has no C-library layer"),
]
ROUNDS = int(os.environ.get("MEMSC_KILL_ROUNDS", "9"))
SEED = int(os.environ.get("MEMSC_KILL_SEED", "20261124"))
VICTIMS = ("session", "helper", "target")

# One session and one kill in an enclosure of their own; what is left then, as JSON.
SCRIPT = """\
import glob, json, os, signal, subprocess, sys, time
from pathlib import Path
from tests.sessions import loaded, program_ids
from tests.workload import gone, wait_until
from memsc.tracer import folders, isolation
memsc = [sys.executable, "-m", "memsc.commands"]
victim, delay, folder, work = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4:]
options = ["--isolate", "--probes", "sched", "--no-calibrate", "--when-full", "wait", "-o", folder]
session = subprocess.Popen([*memsc, "trace", *options, "--", *work], stdin=subprocess.DEVNULL)
def children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
def named(word):
    for pid in children(session.pid):
        try:
            if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        except OSError:
            pass
    return None
wait_until(lambda: named(b"boot.py") or session.poll() is not None, "the helper")
helper = named(b"boot.py")
time.sleep(delay)
target = named(b"memsc-work")
programs = program_ids(helper) if helper and not gone(helper) else set()
pid = {"session": session.pid, "helper": helper, "target": target}[victim]
if pid is not None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
status = session.wait(60)
wait_until(lambda: helper is None or gone(helper), "the helper's end")
wait_until(lambda: target is None or gone(target), "the target's end")
wait_until(lambda: not any(loaded(program) for program in programs), "the programs' end")
subprocess.run([*memsc, "run", "-q", "--transport", "direct", "--", "true"])  # the next of any kind
left = [*glob.glob("/run/memsc/*"), *glob.glob("/sys/fs/cgroup/cpuset/memsc-*")]
left += [str(p) for p in folders.base().glob(f"session-{session.pid}-*")]
balanced = Path("/sys/fs/cgroup/cpuset/cpuset.sched_load_balance").read_text().strip()
print(json.dumps({"left": left, "balanced": balanced, "status": status, "killed": pid}))
"""


@pytest.fixture
def enclosed() -> None:
    if reason := enclosure.lacking():
        pytest.skip(reason)


def plan() -> list[tuple[str, float]]:
    chance = random.Random(SEED)
    return [(VICTIMS[i % len(VICTIMS)], round(chance.uniform(0, 3), 3)) for i in range(ROUNDS)]


@pytest.mark.parametrize(("victim", "delay"), plan())
def test_nothing_is_left_and_the_trace_opens(
    victim: str, delay: float, enclosed: None, tmp_path: Path
) -> None:
    folder = tmp_path / "t.memsc"
    work = (str(WORK), "sync", "1000000", str(tmp_path / "timings"))
    script = (sys.executable, "-c", SCRIPT, victim, str(delay), str(folder))
    done = subprocess.run(
        [sys.executable, enclosure.__file__, *script, *work],
        cwd=Path(__file__).parent.parent,
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["left"] == []
    assert found["balanced"] == "1"
    if not (folder / "session.json").exists():
        return  # killed before anything was recorded
    trace = open_trace(folder)
    recorded = sum(r.calls or 0 for r in trace.session.rounds)
    for r in trace.session.rounds:
        assert (r.calls or 0) + (r.lost or 0) + (r.unfinished or 0) == r.made
    assert trace.rows("calls") >= recorded
