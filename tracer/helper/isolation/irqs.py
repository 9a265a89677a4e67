# SPDX-License-Identifier: MIT
"""Sends device interrupts, and the kernel's own unbound work, to other CPUs. Privileged side."""

from __future__ import annotations

from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.runtime.topology import format_cpus, parse_cpus
from memsc.tracer.helper.isolation.journal import Journal

IRQ = Path("/proc/irq")
# Masks, not lists: for interrupts yet to come, and for the kernel's work queues.
_MASKS = (IRQ / "default_smp_affinity", Path("/sys/devices/virtual/workqueue/cpumask"))


def move_away(journal: Journal, app: frozenset[int], online: frozenset[int]) -> tuple[int, int]:
    """Move every interrupt that may arrive on the application's CPUs.

    Returns:
        How many were moved, and how many the kernel keeps where they are.
    """
    moved = kept = 0
    for file in sorted(IRQ.glob("[0-9]*/smp_affinity_list")):
        try:
            now = frozenset(parse_cpus(file.read_text()))
            if not now & app:
                continue
            journal.write(file, format_cpus((now - app) or (online - app)))
            moved += 1
        except (OSError, MemscError):  # one CPU's own, or managed by its driver
            kept += 1
    for file in _MASKS:
        try:
            now = from_mask(file.read_text())
            if now & app:
                journal.write(file, to_mask((now - app) or (online - app)))
        except (OSError, ValueError):
            continue  # this kernel has no such file
    return moved, kept


def from_mask(text: str) -> frozenset[int]:
    """The CPUs of a mask as the kernel writes it."""
    value = int(text.strip().replace(",", ""), 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def to_mask(cpus: frozenset[int]) -> str:
    """A mask as the kernel reads it."""
    value = sum(1 << cpu for cpu in cpus)
    words = [f"{value >> shift & 0xFFFFFFFF:08x}" for shift in range(0, value.bit_length(), 32)]
    return ",".join(reversed(words))
