# SPDX-License-Identifier: MIT
"""What holds programs up from outside is said: a CPU quota, a program on the service's CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus

from memsc.tracer.format import open_trace

pytestmark = [
    two_cpus,
    layered,
]
HOW = ("-o", "t.memsc", "--probes", "none", "--no-calibrate", "--ring", "1024")
SERVICE_CPU = "thread ran on the CPU of its service"


def report(folder: Path) -> str:
    command = [*MEMSC, "report", "t.memsc"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr  # 4: too many calls were made directly
    return " ".join(done.stdout.split())


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this test's with a third of a CPU, of whichever version there is.

    It goes before others: on a busy machine it would get less than its quota, and be held up by
    them.
    """
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    made = (v1 if (v1 / "cpu.cfs_quota_us").exists() or (v1 / "tasks").exists() else v2) / (
        f"memsc-test-{os.getpid()}"
    )
    try:
        made.mkdir()
        if (made / "cpu.max").exists():
            (made / "cpu.max").write_text("10000 30000")
            (made / "cpu.weight").write_text("10000")
        else:
            (made / "cpu.cfs_period_us").write_text("30000")
            (made / "cpu.cfs_quota_us").write_text("10000")
            (made / "cpu.shares").write_text("262144")
    except OSError as error:
        with suppress(OSError):
            made.rmdir()
        pytest.skip(f"no control group with a quota can be made: {error.strerror}")
    yield made
    made.rmdir()


def test_a_quota_that_is_used_up_is_said(group: Path, tmp_path: Path) -> None:
    spin = f"""
        count() {{ while read -r key value; do
            case $key in nr_throttled) now=$value;; esac; done < {group}/cpu.stat; }}
        count; begun=$now
        while count; [ $((now - begun)) -lt 5 ]; do
            i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; done"""
    procs = group / "cgroup.procs"
    script = f'echo $$ > {procs}; exec "$@"'
    command = ["sh", "-c", script, "sh", *MEMSC, "trace", *HOW, "--", "sh", "-c", spin]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    session = open_trace(tmp_path / "t.memsc").session
    (one,) = session.rounds
    assert session.environment.cpu_quota == pytest.approx(1 / 3)
    assert one.surroundings is not None
    assert one.surroundings.throttled_ns
    assert one.surroundings.throttled_periods
    assert "held up by the CPU quota of 0.333333 CPUs" in report(tmp_path)


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        ("memsc", f"unrecorded: {SERVICE_CPU}"),
        ("ipi", "calls were made on the service's own CPU"),
    ],
)
def test_a_program_that_goes_to_the_services_cpu_is_said(
    transport: str, said: str, tmp_path: Path
) -> None:
    """There memsc's callers call directly; those that interrupt the service go on doing so."""
    script = "taskset -pc {} $$ >/dev/null; for i in 1 2 3 4 5 6 7 8 9; do echo $i; done"
    service = min(os.sched_getaffinity(0))
    app = max(os.sched_getaffinity(0))
    how = ("--transport", transport, "--app-cpus", str(app), "--service-cpus", str(service))
    command = [*MEMSC, "trace", *HOW, *how, "--", "sh", "-c", script.format(service)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (one,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert one.coverage is not None
    assert one.coverage.beside + one.coverage.missed.get(SERVICE_CPU, 0) >= 9
    assert said in report(tmp_path)
