# SPDX-License-Identifier: MIT
"""Stacks of threads, on the CPU and off it, as files: collapsed, or drawn as flame graphs."""

from __future__ import annotations

from pathlib import Path

from memsc.analysis.report.flames import UNITS, stacks_of_threads, threads_svg
from memsc.analysis.trace import Trace


def write_stacks(trace: Trace, probe: str, path: Path) -> str:
    """FlameGraph's collapsed stacks: `arm;side;stage;frame;… weight`."""
    stacks = stacks_of_threads(trace, probe)
    path.write_text(
        "".join(f"{';'.join(stack)} {weight}\n" for stack, weight in stacks.items()),
        encoding="utf-8",
    )
    return f"{len(stacks)} stacks, {UNITS[probe]}"


def draw_stacks(trace: Trace, probe: str, path: Path) -> str:
    """A flame graph of them."""
    stacks = stacks_of_threads(trace, probe)
    path.write_text(threads_svg(trace, probe, stacks), encoding="utf-8")
    return f"{len(stacks)} stacks, {UNITS[probe]}"
