# SPDX-License-Identifier: MIT
"""CPU quotas, pressure and clocks: read from either version of control groups, and told apart."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from memsc.tracer.doctor.features import clock, cpu_quota
from memsc.tracer.format import Environment, Surroundings
from memsc.tracer.session.surroundings import Reading, between, quota, read

V1 = {
    "proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n",
    "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/a/b\n0::/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/a/cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 5000000\n",
    "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/a/b/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
}
V2 = {
    "proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 9\n",
    "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/a/cpu.stat": "usage_usec 9\nnr_throttled 3\nthrottled_usec 5000\n",
    "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
    "sys/fs/cgroup/a/b/cpu.stat": "usage_usec 9\n",
}
CONTAINER = {
    "proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/cpu.stat": "nr_throttled 3\nthrottled_usec 5000\n",
}


def tree(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("files", [V1, V2, CONTAINER])
def test_a_quota_is_that_of_the_narrowest_group(files: dict[str, str], tmp_path: Path) -> None:
    root = tree(files, tmp_path)
    assert quota(root=root) == 0.5
    assert read(root=root).throttled == (5_000_000, 3)


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    root = tree(V2 | {"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, tmp_path)
    assert quota(root=root) is None


def test_doctor_names_a_quota_with_its_remedy() -> None:
    found = cpu_quota(Environment(cpu_quota=0.5))
    assert (found.name, found.state) == ("CPU quota", "missing")
    assert found.detail.startswith("0.5 CPUs: ")
    assert "cpu.max" in found.remedy
    free = cpu_quota(Environment(cpu_quota_reason="no control group of memsc's has a limit"))
    assert (free.state, free.detail) == ("ok", "no control group of memsc's has a limit")


def test_doctor_names_this_processors_clock() -> None:
    counter = {"x86_64": "tsc", "aarch64": "arch_sys_counter"}[platform.machine()]
    assert clock(Environment(invariant_counter=True, clocksource=counter)).state == "ok"
    other = clock(Environment(invariant_counter=True, clocksource="hpet"))
    assert (other.state, other.remedy) == ("missing", f"boot with clocksource={counter}")
    unknown = clock(Environment(invariant_counter=True, clocksource_reason="no such file"))
    assert (unknown.state, unknown.detail) == ("unknown", "no such file")


def test_what_the_kernel_does_not_keep_is_not_known(tmp_path: Path) -> None:
    found = read(root=tmp_path)
    assert found.throttled is None
    assert found.pressure_us is None
    around = between(found, found)
    assert around.throttled_ns is None
    assert around.cpu_pressure is None


def test_pressure_is_a_share_of_the_time(tmp_path: Path) -> None:
    text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=700\nfull avg10=0.00 total=5\n"
    assert read(root=tree({"proc/pressure/cpu": text}, tmp_path)).pressure_us == 700


BEFORE = Reading((1000, 1), 100, 10**9, 2 * 10**9, 5 * 10**9)
SECOND = 10**9


def later(**changes: object) -> Surroundings:
    """A second later."""
    after = replace(
        BEFORE,
        monotonic_ns=BEFORE.monotonic_ns + SECOND,
        boottime_ns=BEFORE.boottime_ns + SECOND,
        realtime_ns=BEFORE.realtime_ns + SECOND,
    )
    return between(BEFORE, replace(after, **changes))  # type: ignore[arg-type]


def test_a_second_without_anything() -> None:
    assert later() == Surroundings(0, 0, 0.0)


def test_what_was_used_up_is_the_difference() -> None:
    found = later(throttled=(64_001_000, 13), pressure_us=250_100)
    assert (found.throttled_ns, found.throttled_periods) == (64_000_000, 12)
    assert found.cpu_pressure == 0.25


def test_a_suspended_machine_is_no_stepped_clock() -> None:
    found = later(
        boottime_ns=BEFORE.boottime_ns + 8 * SECOND, realtime_ns=BEFORE.realtime_ns + 8 * SECOND
    )
    assert (found.suspended_ns, found.stepped_ns) == (7 * SECOND, 0)


@pytest.mark.parametrize("by", [-86400 * SECOND, SECOND])
def test_a_stepped_clock_is_told_with_its_sign(by: int) -> None:
    found = later(realtime_ns=BEFORE.realtime_ns + SECOND + by)
    assert (found.suspended_ns, found.stepped_ns) == (0, by)
