# SPDX-License-Identifier: MIT
"""What held programs up from outside in a round: CPU quotas, pressure, a suspended machine.

Nothing of it is an event on a CPU: the kernel only keeps sums, which are read before and after.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from memsc.tracer.format import Surroundings

HIDDEN = "no control group of memsc's is to be seen"
_SUSPENDED_NS = 1_000_000  # less is reading two clocks, one after the other
_STEPPED_NS = 10_000_000  # NTP's slewing takes 20 s for that


@dataclass(frozen=True)
class Reading:
    """Sums at one time; None where the kernel does not keep them.

    Args:
        throttled: nanoseconds and periods that quotas held the group up for.
        pressure_us: for so long some task had to wait for a CPU.
        monotonic_ns: the clock that stops with the machine,
        boottime_ns: the one that does not,
        realtime_ns: and the one that may be set.
    """

    throttled: tuple[int, int] | None
    pressure_us: int | None
    monotonic_ns: int
    boottime_ns: int
    realtime_ns: int


def read(pid: int | str = "self", root: Path = Path("/")) -> Reading:
    """Read the sums.

    Args:
        pid: whose control groups.
        root: where `proc` and `sys` are, for tests.
    """
    return Reading(
        _throttled(pid, root),
        _pressure(root),
        time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        time.clock_gettime_ns(time.CLOCK_REALTIME),
    )


def between(before: Reading, after: Reading) -> Surroundings:
    """What there was between two readings."""
    went = after.monotonic_ns - before.monotonic_ns
    suspended = after.boottime_ns - before.boottime_ns - went
    stepped = after.realtime_ns - before.realtime_ns - went - suspended
    throttled = periods = pressure = None
    if before.throttled is not None and after.throttled is not None:
        throttled, periods = (
            max(b - a, 0) for a, b in zip(before.throttled, after.throttled, strict=True)
        )
    if before.pressure_us is not None and after.pressure_us is not None and went > 0:
        pressure = min((after.pressure_us - before.pressure_us) * 1000 / went, 1.0)
    return Surroundings(
        throttled_ns=throttled,
        throttled_periods=periods,
        cpu_pressure=pressure,
        suspended_ns=suspended if suspended > _SUSPENDED_NS else 0,
        stepped_ns=stepped if abs(stepped) > _STEPPED_NS else 0,
    )


def quota(pid: int | str = "self", root: Path = Path("/")) -> float | None:
    """How many CPUs' time a process's groups may use at most; None for no limit."""
    found: list[float] = []
    for folder in _groups(pid, root):
        with suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                most, period = (folder / "cpu.max").read_text().split()
            else:
                most = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text()
            if most not in ("max", "-1"):
                found.append(int(most) / int(period))
    return min(found, default=None)


def no_quota(pid: int | str = "self", root: Path = Path("/")) -> str:
    """Why there is no `quota`."""
    if any(folder.is_dir() for folder in _groups(pid, root)):
        return "no control group of memsc's has a limit"
    return HIDDEN


def _throttled(pid: int | str, root: Path) -> tuple[int, int] | None:
    ns = periods = 0
    known = False
    for folder in _groups(pid, root):
        with suppress(OSError, ValueError):
            lines = (folder / "cpu.stat").read_text().splitlines()
            values = {name: int(value) for name, value in (line.split() for line in lines)}
            if "nr_throttled" in values:
                known = True
                periods += values["nr_throttled"]
                ns += values.get("throttled_time", 1000 * values.get("throttled_usec", 0))
    return (ns, periods) if known else None


def _groups(pid: int | str, root: Path) -> Iterator[Path]:
    """The folders of the groups of a process that may bound its time, the innermost first."""
    with suppress(OSError):
        for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            for mount in _mounts("cpu" if controllers else None, root):
                top = root / mount.lstrip("/")
                folder = top / path.lstrip("/")
                while folder != top and folder.is_relative_to(top):
                    yield folder
                    folder = folder.parent
                yield top
                break


def _mounts(controller: str | None, root: Path) -> Iterator[str]:
    """Where a controller of version 1 is mounted, or all of version 2."""
    for line in (root / "proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if (controller is None and kind == "cgroup2") or (
            controller is not None and kind == "cgroup" and controller in options.split(",")
        ):
            yield folder


def _pressure(root: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/pressure/cpu").read_text().splitlines():
            if line.startswith("some "):
                return int(line.rpartition("total=")[2])
    return None
