# SPDX-License-Identifier: MIT
"""Events from the entries of kernel functions: the same, and as many, as from tracepoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.sessions import nothing_left, program_ids
from tests.helpers.workload import wait_until
from tests.vm import lacking

from memsc.probes.declaration import find, names
from memsc.tracer.session import interruptions
from memsc.tracer.session.observe import channel
from memsc.tracer.session.observe.event_ring import Events
from memsc.tracer.session.observe.probe_client import Helper

PRIME = 499
FROM, TO = 0, 1
SEND = find("ipi").kind_names.index("send")
# Each with what has to be absent for it to be chosen.
WAYS = {"tracepoint": (), "fentry": ("raw",), "kprobe": ("raw", "fentry")}
HAS_TRACEPOINT = Path("/sys/kernel/tracing/events/ipi/ipi_send_cpu").exists()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled barrier.c."""
    path = tmp_path_factory.mktemp("barrier") / "barrier"
    source = Path(__file__).with_name("barrier.c")
    subprocess.run(["gcc", "-O2", "-pthread", "-o", path, source], check=True)
    return path


def helper_lacking(monkeypatch: pytest.MonkeyPatch, *ways: str) -> Helper:
    """A helper that may not use these."""
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, lacking.__file__, *ways))
    return Helper()


OFFERED = tuple(way for way in WAYS if way != "tracepoint" or HAS_TRACEPOINT)


def helper_that_looks_by(way: str, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """A helper that looks at senders in this way."""
    helper = helper_lacking(monkeypatch, *WAYS[way])
    state = helper.load(["ipi"])["ipi"]
    assert not state.absent
    # Whatever is received is seen by raw tracepoints in any case.
    assert set(state.ways) == ({"raw"} if way == "tracepoint" else {"raw", way})
    return helper


@pytest.fixture(params=OFFERED)
def helper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Helper]:
    """One for each way."""
    with helper_that_looks_by(request.param, monkeypatch) as helper:
        yield helper


def received() -> int:
    """Interrupts from other CPUs that the kernel itself has counted there."""
    counts = interruptions.table(Path("/proc/interrupts"), [TO])
    return counts["RES"] + counts["CAL"] + counts["TLB"]


def sent_by(program: Path, helper: Helper) -> tuple[Events, int]:
    """What the program sent, and what the kernel says was received meanwhile."""
    command = [program, str(PRIME)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.read(1) == b"r"
        helper.track(running.pid)
        helper.watch([FROM, TO])
        before = received()
        helper.recording = True
        running.stdin.write(b"g")
        assert running.stdout.read(1) == b"d"
        helper.recording = False
        after = received()
        running.stdin.write(b"g")
    assert running.returncode == 0
    events = helper.drain("ipi")
    chosen = (events["kind"] == SEND) & (events["tid"] == running.pid)
    return events[chosen & (events["target_cpu"] == TO)], after - before


def test_each_interrupt_is_seen_where_it_is_sent(program: Path, helper: Helper) -> None:
    """The timer may have sent a few more while the program was the one it met."""
    helper.attach("ipi")
    events, arrived = sent_by(program, helper)
    assert PRIME <= len(events) <= arrived
    assert np.all(events["vector"] == -1)
    assert np.all(events["cpu"] == FROM)
    assert helper.losses()["ipi"].dropped == 0

    helper.detach("ipi")
    events, arrived = sent_by(program, helper)
    assert len(events) == 0
    assert arrived >= PRIME

    helper.attach("ipi")
    assert len(sent_by(program, helper)[0]) >= PRIME


def test_the_ways_agree_on_events_and_columns(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever a machine has, the same workload gives the same."""
    seen: dict[str, Events] = {}
    for way in OFFERED:
        with helper_that_looks_by(way, monkeypatch) as helper:
            helper.attach("ipi")
            events, arrived = sent_by(program, helper)
            assert PRIME <= len(events) <= arrived, way
            assert helper.losses()["ipi"].dropped == 0
            seen[way] = events
    assert len(seen) >= 2
    first = seen[OFFERED[0]]
    alike = set(first.dtype.names or ()) - {"time", "pid", "tid"}  # whose it was, `sent_by` looks
    assert "target_cpu" in alike
    for events in seen.values():
        assert events.dtype == first.dtype
        assert set(events["pid"]) == set(events["tid"])
        assert {name: set(events[name].tolist()) for name in alike} == {
            name: set(first[name].tolist()) for name in alike
        }


def test_a_killed_helper_leaves_no_kprobe(monkeypatch: pytest.MonkeyPatch) -> None:
    with helper_lacking(monkeypatch, "raw", "fentry") as helper:
        helper.load(["ipi"])
        helper.attach("ipi")
        programs = program_ids(helper.pid)
        assert len(programs) >= len(find("ipi").hooks)
        os.kill(helper.pid, signal.SIGKILL)
        wait_until(lambda: nothing_left(helper.pid, programs), "the kernel to detach")
    assert not Path("/sys/kernel/tracing/kprobe_events").read_text()
    assert not Path("/sys/kernel/debug/kprobes/list").read_text()


def test_every_probe_attaches_whole() -> None:
    """Nothing that a probe shows is missing from this kernel."""
    with Helper() as helper:
        helper.load(list(names()))
        for name, state in helper.attach(*names()).items():
            assert state.usable, state.reason
            assert not state.absent, name
