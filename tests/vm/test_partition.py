# SPDX-License-Identifier: MIT
"""--isolate where it may do its best: three CPUs, cgroup v2, and nothing isolated at boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.workload import wait_until

from memsc.tracer.helper.isolation import cpusets, irqs
from memsc.tracer.helper.kernel import tasks

pytestmark = [
    pytest.mark.skipif((os.cpu_count() or 1) < 3, reason="needs three CPUs"),
]

CGROUP, JOURNALS = Path("/sys/fs/cgroup"), Path("/run/memsc")
APP, SERVICE, REST = 2, 0, 1  # as memsc chooses them here
INSIDE = "cat /proc/self/cgroup; sed -n s/Cpus_allowed_list:.//p /proc/self/status"
SLEEP = "echo > up; exec sleep 1000"


def groups() -> list[Path]:
    return list(CGROUP.glob("memsc*"))


def journals() -> list[Path]:
    return list(JOURNALS.glob("*.journal"))


def machine() -> dict[str, str]:
    """All that an isolation may change and others can see."""
    files = [*irqs.IRQ.glob("[0-9]*/smp_affinity_list")]
    files += [irqs.IRQ / "default_smp_affinity"]
    files += [Path("/sys/devices/virtual/workqueue/cpumask")]
    files += [CGROUP / name for name in ("cgroup.subtree_control", "cpuset.cpus.effective")]
    return {str(file): file.read_text() for file in files}


@pytest.fixture
def others() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that come and go on every CPU they may have; the last wants the application's."""
    tick = ("/usr/bin/python3", "-ISc", "import time\nwhile True: time.sleep(0.01)")
    started = [subprocess.Popen(tick), subprocess.Popen(("taskset", "-c", str(APP), *tick))]
    wait_until(lambda: set(tasks.affinity(started[1].pid)) == {APP}, "taskset")
    yield started
    for one in started:
        one.kill()
        one.wait()


@pytest.fixture(autouse=True)
def restored(others: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """After each test the machine is as before, down to the affinity of each thread."""
    before = machine()
    where = [tasks.affinity(one.pid) for one in others]
    yield
    assert machine() == before
    assert [tasks.affinity(one.pid) for one in others] == where
    assert not groups()
    assert not journals()


def movable() -> list[Path]:
    """Interrupts that the kernel lets anybody move: not those of a CPU's own, nor a cascade."""
    found: list[Path] = []
    for file in irqs.IRQ.glob("[0-9]*/smp_affinity_list"):
        with suppress(OSError):
            file.write_text(file.read_text())
            found.append(file)
    return found


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A trace of a program that waits, under way."""
    command = [*MEMSC, "trace", "-o", "t.memsc", "--probes", "none", "--isolate", *options]
    trace = subprocess.Popen([*command, "--", "sh", "-c", SLEEP], cwd=folder)
    wait_until((folder / "up").exists, "the program")
    return trace


def helper() -> int:
    """The process that holds the isolation."""
    (journal,) = journals()
    return int(journal.name.split("-")[1])


def test_the_kernel_itself_keeps_others_off(
    tmp_path: Path, others: list[subprocess.Popen[bytes]]
) -> None:
    moved = movable()
    assert moved
    trace = start(tmp_path)
    (group,) = groups()
    assert (group / "cpuset.cpus.partition").read_text().strip() == "isolated"
    assert (group / "cpuset.cpus").read_text().strip() == f"{SERVICE},{APP}"
    assert (CGROUP / "cpuset.cpus.effective").read_text().strip() == str(REST)

    late = subprocess.Popen(("sleep", "1000"))
    for one in (*others, late):
        assert tasks.affinity(one.pid) == {REST}
        with pytest.raises(OSError, match="Invalid argument"):
            os.sched_setaffinity(one.pid, {APP})
    late.kill()
    late.wait()
    for file in moved:
        assert file.read_text() == f"{SERVICE}-{REST}\n", file

    trace.send_signal(signal.SIGINT)
    assert trace.wait() == 130


def test_its_noise_is_measured_before_and_during(tmp_path: Path) -> None:
    command = [*MEMSC, "trace", "-o", "t.memsc", "--probes", "none", "--isolate"]
    done = subprocess.run(
        [*command, "--", "sh", "-c", INSIDE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    group, allowed = done.stdout.split()
    assert group.startswith("0::/memsc-")
    assert allowed == str(APP)
    found = json.loads((tmp_path / "t.memsc/session.json").read_text())["isolation"]
    assert found["how"] == cpusets.PARTITION
    assert found["interrupts_moved"] > 0
    assert not found["notes"]
    assert not found["failed"]
    for span in ("before", "isolated", "during"):
        assert found[span]["seconds"] > 0
        assert bool(found[span]["by_interrupt"]) == (found[span]["interrupts"] > 0)
        assert found[span]["switches"] is not None
    # Others that wanted that CPU have lost it.
    assert found["isolated"]["switches"] < found["before"]["switches"]


def test_a_program_that_is_run_has_it_too_and_ends_as_it_ends(tmp_path: Path) -> None:
    command = [*MEMSC, "run", "-q", "--isolate", "--", "sh", "-c", f"{INSIDE}; exit 7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[1]) == (7, str(APP))


def test_a_killed_session_gives_the_cpu_back(tmp_path: Path) -> None:
    trace = start(tmp_path)
    trace.kill()
    trace.wait()
    wait_until(lambda: not journals(), "the helper to give all back")


@pytest.mark.parametrize("command", ["clean", "doctor", "run -q -- true"])
def test_a_killed_helper_is_made_up_for_by_the_next_command(tmp_path: Path, command: str) -> None:
    trace = start(tmp_path)
    os.kill(helper(), signal.SIGKILL)
    trace.kill()
    trace.wait()
    assert groups()
    assert journals()
    done = subprocess.run(
        [*MEMSC, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert command != "clean" or "removed isolation /run/memsc/isolation-" in done.stdout


def test_without_a_cpu_for_others_their_groups_are_narrowed(tmp_path: Path) -> None:
    """The service is on what is left: no partition, but the program has its CPUs all the same."""
    neighbour = CGROUP / "neighbour"
    neighbour.mkdir()
    (CGROUP / "cgroup.subtree_control").write_text("+cpuset")
    sleeper = subprocess.Popen(("sleep", "1000"))
    (neighbour / "cgroup.procs").write_text(f"{sleeper.pid}\n")
    try:
        trace = start(tmp_path, "--app-cpus", f"{REST},{APP}", "--service-cpus", str(SERVICE))
        assert tasks.affinity(sleeper.pid) == {SERVICE}
        trace.send_signal(signal.SIGINT)
        assert trace.wait() == 130
        assert tasks.affinity(sleeper.pid) == {SERVICE, REST, APP}
        found = json.loads((tmp_path / "t.memsc/session.json").read_text())["isolation"]
        assert found["how"] == cpusets.NARROWED
    finally:
        sleeper.kill()
        sleeper.wait()
        neighbour.rmdir()
        (CGROUP / "cgroup.subtree_control").write_text("-cpuset")
