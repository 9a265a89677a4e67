# SPDX-License-Identifier: MIT
"""`memsc trace` on real programs: what is recorded, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import traces
from tests.helpers.command import memsc, start
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import GETPPID, gone, wait_until

from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.format import STAMPS, Round, RoundKey, TraceFolder, open_trace
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session import environment
from memsc.tracer.session.session import TraceSession
from memsc.tracer.state import folders

ARMS = ("direct", "ipi", "memsc", "memsc-scanner")
ALL = ("--transport", "direct,ipi,memsc", "--service", "inline,scanner")

pytestmark = [two_cpus, layered]


def test_the_session_has_a_name_that_reports_tell_as_its_own(tmp_path: Path) -> None:
    how = ("-o", "t.memsc", "--probes", "none")
    session = memsc("trace", *how, "--", "sh", "-c", "cat /proc/$PPID/comm", cwd=tmp_path)
    assert session.stdout == "memsc\n", session.stderr


def trace(folder: Path, program: Sequence[str], *options: str) -> TraceFolder:
    done = memsc("trace", "-o", str(folder), "--probes", "none", *options, "--", *program)
    assert done.returncode == 0, done.stderr
    return open_trace(folder)


def check_counts(found: TraceFolder) -> None:
    """Recorded + lost = made in each round, and the stages of every row sum to its total."""
    assert found.session.complete
    for r in found.session.rounds:
        assert r.calls is not None and r.made is not None and r.lost is not None
        assert r.calls + r.lost == r.made
        assert r.exit_status == 0
    recorded = sum(r.calls or 0 for r in found.session.rounds)
    assert found.rows("calls") == recorded
    stamps = found.read("calls", STAMPS).to_pandas()
    stages = np.diff(stamps.to_numpy(), axis=1)
    total = stamps["completed"] - stamps["called"]
    assert (stages.sum(axis=1) == total).all()


def test_each_arm_records_each_call_of_an_unmodified_program(tmp_path: Path) -> None:
    output = tmp_path / "copy"
    program = ("dd", "if=/dev/zero", f"of={output}", "bs=512", "count=211", "status=none")
    found = trace(tmp_path / "dd.memsc", program, *ALL)
    check_counts(found)
    assert output.stat().st_size == 211 * 512
    calls = found.read("calls", ["arm", "syscall", "result"]).to_pandas()
    for arm in (*ARMS, "ipi-scanner"):
        mine = calls[calls["arm"] == arm]
        blocks = mine[(mine["syscall"] == "write") & (mine["result"] == 512)]
        assert len(blocks) == 211, arm


def test_batches_are_recorded_as_asynchronous(tmp_path: Path) -> None:
    program = (str(WORK), "batch", "16", "4096", str(tmp_path / "timings"))
    found = trace(tmp_path / "batch.memsc", program)
    check_counts(found)
    calls = found.read("calls", ["syscall", "flags"]).to_pandas()
    assert (calls["syscall"] == "getppid").sum() >= 4096
    assert (calls[calls["syscall"] == "getppid"]["flags"] & 1).all()


def test_a_hot_service_records_as_well(tmp_path: Path) -> None:
    program = (str(WORK), "sync", "2000", str(tmp_path / "timings"))
    check_counts(trace(tmp_path / "hot.memsc", program, "--spin"))
    check_counts(trace(tmp_path / "cold.memsc", program, "--idle", "0"))


def test_the_clock_has_a_fit_and_a_skew_bound(tmp_path: Path) -> None:
    clock = trace(tmp_path / "t.memsc", ["true"]).session.clock
    assert clock.points >= 4
    assert clock.hz == pytest.approx(1e9 / clock.ns_per_cycle)
    assert clock.residual_ns is not None
    assert clock.skew_bound_ns is not None


def test_children_and_programs_executed_in_turn_are_recorded(tmp_path: Path) -> None:
    script = "stat / >/dev/null; (exec stat /etc >/dev/null); exec stat /usr >/dev/null"
    found = trace(tmp_path / "sh.memsc", ["sh", "-c", script])
    check_counts(found)
    assert len(found.session.rounds[0].pids) == 3
    calls = found.read("calls", ["syscall"]).to_pandas()
    assert (calls["syscall"] == "statx").sum() >= 3


def test_a_small_ring_drops_and_counts_or_waits(tmp_path: Path) -> None:
    program = (str(WORK), "sync", "50000", str(tmp_path / "timings"))
    waits = trace(tmp_path / "wait.memsc", program, "--ring", "64")
    check_counts(waits)
    assert waits.session.rounds[0].lost == 0
    drops = trace(tmp_path / "drop.memsc", program, "--ring", "64", "--when-full", "drop")
    check_counts(drops)
    assert (drops.session.rounds[0].lost or 0) > 0
    report = memsc("report", str(tmp_path / "drop.memsc"))
    assert report.returncode == 4
    assert "lost" in report.stdout


@pytest.mark.bpf
def test_probes_see_the_rounds(tmp_path: Path) -> None:
    folder = tmp_path / "probed.memsc"
    program = (str(WORK), "sync", "997", str(tmp_path / "timings"))
    probes = ("--probes", "sched,ipi,syscalls")
    done = memsc("trace", "-o", str(folder), "--transport", "ipi,memsc", *probes, "--", *program)
    assert done.returncode == 0, done.stderr
    found = open_trace(folder)
    check_counts(found)
    assert all(found.session.probes[name].attached for name in ("sched", "ipi", "syscalls"))
    by_check: dict[bool, list[Round]] = {True: [], False: []}
    for r in found.session.rounds:
        by_check[r.check].append(r)
    # Calls are slowed by `syscalls`, so it is attached in rounds of its own alone.
    assert all(r.probes == ["sched", "ipi"] for r in by_check[False])
    assert all(r.probes == ["sched", "ipi", "syscalls"] for r in by_check[True])
    events = found.read("events/syscalls", ["kind", "number"]).to_pandas()
    getppid = events[(events["number"] == GETPPID) & (events["kind"] == "enter")]
    made = 2 * (997 + 2000)  # two arms, and the work's warm-up
    lost = found.session.probes["syscalls"].lost
    assert lost is not None
    assert made - lost <= len(getppid) <= made
    switches = found.read("events/sched", ["kind"]).to_pandas()
    assert (switches["kind"] == "switch").sum() >= 997


def test_a_program_killed_in_mid_call_is_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    work = f"{WORK} sync 100000000 {tmp_path / 'timings'}"
    script = f"{work} & sleep 0.5; kill -9 $!; wait"
    options = ("--probes", "none", "--transport", "memsc", "--when-full", "drop")
    done = memsc("trace", "-o", str(folder), *options, "--", "sh", "-c", script)
    assert done.returncode in (0, 137), done.stderr
    found = open_trace(folder).session.rounds[0]
    assert found.calls and found.made and found.lost is not None
    assert found.calls + found.lost + (found.unfinished or 0) == found.made
    assert (found.unfinished or 0) <= 1
    assert memsc("report", str(folder)).returncode in (0, 4)


def test_the_exit_status_is_the_programs(tmp_path: Path) -> None:
    for script, status in (("exit 7", 7), ("kill -9 $$", 137)):
        done = memsc(
            "trace", "-fo", str(tmp_path / "t.memsc"), "--probes=none", "--", "sh", "-c", script
        )
        assert done.returncode == status, done.stderr
        assert open_trace(tmp_path / "t.memsc").session.complete


def test_calls_go_by_the_name_of_the_program_that_made_them(tmp_path: Path) -> None:
    """Before and after an exec in the same process, and in a child that executes nothing."""
    folder = tmp_path / "t.memsc"
    script = "(cat < /nonexistent); cat /etc/hostname; exec ls /etc /nonexistent"
    memsc("trace", "-o", str(folder), "--probes=none", "--", "sh", "-c", script)
    trace = Trace(open_trace(folder))
    found = trace.totals.df_threads(("comm", "pid"))
    assert set(found["comm"]) == {"sh", "cat", "ls"}
    (shell,) = set(found.loc[found["comm"] == "ls", "pid"])
    assert set(found.loc[found["pid"] == shell, "comm"]) == {"sh", "ls"}
    listed = trace.where(comm="ls", pid=shell).totals.df_errors()
    assert listed.query("syscall in ('statx', 'newfstatat') and errno == 'ENOENT'")["calls"].sum()


def test_a_reader_that_has_enough_is_no_failure_nor_is_a_status_that_is_said_to_be_fine(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "t.memsc")
    options = ("-fo", folder, "--no-calibrate", "--probes=none")
    with start("trace", *options, "--", "yes") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.stderr.read()
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert open_trace(folder).session.rounds[0].piped
    assert "failed rounds" not in memsc("report", folder).stdout
    done = memsc("trace", *options, "--ok-status=1", "--", "grep", "memsc", "/etc/hostname")
    assert done.returncode == 1
    assert "failed rounds" not in memsc("report", folder).stdout


def test_ctrl_c_ends_in_order_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    script = f"{WORK} sync 5000 {tmp_path / 'timings'}; echo; exec sleep 600"
    process = start("trace", "-o", str(folder), "--probes", "none", "--", "sh", "-c", script)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was recorded is in" in err
    found = open_trace(folder)
    assert found.session.complete
    calls = found.read("calls", ["syscall"]).to_pandas()
    assert (calls["syscall"] == "getppid").sum() >= 7000  # the shell makes one of its own
    for pid in found.session.rounds[0].pids:
        wait_until(lambda pid=pid: gone(pid), "the program's end")
    assert not list(folders.base().glob(f"session-{process.pid}-*"))


def test_a_request_to_end_is_treated_as_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    program = "echo; exec sleep 600"
    process = start("trace", "-o", str(folder), "--probes", "none", "--", "sh", "-c", program)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "what was recorded is in" in err
    assert open_trace(folder).session.complete
    assert not list(folders.base().glob(f"session-{process.pid}-*"))


def test_an_interrupted_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "describe", interrupt)
    before, handler = os.sched_getaffinity(0), signal.getsignal(signal.SIGTERM)
    launch = Launch(app_cpus=(max(before),), service_cpus=(min(before),))
    with (
        pytest.raises(KeyboardInterrupt),
        TraceSession(TraceWriter(tmp_path), ["true"], [launch]),
    ):
        pass
    assert os.sched_getaffinity(0) == before
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not list(folders.base().glob(f"session-{os.getpid()}-*"))


def test_a_killed_session_leaves_a_trace_that_opens(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    program = "echo; exec sleep 600"
    options = ("--rounds", "3", "--probes", "none", "--transport", "direct,memsc")
    process = start("trace", "-o", str(folder), *options, "--", "sh", "-c", program)
    assert process.stdout is not None
    process.stdout.readline()
    session = next(folders.base().glob(f"session-{process.pid}-*"))
    process.kill()
    # Its program goes with it (nobody would drain its rings), and lets go of the pipes.
    process.communicate(timeout=60)
    found = open_trace(folder)
    assert not found.session.complete
    assert not folders.owner_is_alive(session)
    # The next command of any kind removes what it left.
    assert memsc("report", str(folder)).returncode in (0, 1, 4)
    assert not session.exists()


def test_of_a_long_round_that_is_killed_its_first_seconds_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    program = "while read line; do :; done </etc/passwd; sleep 0.02"
    script = f"while :; do {program}; done"
    process = start("trace", "-o", str(folder), "--probes", "sched", "--", "sh", "-c", script)
    parts = ("calls/part-*.parquet", "events/sched/part-*.parquet")
    wait_until(lambda: all(any(folder.glob(part)) for part in parts), "what is safe")
    process.kill()
    process.communicate(timeout=60)
    found = open_trace(folder)
    assert not found.session.complete
    assert found.rows("calls") > 100
    assert found.rows("events/sched") > 100
    assert memsc("report", str(folder)).returncode in (0, 1, 4)


def test_a_trace_that_vanishes_is_not_made_anew_without_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    folder.mkdir()
    records = np.zeros(3, traces.CALL)
    with pytest.raises(MemscError, match="has vanished"), TraceWriter(folder) as writer:
        writer.session(traces.session([], {}))
        writer.calls(RoundKey("memsc", "program", 0), 1, records, {})
        writer.flush()
        shutil.rmtree(folder)
        folder.mkdir()
        writer.calls(RoundKey("memsc", "program", 0), 1, records, {})
        writer.flush()
    assert not list(folder.iterdir())


BAD = {
    "no program": (["trace", "-o", "x.memsc"], 2, "no program is named"),
    "unknown program": (["trace", "-o", "x.memsc", "--", "no-such-program"], 1, "no such program"),
    "unknown probe": (["trace", "-o", "x.memsc", "--probes", "magic", "--", "ls"], 2, "one of"),
    "probes in each other's way": (
        ["trace", "-o", "x.memsc", "--probes", "stages,stage_counters", "--", "ls"],
        2,
        "record once with each",
    ),
    "unknown transport": (
        ["trace", "-o", "x.memsc", "--transport", "tcp", "--", "ls"],
        2,
        "one of",
    ),
    "unknown service": (["trace", "-o", "x.memsc", "--service", "none", "--", "ls"], 2, "one of"),
    "same CPU": (
        ["trace", "-o", "x.memsc", "--app-cpus", "0", "--service-cpus", "0", "--", "ls"],
        1,
        ";",
    ),
    "no such CPU": (["trace", "-o", "x.memsc", "--app-cpus", "4000", "--", "ls"], 1, "no CPU"),
    "one arm twice": (
        ["trace", "-o", "x.memsc", "--transport", "direct,memsc,direct", "--", "ls"],
        2,
        "named twice",
    ),
    "no rounds": (["trace", "-o", "x.memsc", "--rounds", "0", "--", "ls"], 2, "positive"),
    "too large a ring": (
        ["trace", "-o", "x.memsc", "--ring", "99999999999", "--", "ls"],
        2,
        "smaller",
    ),
    "no such folder": (["trace", "-o", "missing/x.memsc", "--", "ls"], 1, "another place"),
    "no idle time": (["trace", "-o", "x.memsc", "--idle", "soon", "--", "ls"], 2, "write it like"),
    "unknown suite": (["bench", "-o", "x.memsc", "music"], 2, "one of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_with_a_remedy(name: str, tmp_path: Path) -> None:
    args, status, words = BAD[name]
    done = memsc(*args, cwd=tmp_path)
    assert done.returncode in ({status, 2} if "CPU" in name else {status}), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("memsc: ")
    assert words in done.stderr
    assert not (tmp_path / "x.memsc").exists()


def test_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    folder = tmp_path / "t.memsc"
    trace(folder, ["true"])
    before = (folder / "session.json").read_bytes()
    again = memsc("trace", "-o", str(folder), "--probes", "none", "--", "true")
    assert again.returncode == 2
    assert "-f" in again.stderr
    assert (folder / "session.json").read_bytes() == before
    trace(folder, ["true"], "-f")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "thesis.tex").write_text("years of work")
    refused = memsc("trace", "-fo", str(notes), "--probes", "none", "--", "true")
    assert refused.returncode == 2
    assert (notes / "thesis.tex").exists()


def test_what_a_killed_session_leaves_waits_for_nobody(tmp_path: Path) -> None:
    work = f"{WORK} sync 300000 {tmp_path / 'timings'}"
    # The session's own child dies with it: what that has started must come to its end.
    script = f"{work} & echo $!; wait"
    options = ("--probes", "none", "--transport", "memsc", "--ring", "64")
    process = start("trace", "-o", str(tmp_path / "t.memsc"), *options, "--", "sh", "-c", script)
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: gone(grandchild), "the program to end")
    assert (tmp_path / "timings").stat().st_size == 8 * 300_000
    for left in folders.MEMORY.glob(f"memsc-*/session-{process.pid}-*"):
        shutil.rmtree(left)


@pytest.mark.parametrize("handoff", ["machine", "at-once", "intel", "amd"])
def test_how_lines_are_passed_is_said(handoff: str, tmp_path: Path) -> None:
    """By session and report, as it was; the processor's own choice is what its description says."""
    options = ("--transport", "ipi,memsc", "--handoff", handoff)
    found = trace(tmp_path / "out", ("cat", "/dev/null"), *options)
    chosen = found.session.environment.handoff if handoff == "machine" else handoff
    assert found.session.arms["memsc"].handoff == chosen
    assert found.session.arms["ipi"].handoff is None
    assert f"hand-off {chosen}" in memsc("report", str(tmp_path / "out")).stdout
