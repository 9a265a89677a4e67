# SPDX-License-Identifier: MIT
"""Today's alternatives for a terminal: arms are many here and cases few, so arms are the rows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from memsc.analysis.data.numbers import number
from memsc.analysis.report.terminal import heading, table
from memsc.analysis.report.text import how_often
from memsc.bench.verdict.model import BenchReport

_PREFIX = "peers-"


def is_beside(case: str) -> bool:
    """Whether a case is one of the suite `peers`."""
    return case.startswith(_PREFIX)


def beside(report: BenchReport) -> Iterator[RenderableType]:
    """What each alternative takes, and how many times that is of memsc's."""
    times = [row for row in report.timings if is_beside(row.case) and not row.recording]
    if not times:
        return
    yield heading("Beside today's alternatives", "ns per call, from outside; × is mean ÷ memsc's")
    found = {(row.arm, row.case): row for row in times}
    cases = list(dict.fromkeys(row.case for row in times))
    grid = table("", *(name for case in cases for name in (case.removeprefix(_PREFIX), "p50", "×")))
    order = {row.arm: row.mean_ns for row in times if row.case == cases[0]}
    for arm in sorted(order, key=order.__getitem__):
        cells: list[str] = []
        for case in cases:
            mine, ours = found.get((arm, case)), found.get(("memsc", case))
            mean = mine.mean_ns if mine else None
            times_ours = how_often(mean, ours.mean_ns if ours else None)
            cells += [number(mean), number(mine.p50_ns if mine else None), times_ours]
        grid.add_row(arm, *cells)
    yield grid
