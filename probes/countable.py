# SPDX-License-Identifier: MIT
"""What perf can count: of a thread, by the probe `counters`, or of a CPU, by `stage_counters`.

Those of software are kept by the kernel on every machine. Those of hardware need a PMU, which most
virtual machines do not show; a PMU with fewer counters than are asked for takes turns with the
groups, and what is told is then scaled up and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["software", "hardware", "cache", "msr"]


@dataclass(frozen=True)
class Counter:
    """One event.

    Args:
        name: perf's.
        device: what counts it: the kernel; the PMU; its caches; the registers of the processor.
        config: which of the device's events, as linux/perf_event.h numbers them; of `msr` the name
            of a file in sysfs says it.
        unit: `ns`, `cycles` or `events`.
        meaning: one phrase.
        group: the event whose turn at the PMU it shares, so that both count the same time.
    """

    name: str
    device: Device
    config: int
    unit: str
    meaning: str
    group: str | None = None


def _cache(cache: int, operation: int = 0, result: int = 1) -> int:
    return cache | operation << 8 | result << 16


COUNTERS = (
    Counter("task-clock", "software", 1, "ns", "time on a CPU"),
    Counter("context-switches", "software", 3, "events", "times it left the CPU"),
    Counter("cpu-migrations", "software", 4, "events", "times it came to another CPU"),
    Counter("minor-faults", "software", 5, "events", "page faults served from memory"),
    Counter("major-faults", "software", 6, "events", "page faults that waited for a disk"),
    Counter("tsc", "msr", 0, "cycles", "ticks of the clock that stamps are taken from"),
    Counter("cycles", "hardware", 0, "cycles", "cycles of the processor"),
    Counter("instructions", "hardware", 1, "events", "instructions retired", "cycles"),
    Counter("branches", "hardware", 4, "events", "branches retired"),
    Counter("branch-misses", "hardware", 5, "events", "of them predicted wrongly", "branches"),
    Counter("cache-misses", "hardware", 3, "events", "misses of the last level of cache"),
    Counter("L1-dcache-load-misses", "cache", _cache(0), "events", "loads the first level missed"),
    Counter("dTLB-load-misses", "cache", _cache(3), "events", "loads whose address was not known"),
)

REFERENCE = "task-clock"
"""Counts all the time that its thread runs on a CPU that is counted on: what others lack of that
time, they did not have their turn."""
