# SPDX-License-Identifier: MIT
"""What seeing every call costs, for a terminal: a line for each tracer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.report.terminal import heading, table
from memsc.bench.verdict.model import BenchReport


def tracing(report: BenchReport) -> Iterator[RenderableType]:
    """Each tracer beside memsc's own recording."""
    rows = report.tracing
    if not rows:
        return
    yield heading("What seeing every call costs", "added to a synchronous call of arm memsc")
    grid = table("", "p50 ns", "p50", "p99", "seen", "lost", "CPU ns", "bytes")
    for row in rows:
        grow = (f"{100 * slowdown:+,.0f} %" for slowdown in (row.slowdown_p50, row.slowdown_p99))
        rest = (row.seen, row.lost, row.cpu_ns_per_call, row.bytes_per_call)
        grid.add_row(row.tracer, f"{row.added_p50_ns:+,.0f}", *grow, *map(number, rest))
    yield grid
    yield Text(
        "  seen: events in all rounds; CPU of the tracer and bytes it wrote: per call", "dim"
    )
