# SPDX-License-Identifier: MIT
"""What takes the application's CPUs away, as the kernel counts it: interrupts and switches."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from memsc.tracer.format import Noise

PROC = Path("/proc")
_NAMED = 8  # interrupts named one by one: the most frequent


@dataclass(frozen=True)
class Counts:
    """Totals since the machine's start, of all application CPUs together.

    Args:
        ns: when, CLOCK_MONOTONIC.
        interrupts: by name.
        softirqs: by name.
        switches: context switches; None where nobody counts them.
    """

    ns: int
    interrupts: Mapping[str, int]
    softirqs: Mapping[str, int]
    switches: int | None


@dataclass
class Meter:
    """Reads the counts of some CPUs.

    Args:
        cpus: which.
        switches: descriptors of counters of their context switches.
    """

    cpus: Collection[int]
    switches: list[int] = field(default_factory=list[int])

    def read(self) -> Counts:
        """The counts as they are now; two small files, a tenth of a millisecond."""
        return Counts(
            time.monotonic_ns(),
            table(PROC / "interrupts", self.cpus),
            table(PROC / "softirqs", self.cpus),
            self._switches(),
        )

    def _switches(self) -> int | None:
        if not self.switches:
            return None
        read = (int.from_bytes(os.read(fd, 8), "little") for fd in self.switches)
        return sum(read)

    def close(self) -> None:
        """Close the counters."""
        for descriptor in self.switches:
            os.close(descriptor)
        self.switches = []


def table(file: Path, cpus: Collection[int]) -> dict[str, int]:
    """The rows of /proc/interrupts or /proc/softirqs, summed over some CPUs.

    A numbered interrupt is called by its device, others as the kernel calls them.
    """
    try:
        header, *lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    columns = [int(word.removeprefix("CPU")) for word in header.split()]
    chosen = [column for column, cpu in enumerate(columns) if cpu in cpus]
    found: dict[str, int] = {}
    for line in lines:
        label, _, rest = line.partition(":")
        words = rest.split()
        values = words[: len(columns)]
        # A single total, of errors, is no CPU's.
        if len(values) < len(columns) or not all(value.isdigit() for value in values):
            continue
        name = label.strip()
        if name.isdigit():
            name = f"{name} {words[-1]}" if len(words) > len(columns) else name
        found[name] = sum(int(values[column]) for column in chosen)
    return found


def rates(spans: Collection[tuple[Counts, Counts]]) -> Noise | None:
    """What came per second within some spans of time; None if they are empty."""
    seconds = sum(end.ns - start.ns for start, end in spans) / 1e9
    if not seconds:
        return None
    interrupts = _sums((start.interrupts, end.interrupts) for start, end in spans)
    softirqs = _sums((start.softirqs, end.softirqs) for start, end in spans)
    switches = [
        end.switches - start.switches
        for start, end in spans
        if start.switches is not None and end.switches is not None
    ]
    named = sorted(interrupts, key=lambda name: -interrupts[name])[:_NAMED]
    known = len(switches) == len(spans)
    return Noise(
        seconds=seconds,
        interrupts=sum(interrupts.values()) / seconds,
        softirqs=sum(softirqs.values()) / seconds,
        switches=sum(switches) / seconds if known else None,
        switches_reason=None if known else "counting them needs root: record with --isolate",
        by_interrupt={name: interrupts[name] / seconds for name in named if interrupts[name]},
    )


def _sums(pairs: Iterable[tuple[Mapping[str, int], Mapping[str, int]]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start, end in pairs:
        for name, count in end.items():
            found[name] = found.get(name, 0) + count - start.get(name, 0)
    return found
