# SPDX-License-Identifier: MIT
"""A comparison for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from memsc.analysis.comparison.comparison import INSUFFICIENT, Comparison
from memsc.analysis.comparison.conditions import Outcome
from memsc.analysis.comparison.model import SCHEMA, CompareRow, ComparisonReport, FailIf
from memsc.analysis.comparison.replicas import PROGRAM
from memsc.analysis.data.numbers import number, short_ns
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.report.model import Verdict
from memsc.analysis.report.summary import rows as rows_of
from memsc.analysis.report.terminal import heading, mark, table

_SHOWN = ("mean", "p50", "p99", "p999")
_FACTOR = 10


def comparison_report(comparison: Comparison, outcomes: list[Outcome]) -> ComparisonReport:
    """What `compare --json` prints."""
    reasons = comparison.withheld()
    sides = comparison.sides
    base, new = sides.replicas
    return ComparisonReport(
        schema=SCHEMA,
        base=[trace.name for trace in sides.base],
        new=[trace.name for trace in sides.new],
        units=sides.units,
        replicas=[len(base), len(new)],
        history=len(sides.history),
        beside=sides.beside,
        verdict=Verdict(bool(reasons), reasons),
        settle=sides.settle() if sides.unsettled() or _near(outcomes) else None,
        notes=comparison.notes(),
        unrecorded=comparison.unrecorded(),
        uncounted=comparison.uncounted(),
        differences=differences(comparison),
        rows=rows_of(comparison.df_compare(syscalls=True), CompareRow),
        fail_if=[FailIf(o.condition.text, o.met, o.found) for o in outcomes],
    )


def differences(comparison: Comparison) -> list[str]:
    """In what the machines differ: a change may be theirs, not the program's."""
    names = ("cpu_model", "kernel", "virtual", "cpus_online", "isolated_cpus", "idle_driver")
    machines = [trace.session.environment for _, trace in comparison.sides.traces()]
    found: list[str] = []
    for name in names:
        values = dict.fromkeys(str(getattr(machine, name)) for machine in machines)
        if len(values) > 1:
            found.append(f"{name}: {' → '.join(values)}")
    return found


def render(comparison: Comparison, outcomes: list[Outcome]) -> RenderableType:
    """The comparison as a rich renderable, 80 columns."""
    return Group(*_parts(comparison, outcomes))


def _parts(comparison: Comparison, outcomes: list[Outcome]) -> Iterator[RenderableType]:
    sides = comparison.sides
    reasons, unsettled = comparison.withheld(), sides.unsettled()
    yield Text.assemble((" → ".join(sides.names), "bold"), f"  {_over(comparison)}")
    for reason in reasons:
        yield mark("✗", f"verdict withheld: {reason}", "bold red")
    if unsettled and comparison.shared():
        yield mark("", sides.settle(), "")
    if all(reason == unsettled for reason in reasons):
        for what in comparison.unrecorded():
            yield mark("!", what, "yellow")
    traces = len(sides.traces())
    for what, times in comparison.uncounted().items():
        whose = "" if times == traces else f"{times} of {traces} traces: "
        yield mark("?", f"{whose}{what}", "yellow")
    for line in differences(comparison):
        yield mark("!", f"the machines differ in {line}", "yellow")
    for line in comparison.notes():
        yield mark("!", line, "yellow")
    rows = rows_of(comparison.df_compare(), CompareRow)
    alone = unsettled is not None
    for case in dict.fromkeys(row.case for row in rows):
        of = "total time of a call, and of the program"
        yield heading(
            case, f"as seen; {sides.units} of one and the same program differ, too" if alone else of
        )
        mine = [row for row in rows if row.case == case]
        yield _totals(mine, _SEEN if alone else _COLUMNS)
        if any(
            row.stage not in (TOTAL, PROGRAM)
            and row.metric == "mean"
            and row.verdict in ("slower", "faster")
            for row in mine
        ):
            yield heading(case, "mean of the stages that changed")
            yield _changed(mine)
    for outcome in outcomes:
        sign, style = {True: ("✗", "red"), False: ("✓", "green"), None: ("?", "yellow")}[
            outcome.met
        ]
        undecided = "" if outcome.met is not None else "not settled: "
        yield mark(sign, f"{undecided}--fail-if {outcome.found}", style)
    if _near(outcomes) and not unsettled:
        yield mark("", f"The interval reaches across the bound. {sides.settle()}", "")


def _near(outcomes: list[Outcome]) -> bool:
    """Whether more replicas would decide a condition."""
    return any(outcome.near for outcome in outcomes)


def _over(comparison: Comparison) -> str:
    """Over what the intervals are."""
    if comparison.sides.unsettled():
        return "no result: what was seen of each"
    base, new = map(len, comparison.sides.replicas)
    many = f"{base} and {new} {comparison.sides.units}"
    if comparison.sides.units == "turns":
        many = f"{base} turns"
    if comparison.sides.history:
        many += f", {len(comparison.sides.history)} of history"
    beside = f", beside {comparison.sides.beside}" if comparison.sides.beside else ""
    return f"change, with 95 % interval over {many}{beside}"


_COLUMNS = ("base ns", "new ns", "change", "low to high", "verdict")
# Of one session a side nobody knows whether there is a change: no column says so.
_SEEN = ("base ns", "new ns", "seen", "true change", "verdict")


def _totals(rows: list[CompareRow], columns: tuple[str, ...]) -> RenderableType:
    grid = table("", "", *columns)
    for row in rows:
        if row.stage == TOTAL and row.metric in _SHOWN:
            first = row.arm if row.metric == "mean" else ""
            grid.add_row(first, row.metric, *_cells(row))
        if row.stage == PROGRAM and row.verdict != INSUFFICIENT:
            grid.add_row("", PROGRAM, *_cells(row))
    return grid


def _changed(rows: list[CompareRow]) -> RenderableType:
    """Means, since they add up: what changed in the stages is what changed in the total."""
    grid = table("", "", *_COLUMNS)
    arm = ""
    for row in rows:
        known = row.metric == "mean" and row.verdict in ("slower", "faster")
        if known and row.stage not in (TOTAL, PROGRAM):
            grid.add_row(row.arm if row.arm != arm else "", row.stage, *_cells(row))
            arm = row.arm
    return grid


def _cells(row: CompareRow) -> tuple[str | Text, ...]:
    if row.verdict == INSUFFICIENT:
        return ("–", "–", "–", "–", INSUFFICIENT)
    change, low, high = (_relative(value) for value in (row.change, row.low, row.high))
    shown = _time if row.stage == PROGRAM else number
    style = {"slower": "red", "faster": "green"}.get(row.verdict, "")
    between = "not known" if row.low is None else f"{low} to {high}"
    return (shown(row.base_ns), shown(row.new_ns), change, between, Text(row.verdict, style))


def _time(ns: float | None) -> str:
    """A program's time has its own unit: nobody reads a second in nanoseconds."""
    return number(ns) if ns is None else short_ns(ns)


def _relative(change: float | None) -> str:
    """A change in per cent, or as a factor where that would be long."""
    if change is None:
        return "–"
    return f"{change:+.1%}" if change < _FACTOR else f"×{number(1 + change)}"
