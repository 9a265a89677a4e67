# SPDX-License-Identifier: MIT
"""Isolation of the application's CPUs: what it does, and that nothing of it is ever left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers import enclosure
from tests.helpers.command import MEMSC
from tests.helpers.required import two_cpus
from tests.helpers.workload import gone, wait_until

from memsc.runtime.errors import MemscError
from memsc.runtime.topology import parse_cpus
from memsc.tracer.helper.isolation import cpusets, irqs, isolate
from memsc.tracer.helper.isolation.journal import Journal, same
from memsc.tracer.helper.kernel import tasks

ENCLOSED = (sys.executable, enclosure.__file__)
IRQS = sorted(irqs.IRQ.glob("[0-9]*/smp_affinity_list"))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def machine() -> dict[str, str]:
    """All that an isolation may change and others can see."""
    files = [*IRQS, irqs.IRQ / "default_smp_affinity"]
    files += Path("/sys/devices/virtual/workqueue").glob("cpumask")
    return {str(file): file.read_text() for file in files}


# ---- the journal ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def dead(folder: Path) -> list[Journal]:
    return list(Journal.left(folder))


@as_root
def test_a_journal_undoes_backwards_what_is_still_as_it_was_set(
    folder: Path, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for file in (ours, theirs):
        file.write_text("1\n")
    journal = Journal(folder)
    journal.write(ours, "2")
    journal.write(ours, "3")
    journal.write(theirs, "2")
    theirs.write_text("7\n")  # somebody else's wish, since
    assert not journal.undo()
    assert (ours.read_text(), theirs.read_text()) == ("1\n", "7\n")
    assert not journal.path.exists()


@as_root
def test_the_journal_of_the_living_is_left_alone_and_keeps_others_out(folder: Path) -> None:
    journal = Journal(folder)
    assert not dead(folder)
    with pytest.raises(MemscError, match=f"process {os.getpid()}"):
        Journal(folder)
    journal.close()
    (left,) = dead(folder)
    assert left.path == journal.path


@as_root
def test_a_journal_cut_short_is_undone_as_far_as_it_goes(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1\n")
    journal = Journal(folder)
    journal.write(file, "2")
    with journal.path.open("a") as text:
        text.write('{"do": "write", "path": "/')
    journal.close()
    (left,) = dead(folder)
    assert not left.undo()
    assert file.read_text() == "1\n"


@as_root
def test_a_step_that_cannot_be_undone_stays(folder: Path, tmp_path: Path) -> None:
    group = tmp_path / "group"
    journal = Journal(folder)
    journal.group(group, tmp_path / "home")
    (group / "cgroup.procs").write_text("")
    (problem,) = journal.undo()
    assert str(group) in problem
    journal.close()
    (left,) = dead(folder)
    assert [step["do"] for step in left.steps] == ["group"]
    (group / "cgroup.procs").unlink()
    assert not left.undo()
    assert not group.exists()


@as_root
def test_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(MemscError, match="not root's alone"):
        Journal(folder)
    (folder / "isolation-1-1.journal").write_text('{"do": "write"}')
    assert not dead(folder)


def test_texts_of_kernel_files_are_compared_by_what_they_mean() -> None:
    assert same("00000000,00000003\n", "3")
    assert same("0-1\n", "0-1")
    assert not same("0-1", "0-2")
    assert not same("", "0")
    assert irqs.to_mask(frozenset({0, 33})) == "00000002,00000001"
    assert irqs.from_mask("2,00000001\n") == {0, 33}


# ---- affinities ----


@as_root
@two_cpus
def test_affinities_come_back_also_to_those_born_since(folder: Path) -> None:
    cpus = frozenset(os.sched_getaffinity(0))
    last = frozenset({max(cpus)})
    with subprocess.Popen(["sh", "-c", "read x; sleep 100 & wait"], stdin=subprocess.PIPE) as shell:
        pinned = subprocess.Popen(["taskset", "-c", str(min(cpus)), "sleep", "100"])
        journal = Journal(folder)
        assert journal.affinity(last, [(shell.pid, tasks.affinity(shell.pid))]) == 1
        assert tasks.affinity(shell.pid) == cpus - last
        assert shell.stdin is not None
        shell.stdin.write(b"\n")
        shell.stdin.close()
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        wait_until(lambda: bool(children.read_text().strip()), "the child")
        (child,) = map(int, children.read_text().split())
        wait_until(lambda: tasks.affinity(child) == cpus - last, "its affinity")
        assert not journal.undo()
        assert tasks.affinity(shell.pid) == cpus
        assert tasks.affinity(child) == cpus
        for process in (child, shell.pid, pinned.pid):
            os.kill(process, signal.SIGKILL)
        pinned.wait()


# ---- the real thing, in an enclosure of its own ----


@pytest.fixture
def enclosed() -> Iterator[None]:
    if reason := enclosure.lacking():
        pytest.skip(reason)
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    before = machine()
    yield
    assert machine() == before


def run(script: str, folder: Path) -> str:
    """A script in an enclosure; what it prints. `$MEMSC` is memsc, the folder its own."""
    memsc = " ".join(MEMSC)
    done = subprocess.run(
        [*ENCLOSED, "bash", "-c", script],
        cwd=folder,
        env={**os.environ, "MEMSC": memsc},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LEFT = """ls /run/memsc; ls -d /sys/fs/cgroup/cpuset/memsc* 2>/dev/null
