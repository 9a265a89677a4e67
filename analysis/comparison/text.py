# SPDX-License-Identifier: MIT
"""A comparison for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from memsc.analysis.comparison.comparison import Comparison, Outcome
from memsc.analysis.comparison.model import SCHEMA, CompareRow, ComparisonReport, FailIf
from memsc.analysis.data.numbers import number
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.report.model import Verdict
from memsc.analysis.report.summary import rows as rows_of
from memsc.analysis.report.terminal import heading, mark, table

_SHOWN = ("mean", "p50", "p99", "p999")
_FACTOR = 10


def comparison_report(comparison: Comparison, outcomes: list[Outcome]) -> ComparisonReport:
    """What `compare --json` prints."""
    reasons = comparison.withheld()
    return ComparisonReport(
        schema=SCHEMA,
        base=comparison.base.name,
        new=comparison.new.name,
        verdict=Verdict(bool(reasons), reasons),
        unrecorded=comparison.unrecorded(),
        differences=differences(comparison),
        rows=rows_of(comparison.df_compare(syscalls=True), CompareRow),
        fail_if=[FailIf(o.condition.text, o.met, o.found) for o in outcomes],
    )


def differences(comparison: Comparison) -> list[str]:
    """In what the two machines differ: a change may be theirs, not the program's."""
    base, new = (side.session.environment for side in (comparison.base, comparison.new))
    names = ("cpu_model", "kernel", "virtual", "cpus_online", "isolated_cpus", "idle_driver")
    return [
        f"{name}: {getattr(base, name)} → {getattr(new, name)}"
        for name in names
        if getattr(base, name) != getattr(new, name)
    ]


def render(comparison: Comparison, outcomes: list[Outcome]) -> RenderableType:
    """The comparison as a rich renderable, 80 columns."""
    return Group(*_parts(comparison, outcomes))


def _parts(comparison: Comparison, outcomes: list[Outcome]) -> Iterator[RenderableType]:
    title = f"{comparison.base.name} → {comparison.new.name}"
    yield Text.assemble((title, "bold"), "  change, with 95 % interval")
    reasons = comparison.withheld()
    for reason in reasons:
        yield mark("✗", f"verdict withheld: {reason}", "bold red")
    if not reasons:
        for what in comparison.unrecorded():
            yield mark("!", what, "yellow")
    for line in differences(comparison):
        yield mark("!", f"the machines differ in {line}", "yellow")
    rows = rows_of(comparison.df_compare(), CompareRow)
    for case in dict.fromkeys(row.case for row in rows):
        yield heading(case, "total time of a call")
        mine = [row for row in rows if row.case == case]
        yield from _totals(mine)
        if any(
            row.stage != TOTAL and row.metric == "mean" and row.verdict in ("slower", "faster")
            for row in mine
        ):
            yield heading(case, "mean of the stages that changed")
            yield _changed(mine)
    for outcome in outcomes:
        sign, style = {True: ("✗", "red"), False: ("✓", "green"), None: ("?", "yellow")}[
            outcome.met
        ]
        yield mark(sign, f"--fail-if {outcome.found}", style)


_COLUMNS = ("base ns", "new ns", "change", "low to high", "verdict")


def _totals(rows: list[CompareRow]) -> Iterator[RenderableType]:
    grid = table("", "", *_COLUMNS)
    for row in rows:
        if row.stage == TOTAL and row.metric in _SHOWN:
            first = row.arm if row.metric == "mean" else ""
            grid.add_row(first, row.metric, *_cells(row))
    yield grid
    if any(row.interval == "blocks" for row in rows):
        yield Text("  * within one run each: says nothing about other runs", "dim")


def _changed(rows: list[CompareRow]) -> RenderableType:
    """Means, since they add up: what changed in the stages is what changed in the total."""
    grid = table("", "", *_COLUMNS)
    arm = ""
    for row in rows:
        known = row.metric == "mean" and row.verdict in ("slower", "faster")
        if known and row.stage != TOTAL:
            grid.add_row(row.arm if row.arm != arm else "", row.stage, *_cells(row))
            arm = row.arm
    return grid


def _cells(row: CompareRow) -> tuple[str | Text, ...]:
    if row.verdict == "insufficient":
        return ("–", "–", "–", "–", "insufficient")
    change, low, high = (_relative(value) for value in (row.change, row.low, row.high))
    style = {"slower": "red", "faster": "green"}.get(row.verdict, "")
    within = "" if row.interval == "rounds" else "*"
    figures = (number(row.base_ns), number(row.new_ns), change, f"{low} to {high}")
    return (*figures, Text(row.verdict + within, style))


def _relative(change: float | None) -> str:
    """A change in per cent, or as a factor where that would be long."""
    if change is None:
        return "–"
    return f"{change:+.1%}" if change < _FACTOR else f"×{number(1 + change)}"
