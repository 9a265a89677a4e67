# SPDX-License-Identifier: MIT
"""Throughput for a terminal: arms side by side, a line for each number of callers or load."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.report.terminal import heading, table
from memsc.bench.verdict.model import BenchReport, ThroughputRow


def throughput(report: BenchReport) -> Iterator[RenderableType]:
    """What many callers get through, and how late calls are under a given load."""
    rows = report.throughput
    closed = [row for row in rows if row.loop == "closed"]
    opened = [row for row in rows if row.loop == "open"]
    if closed:
        yield heading("What gets through", "calls per second of all callers together")
        arms = [arm for arm in report.arms if any(row.arm == arm for row in closed)]
        grid = table("processes × threads", *arms)
        found = {(row.case, row.arm): row.per_s for row in closed}
        for row in _first(closed):
            cells = (number(found.get((row.case, arm))) for arm in arms)
            grid.add_row(callers(row), *cells)
        yield grid
    if opened:
        note = "p50 / p99, ns from when a call was meant to begin; ×: load not carried"
        yield heading("How late calls are", note)
        arms = [arm for arm in report.arms if any(row.arm == arm for row in opened)]
        grid = table("offered per s", *arms)
        by_arm = {(row.case, row.arm): row for row in opened}
        for row in _first(opened):
            cells = (late(by_arm.get((row.case, arm))) for arm in arms)
            grid.add_row(load(row), *cells)
        yield grid
        yield Text("  calls begin at random; more callers than CPUs take turns on them", "dim")


def callers(row: ThroughputRow) -> str:
    """How many call, and how many calls at once."""
    batch = f", batches of {row.batch}" if row.batch > 1 else ""
    return f"{row.processes} × {row.threads}{batch}"


def load(row: ThroughputRow) -> str:
    """What is offered by how many callers."""
    count = row.processes * row.threads
    return f"{row.offered_per_s or 0:,.0f}" + (f" by {count}" if count > 1 else "")


def late(row: ThroughputRow | None) -> str:
    """Median and p99 of the lateness in few characters; a cross for a load that is not carried."""
    if row is None:
        return "– / –"
    return "×" if row.behind else f"{number(row.p50_ns)} / {number(row.p99_ns)}"


def _first(rows: list[ThroughputRow]) -> list[ThroughputRow]:
    """A row of each case."""
    return list({row.case: row for row in reversed(rows)}.values())[::-1]