cat /sys/fs/cgroup/cpuset/cpuset.sched_load_balance"""
INSIDE = "cat /proc/self/cpuset; sed -n s/Cpus_allowed_list:.//p /proc/self/status"


def test_a_traced_program_has_its_cpu_for_itself(enclosed: None, tmp_path: Path) -> None:
    trace = f"$MEMSC trace -o t.memsc --probes none --isolate -- sh -c '{INSIDE}'"
    cpu = max(os.sched_getaffinity(0))
    coming = [irq for irq in IRQS if cpu in parse_cpus(irq.read_text())]
    said = run(f"{trace} && {LEFT}", tmp_path).split()
    assert said[0].endswith("/inside")
    assert said[1:] == [str(cpu), "1"]  # back to balancing, and neither journal nor group
    session = json.loads((tmp_path / "t.memsc/session.json").read_text())
    found = session["isolation"]
    assert found["how"] == cpusets.CPUSET
    assert found["interrupts_moved"] + found["interrupts_kept"] >= len(coming)
    assert not found["failed"]
    for span in ("before", "isolated", "during"):
        assert found[span]["seconds"] > 0
        assert bool(found[span]["by_interrupt"]) == (found[span]["interrupts"] > 0)
        assert found[span]["switches"] is not None


def test_a_program_that_is_run_has_it_too_and_ends_as_it_ends(
    enclosed: None, tmp_path: Path
) -> None:
    script = f"$MEMSC run -q --isolate -- sh -c '{INSIDE}; exit 7'; echo $?; {LEFT}"
    said = run(script, tmp_path).split()
    assert said[0].endswith("/inside")
    assert said[1:] == [str(max(os.sched_getaffinity(0))), "7", "1"]


SUITE = """
from pathlib import Path
from memsc.runtime.launch import Launch
from memsc.tracer.session.arms import ALL, place
from memsc.tracer.session.session import TraceSession
from memsc.tracer.session.work import Work
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
arms, _ = place(ALL[:1], Launch())
with TraceWriter(prepare_output("b.memsc")) as writer:
    with TraceSession(writer, ["x"], arms, calibrate=False) as session:
        print(session.quiet.refused(), flush=True)
        for number, isolated in enumerate((True, False, True)):
            work = Work("x", ("cat", "/proc/self/cpuset"), isolated=isolated)
            print(session.round("direct", work, number).isolated, flush=True)
