# SPDX-License-Identifier: MIT
"""A benchmark that is cut short goes on where it was, and is then as whole as any other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.helpers.required import two_cpus
from tests.helpers.traces import fabricate
from tests.helpers.workload import wait_until

from memsc.bench.suites.resume import resume
from memsc.runtime.errors import MemscError
from memsc.tracer.format import ProbeStatus, Session, decode_session, open_trace
from memsc.tracer.format.writer import TraceWriter

MEMSC = [sys.executable, "-m", "memsc.commands", "bench", "shared", "--quick", "--probes", "none"]
ROUNDS = 24
pytestmark = two_cpus


def session(folder: Path) -> Session:
    return decode_session((folder / "session.json").read_bytes(), folder)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_benchmark_that_was_cut_short_goes_on(end: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "b.memsc"
    command = [*MEMSC, "--no-calibrate", "--json", "-o", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        wait_until(
            lambda: (folder / "session.json").exists() and len(session(folder).rounds) > 2,
            "two rounds",
        )
        first.send_signal(end)
        first.communicate(timeout=60)
    before = [r for r in session(folder).rounds if r.exit_status == 0 and not r.stopped]
    assert 2 < len(before) < ROUNDS
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    found = open_trace(folder)
    assert found.session.complete
    assert found.session.rounds[: len(before)] == before
    assert len(found.session.rounds) == ROUNDS
    # Of each of three arms, two rounds of four cases.
    calls = (5_000, 20_000, 100_000)
    assert found.rows("timings") == 8 * sum(calls)
    assert {row["n"] for row in json.loads(done.stdout)["rows"]} == {2 * n for n in calls}


@pytest.mark.parametrize("status", [0, 1])
def test_what_belongs_to_no_finished_round_is_removed(status: int, tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "t.memsc", rounds=1, arms=("memsc",))
    whole = open_trace(folder)
    rounds = [msgspec.structs.replace(r, exit_status=status) for r in whole.session.rounds]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    cut = msgspec.structs.replace(whole.session, rounds=rounds, created=now)
    (folder / "session.json").write_bytes(cut.encode())
    left = resume(folder, cut.command)
    assert left.rounds == ([] if status else rounds)
    assert open_trace(folder).rows("calls") == (0 if status else whole.rows("calls"))


def test_events_of_an_unfinished_round_are_removed_and_no_longer_seen(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "t.memsc", rounds=2, arms=("memsc",))
    whole = open_trace(folder).session
    first, last = sorted(whole.rounds, key=lambda r: r.start_ns or 0)
    kinds = {"kind": ("woken",)}
    row = [("time", "<i8"), ("cpu", "<i8"), ("pid", "<i8"), ("tid", "<i8"), ("kind", "<i8")]
    writer = TraceWriter(folder)
    for time in ((one.start_ns or 0) + 1 for one in (first, last)):
        writer.events("sched", np.array([(time, 0, 1, 1, 0)] * 3, row), kinds)
        writer.flush()
    probes = {"sched": ProbeStatus(attached=True, reason=None, seen=6, lost=0)}
    rounds = [first, msgspec.structs.replace(last, stopped="interrupted")]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    cut = msgspec.structs.replace(whole, rounds=rounds, created=now, probes=probes)
    writer.session(cut)
    left = resume(folder, cut.command)
    assert left.rounds == [first]
    assert open_trace(folder).rows("events/sched") == 3
    assert left.probes["sched"].seen == 3


def test_another_benchmark_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "t.memsc")
    with pytest.raises(MemscError, match="it was made by `memsc bench`"):
        resume(folder, ["memsc", "bench", "sync"])
    old = msgspec.structs.replace(session(folder), created="2001-01-01T00:00:00+00:00")
    (folder / "session.json").write_bytes(old.encode())
    with pytest.raises(MemscError, match="started anew"):
        resume(folder, old.command)
    with pytest.raises(MemscError, match="no such folder"):
        resume(tmp_path / "nothing.memsc", old.command)
