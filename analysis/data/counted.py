# SPDX-License-Identifier: MIT
"""The names of what is counted: events, in the order they are shown, and sides."""

from __future__ import annotations

EVERY = "all"
"""Both sides together."""
SHORT = {
    "task-clock": "CPU ns",
    "context-switches": "switches",
    "cpu-migrations": "moves",
    "minor-faults": "faults",
    "major-faults": "from disk",
    "tsc": "tsc",
    "cycles": "cycles",
    "instructions": "instr.",
    "branches": "branches",
    "branch-misses": "br. miss",
    "cache-misses": "LLC miss",
    "L1-dcache-load-misses": "L1d miss",
    "dTLB-load-misses": "dTLB miss",
}
"""Heads of columns."""
