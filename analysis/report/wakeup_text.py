# SPDX-License-Identifier: MIT
"""Wake-ups as text: how those of each arm that sleeps got through, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.domains.wakeup_chains import STEPS
from memsc.analysis.report.model import Report
from memsc.analysis.report.rows import WayRow
from memsc.analysis.report.terminal import heading, table

HEADERS = ("share", *STEPS, "total")
LEGEND = "until asked, an interrupt sent, it arrived, the sleeper may run, runs, goes on"
_FEWEST = 1e-3
"""A way that fewer calls in a thousand took has no mean worth a line."""


def wakeups(report: Report) -> Iterator[RenderableType]:
    """The section about wake-ups; none without the baseline or its events."""
    for title, matched, directions in wakeup_rows(report):
        yield heading(f"How wake-ups get through: {title}", f"ns, means · {matched}")
        grid = table("", *HEADERS)
        for direction, rows in directions:
            grid.add_row(direction, style="bold")
            for name, *cells in rows:
                grid.add_row(f"  {name}", *cells)
        yield grid
        yield Text(f"  {LEGEND}", "dim")
        if any("–" in row for _, rows in directions for row in rows):
            yield Text("  –: there is no such step, or a hit of its probes costs more", "dim")


def wakeup_rows(
    report: Report,
) -> Iterator[tuple[str, str, list[tuple[str, list[list[str]]]]]]:
    """What a page shows of wake-ups, as text.

    Returns:
        Per arm and case its name, how many calls have their whole chain, and by stage the rows of
        path, share, and the mean of each step and of the total in ns.
    """
    for whole in report.wakeups.matched:
        mine = [
            row
            for row in report.wakeups.paths
            if (row.arm, row.case) == (whole.arm, whole.case) and row.share >= _FEWEST
        ]
        directions = [
            (direction, [_row(row) for row in mine if row.direction == direction])
            for direction in ("poll", "complete")
        ]
        share = f"{100 * (whole.share or 0.0):.1f} % of chains whole"
        yield f"{whole.arm} {whole.case}", share, directions


def _row(row: WayRow) -> list[str]:
    steps = (row.ask_ns, row.send_ns, row.deliver_ns, row.wake_ns, row.run_ns, row.pick_ns)
    times = [number(ns) for ns in (*steps, row.total_ns)]
    return [row.path, f"{100 * row.share:.1f} %", *times]
