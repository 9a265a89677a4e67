# SPDX-License-Identifier: MIT
"""In a time namespace, whose clocks show other times, events lie beside calls and sessions live."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus

from memsc.tracer.format import open_trace
from memsc.tracer.helper.kernel import machine_time, tasks
from memsc.tracer.state import folders, leftovers

WITHIN = ("unshare", "-T", "--monotonic", "1000000", "--boottime", "777", "--")
pytestmark = [
    pytest.mark.skipif(
        subprocess.run([*WITHIN, "true"], check=False, capture_output=True).returncode != 0,
        reason="no time namespace can be made here",
    ),
    two_cpus,
]


@layered
def test_events_lie_beside_the_calls(tmp_path: Path) -> None:
    how = ("-o", "t.memsc", "--no-calibrate", "--probes", "sched", "--transport", "ipi")
    program = "import os\nfor _ in range(300): os.getppid()"
    traced = [*MEMSC, "trace", *how, "--", "/usr/bin/python3", "-ISc", program]
    done = subprocess.run(
        [*WITHIN, *traced], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    trace = open_trace(tmp_path / "t.memsc")
    if not trace.session.probes["sched"].attached:
        pytest.skip(str(trace.session.probes["sched"].reason))
    (one,) = trace.session.rounds
    assert one.start_ns is not None
    assert one.end_ns is not None
    times = trace.read("events/sched", ["time"])["time"].to_numpy()
    assert len(times) > 300
    assert one.start_ns <= times.min() <= times.max() <= one.end_ns


_OWNER = """
import sys
from memsc.tracer.state import folders
print(folders._name(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[(), WITHIN], ids=["machine", "namespace"])
def owner(request: pytest.FixtureRequest) -> Generator[str]:
    """Name of the folder of a session that lives."""
    with subprocess.Popen(
        [*request.param, sys.executable, "-c", _OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.mark.parametrize("within", [(), WITHIN], ids=["machine", "namespace"])
def test_a_session_is_not_taken_for_dead(
    owner: str, within: tuple[str, ...], tmp_path: Path
) -> None:
    """By whoever cleans up: in its namespace, in another, and the other way round."""
    folder = tmp_path / f"memsc-{os.getuid()}" / owner
    folder.mkdir(parents=True, mode=0o700)
    clean = (
        "import sys; from pathlib import Path; from memsc.tracer.state import leftovers;"
        "print(len(leftovers.clean(Path(sys.argv[1]), kernel=False).in_use))"
    )
    command = [*within, sys.executable, "-c", clean, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert folder.is_dir()
    # Somebody else's, with a number that was used before, is.
    pid, started = owner.split("-")[1:3]
    folder.rename(folder.with_name(f"session-{pid}-{int(started) - 12345}"))
    assert leftovers.clean(tmp_path, kernel=False).removed
    assert not any(folder.parent.parent.rglob("session-*"))


def test_the_machine_s_clock_is_shifted_by_nothing() -> None:
    assert tasks.is_same(os.getpid(), tasks.start_time(os.getpid()) or 0)
    assert folders.id_space_of(Path("session-1-2")) == 0
    shown = (
        "import time; from memsc.tracer.helper.kernel import machine_time as m;"
        "print(m.own_offset_ns('monotonic'), m.own_offset_ns('boottime'), m.monotonic_ns())"
    )
    before = machine_time.monotonic_ns()
    command = [*WITHIN, sys.executable, "-c", shown]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    monotonic, boottime, now = map(int, done.stdout.split())
    assert (monotonic, boottime) == (1_000_000 * 10**9, 777 * 10**9)
    assert before <= now <= machine_time.monotonic_ns()
