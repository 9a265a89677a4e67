# SPDX-License-Identifier: MIT
"""Attaching to a program that runs: it is recorded, and left as it was found."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import gone, wait_until

from memsc.runtime.errors import MemscError
from memsc.runtime.region import Region
from memsc.tracer.format import open_trace
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session import attach
from memsc.tracer.session import recording as rounds
from memsc.tracer.session.attach import find
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.session import TraceSession
from memsc.tracer.state import folders, leftovers

pytestmark = [
    two_cpus,
    layered,
]
LOOP = "import os, time\nwhile True:\n    os.getppid()\n    time.sleep(0.0005)"


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """One that forwards its calls until it is ended."""
    command = [*MEMSC, "run", "-q", "--attachable", "--", sys.executable, "-I", "-S", "-c", LOOP]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_until(lambda: bool(regions(process.pid)), "its region")
    yield process
    process.kill()
    process.wait()


def regions(pid: int) -> list[Path]:
    return list(folders.running(folders.base()).glob(f"{pid}-*.region"))


def tracing(folder: Path, pid: int, *options: str) -> subprocess.Popen[str]:
    command = [*MEMSC, "trace", "--no-calibrate", "--probes", "none", "-o", str(folder)]
    return subprocess.Popen(
        [*command, "--pid", str(pid), *options], stderr=subprocess.PIPE, text=True
    )


def recording(pid: int) -> bool:
    (path,) = regions(pid)
    with Region(path) as region:
        return bool(region.recording)


def test_a_program_with_numbers_of_its_own_is_found(tmp_path: Path) -> None:
    """It is the first of a PID namespace, and has another number here."""
    within = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no PID namespace can be made here")
    before = set(regions(1))
    command = [*MEMSC, "run", "-q", "--attachable", "--", *within, sys.executable, "-ISc", LOOP]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as outer:
        try:
            wait_until(lambda: bool(set(regions(1)) - before), "its region")
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            pid = int(children.read_text())
            leftovers.tidy()
            with find(pid) as region:
                assert region.pid == pid
            process = tracing(tmp_path / "t.memsc", pid, "--duration", "0.3")
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert set(open_trace(tmp_path / "t.memsc").session.rounds[0].pids) == {pid}
        finally:
            outer.kill()


def test_a_running_program_is_recorded_for_a_while_and_goes_on(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    for name in ("a.memsc", "b.memsc"):  # and once more
        process = tracing(tmp_path / name, program.pid, "--duration", "0.5")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert program.poll() is None
        assert not recording(program.pid)
        found = open_trace(tmp_path / name)
        (done,) = found.session.rounds
        assert (done.stopped, done.attached, done.made, done.lost) == ("duration", True, None, 0)
        assert done.calls and done.calls == found.rows("calls")
        assert "getppid" in found.read("calls", ["syscall"]).column("syscall").to_pylist()


def test_ctrl_c_and_kill_leave_the_program_running(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    process = tracing(tmp_path / "a.memsc", program.pid)
    wait_until(lambda: recording(program.pid), "the recording")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not recording(program.pid)
    assert open_trace(tmp_path / "a.memsc").session.rounds[0].stopped == "interrupted"

    process = tracing(tmp_path / "b.memsc", program.pid)
    wait_until(lambda: recording(program.pid), "the recording")
    process.kill()
    process.communicate()
    # The next one attaches all the same.
    process = tracing(tmp_path / "c.memsc", program.pid, "--duration", "0.2")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert program.poll() is None
    assert not recording(program.pid)


def test_a_sparse_session_that_is_killed_has_counted_what_it_passed_over(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """What was passed over before it came is not among it."""
    with find(program.pid) as region:
        region.recording = 2
        wait_until(lambda: region.counts().skipped > 10, "calls passed over")
        region.recording = 0
        before = region.counts()
    process = tracing(tmp_path / "a.memsc", program.pid, "--record-every", "4")
    (path,) = regions(program.pid)
    with Region(path) as region:
        wait_until(lambda: region.counts().skipped > before.skipped + 100, "calls passed over")
        process.kill()
        process.communicate()
        leftovers.tidy()
        assert not recording(program.pid)
        skipped = region.counts().skipped - before.skipped
    found = open_trace(tmp_path / "a.memsc")
    (done,) = found.session.rounds
    assert (done.stopped, done.lost, done.made) == ("killed", 0, None)
    assert done.calls and done.calls == found.rows("calls")
    # Two may have been under way: one when the first recording ended, one when this did.
    assert done.skipped and skipped - 1 <= done.skipped <= skipped + 1


def test_the_programs_end_ends_the_session(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    process = tracing(tmp_path / "a.memsc", program.pid)
    wait_until(lambda: recording(program.pid), "the recording")
    program.kill()
    program.wait()
    process.communicate(timeout=60)
    assert process.returncode == 0
    found = open_trace(tmp_path / "a.memsc")
    assert found.session.complete
    assert found.rows("calls") == found.session.rounds[0].calls


def test_its_end_may_be_seen_by_the_draining_first(
    program: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch_too_late(
        _pidfd: int, _probing: object, drain: Drain, *_: object, **__: object
    ) -> None:
        wait_until(lambda: region.fill > 0, "a call")
        program.kill()
        program.wait()
        drain.step()
        assert region.closed

    monkeypatch.setattr(rounds, "watch", watch_too_late)
    region = find(program.pid)
    launch = attach.launch_of(region)
    writer = TraceWriter(prepare_output(tmp_path / "a.memsc"))
    with TraceSession(writer, ["memsc"], [launch], calibrate=False) as session:
        done = attach.record(session, region)
    assert done.calls
    assert done.calls == open_trace(tmp_path / "a.memsc").rows("calls")


def test_its_ring_is_made_as_large_as_the_program_was_told(tmp_path: Path) -> None:
    command = [*MEMSC, "run", "-q", "--attachable", "--ring", "1000", "--"]
    process = subprocess.Popen([*command, "sleep", "1000"], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: bool(regions(process.pid)), "its region")
        (path,) = regions(process.pid)
        with Region(path) as region:
            assert int(region["ring_records"]) == 1024
        session = tracing(tmp_path / "a.memsc", process.pid, "--ring", "5000")
        _, err = session.communicate(timeout=60)
        assert session.returncode == 2
        assert "start it with `memsc run --attachable --ring 5000`" in err
        assert not (tmp_path / "a.memsc").exists()
    finally:
        process.kill()
        process.wait()


def test_two_sessions_at_once_are_one_too_many(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    first = tracing(tmp_path / "a.memsc", program.pid)
    wait_until(lambda: recording(program.pid), "the recording")
    second = tracing(tmp_path / "b.memsc", program.pid)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another session traces it" in err
    first.send_signal(signal.SIGINT)
    first.communicate()


def test_a_region_that_is_looked_at_for_a_moment_is_waited_for(
    program: subprocess.Popen[bytes],
) -> None:
    (path,) = regions(program.pid)
    with path.open("rb") as region:
        fcntl.flock(region, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(MemscError, match="another session traces it"):
            find(program.pid)
        soon = threading.Timer(0.1, fcntl.flock, (region, fcntl.LOCK_UN))
        soon.start()
        find(program.pid).close()
        soon.join()


def test_what_cannot_be_attached_to_says_why(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as other:
        for pid, words in (
            (1 << 22, "there is no such process; check its number"),
            (other.pid, "it does not forward its calls; start it with `memsc run --attachable`"),
        ):
            process = tracing(tmp_path / "a.memsc", pid)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 1
            assert err.count("\n") == 1
            assert words in err
            assert not (tmp_path / "a.memsc").exists()
        other.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_another_users_program_is_refused(program: subprocess.Popen[bytes], tmp_path: Path) -> None:
    code = (
        "import os; os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        f"from memsc.tracer.session.attach import find\nfind({program.pid})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "does not belong to user 12345" in done.stderr or "Permission" in done.stderr


def test_a_program_that_is_started_stops_after_a_duration(tmp_path: Path) -> None:
    folder = tmp_path / "a.memsc"
    command = [*MEMSC, "trace", "--no-calibrate", "--probes", "none", "-o", str(folder)]
    command += ["--duration", "2", "--", "sh", "-c", "echo $$; exec sleep 1000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert gone(int(done.stdout))
    session = json.loads((folder / "session.json").read_text())
    assert session["rounds"][0]["stopped"] == "duration"
    said = subprocess.run(
        [*MEMSC, "report", str(folder)], check=False, capture_output=True, text=True
    )
    assert "✗" not in said.stdout
