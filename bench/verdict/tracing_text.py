# SPDX-License-Identifier: MIT
"""What seeing every call costs, for a terminal: a line for each tracer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.report.summary import Json
from memsc.analysis.report.terminal import heading, table

_MEASURES = ("seen", "lost", "cpu_ns_per_call", "bytes_per_call")


def tracing(summary: Json) -> Iterator[RenderableType]:
    """Each tracer beside memsc's own recording."""
    rows = summary["tracing"]
    if not rows:
        return
    yield heading("What seeing every call costs", "added to a synchronous call of arm memsc")
    grid = table("", "p50 ns", "p50", "p99", "seen", "lost", "CPU ns", "bytes")
    for row in rows:
        grow = (f"{100 * row[f'slowdown_{p}']:+,.0f} %" for p in ("p50", "p99"))
        rest = (number(row[name]) for name in _MEASURES)
        grid.add_row(row["tracer"], f"{row['added_p50_ns']:+,.0f}", *grow, *rest)
    yield grid
    yield Text(
        "  seen: events in all rounds; CPU of the tracer and bytes it wrote: per call", "dim"
    )