"""


def test_a_session_may_isolate_some_of_its_rounds(enclosed: None, tmp_path: Path) -> None:
    (tmp_path / "suite.py").write_text(SUITE)
    said = run(f"{sys.executable} suite.py && {LEFT}", tmp_path).split("\n")
    assert said[0] == "None"
    assert [line for line in said if line in (cpusets.CPUSET, "None")] == [
        "None", cpusets.CPUSET, "None", cpusets.CPUSET,
    ]  # fmt: skip
    assert [line.endswith("/inside") for line in said if line.startswith("/")] == [
        True, False, True,
    ]  # fmt: skip
    assert said[-2:] == ["1", ""]  # back to balancing, and neither journal nor group


def test_ctrl_c_gives_the_cpu_back(enclosed: None, tmp_path: Path) -> None:
    script = f"""
set -m
$MEMSC trace -o t.memsc --probes none --isolate -- sh -c 'echo > up; exec sleep 100' &
until test -e up; do sleep 0.05; done
kill -INT $!; wait $!; echo $?
{LEFT}"""
    assert run(script, tmp_path).split() == ["130", "1"]


def test_a_killed_session_gives_the_cpu_back(enclosed: None, tmp_path: Path) -> None:
    script = f"""
$MEMSC trace -o t.memsc --probes none --isolate -- sh -c 'echo > up; exec sleep 100' &
until test -e up; do sleep 0.05; done
kill -9 $!
for i in $(seq 200); do test -n "$(ls /run/memsc)" || break; sleep 0.05; done
{LEFT}"""
    assert run(script, tmp_path).split() == ["1"]


def killing_the_helper(then: str) -> str:
    return f"""
$MEMSC trace -o t.memsc --probes none --isolate -- sh -c 'echo > up; read x < fifo' &
until test -e up; do sleep 0.05; done
helper=$(ls /run/memsc | sed 's/isolation-\\([0-9]*\\)-.*/\\1/')
kill -9 $helper
lives() {{ grep -q '^State:[[:space:]]*[^ZX[:space:]]' /proc/$helper/status 2>/dev/null; }}
while lives; do sleep 0.01; done
{then}"""


def test_a_killed_helper_is_made_up_for_by_its_session(enclosed: None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = killing_the_helper(f"echo > fifo; wait $!; echo $?; {LEFT}")
    assert run(script, tmp_path).split() == ["0", "1"]


@pytest.mark.parametrize("command", ["clean", "report t.memsc", "run -q -- true"])
def test_a_killed_helper_is_made_up_for_by_the_next_command(
    command: str, enclosed: None, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"echo left $(ls /run/memsc | wc -l); kill -9 $!; $MEMSC {command} > said; {LEFT}"
    assert run(killing_the_helper(script), tmp_path).split() == ["left", "1", "1"]
    if command == "clean":
        assert "removed isolation /run/memsc/isolation-" in (tmp_path / "said").read_text()


def test_a_second_isolation_waits_for_the_first_to_end(enclosed: None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"""
$MEMSC run -q --isolate -- sh -c 'echo > up; read x < fifo' &
until test -e up; do sleep 0.05; done
$MEMSC run -q --isolate --transport ipi --app-cpus 0 -- true 2>&1; echo $?
echo > fifo; wait $!; {LEFT}"""
    said = run(script, tmp_path)
    assert "another session does so already" in said
    assert said.split()[-2:] == ["1", "1"]


@as_root
def test_no_cpu_left_for_others_is_refused() -> None:
    online = frozenset(range(os.cpu_count() or 1))
    with pytest.raises(MemscError, match="nothing would be left"):
        isolate.Isolation(online, frozenset(), 0, os.getpid())


def test_a_process_of_another_user_is_refused() -> None:
    with pytest.raises(MemscError, match="does not belong to user 54321"):
        tasks.require_own(os.getpid(), 54321, "x")
    assert not gone(os.getpid())
