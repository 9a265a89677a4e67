# SPDX-License-Identifier: MIT
"""A history for a terminal: what stepped first, then each metric by date and version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memsc.analysis.comparison.replicas import PROGRAM
from memsc.analysis.data.numbers import number
from memsc.analysis.history.history import near
from memsc.analysis.history.model import HistoryPoint, HistoryReport, HistorySeries, HistoryStep
from memsc.analysis.report.terminal import heading, mark, table

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 32  # of a row of bars
_NEWEST = 40
"""Sessions with a line of their own."""
_BLOCKS = 12
"""Arms and cases with a table of their own."""


def render_history(report: HistoryReport) -> RenderableType:
    """The history as a rich renderable, 80 columns."""
    return Group(*_parts(report))


class Event(NamedTuple):
    """Steps of several metrics that may be one and the same: in words, and one by one.

    Attributes:
        sign: up, down, or both.
        says: where it is, and what else changed there.
        rows: of each metric its name, change, interval, sessions before and after, and the first.
    """

    sign: str
    says: str
    rows: list[tuple[str, ...]]


def events(report: HistoryReport) -> Iterator[Event]:
    """The steps, those that lie near each other together."""
    every = [(one, step) for one in report.metrics for step in one.steps]
    together: list[list[tuple[HistorySeries, HistoryStep]]] = []
    for both in sorted(every, key=lambda both: both[1].trace):
        if together and near(together[-1][-1][1].trace, both[1].trace):
            together[-1].append(both)
        else:
            together.append([both])
    for group in together:
        # What most metrics say.
        places = Counter(step.trace for _, step in group)
        at = report.traces[places.most_common(1)[0][0]]
        says = f"a step at {at.trace}, {at.created[:10]}, or near it"
        if differs := list(dict.fromkeys(what for _, step in group for what in step.differs)):
            says += f"; there changed {'; '.join(differs[:3])}"
        if arms := {arm for _, step in group for arm in step.references}:
            says += f"; {', '.join(arms)} calls step too: it is the machine, or the program"
        up, down = (any(sign * step.change > 0 for _, step in group) for sign in (1, -1))
        yield Event("◆" if up and down else "▲" if up else "▼", says, _rows(report, group))


EVENT_COLUMNS = ("", "change", "low to high", "before", "after", "from")
"""What the rows of an event are."""


def _rows(
    report: HistoryReport, group: Sequence[tuple[HistorySeries, HistoryStep]]
) -> list[tuple[str, ...]]:
    order = {id(one): i for i, one in enumerate(report.metrics)}
    return [
        (
            *(name(one), f"{step.change:+.1%}", f"{step.low:+.1%} to {step.high:+.1%}"),
            *(*map(str, step.sessions), step.after),
        )
        for one, step in sorted(group, key=lambda both: order[id(both[0])])
    ]


def name(one: HistorySeries) -> str:
    """A metric as `--fail-if` of `compare` names it."""
    return f"{one.arm}/{one.case}.{one.stage}.{one.metric}"


def summary_lines(report: HistoryReport) -> Iterator[tuple[str, str]]:
    """What a reader should know first, beside steps: a sign and a line each."""
    for note in report.notes:
        yield "!", note
    if report.missing is not None:
        yield "?", report.missing
    elif not any(one.steps for one in report.metrics):
        yield "✓", "no step beyond what differs between sessions"


def rows_of_block(
    report: HistoryReport, block: Sequence[HistorySeries]
) -> Iterator[tuple[str, ...]]:
    """Of an arm and case each session: date, version, and the metrics with their intervals."""
    points = [{point.trace: point for point in one.points} for one in block]
    for i, trace in enumerate(report.traces):
        mine = [by_trace.get(i) for by_trace in points]
        if any(mine):
            mark_of = "✗" if trace.withheld else ""
            yield (trace.created[:16].replace("T", " "), trace.memsc + mark_of, *map(shown, mine))


def shown(point: HistoryPoint | None) -> str:
    """A value with half of its interval's width; starred where that is within one run."""
    if point is None or point.value_ns is None:
        return "–"
    if point.low_ns is None or point.high_ns is None:
        return number(point.value_ns)
    half = (point.high_ns - point.low_ns) / 2
    star = "*" if point.interval == "blocks" else ""
    return f"{number(point.value_ns)} ±{number(half)}{star}"


def blocks(report: HistoryReport) -> list[list[HistorySeries]]:
    """The metrics by arm and case."""
    found: dict[tuple[str, str, str], list[HistorySeries]] = {}
    for one in report.metrics:
        found.setdefault((one.case, one.mode, one.arm), []).append(one)
    return list(found.values())


def column(one: HistorySeries) -> str:
    """A metric's name in a table."""
    return one.stage if one.stage == PROGRAM else one.metric


def _parts(report: HistoryReport) -> Iterator[RenderableType]:
    first, last = report.traces[0], report.traces[-1]
    yield Text.assemble(
        (title(report), "bold"),
        f"  {first.created[:10]} to {last.created[:10]}, memsc {versions(report)}",
    )
    styles = {"!": "yellow", "?": "yellow", "▲": "bold red", "▼": "bold green", "✓": "green"}
    for sign, line in summary_lines(report):
        yield mark(sign, line, styles[sign])
    for event in events(report):
        yield mark(event.sign, event.says, styles.get(event.sign, "bold yellow"))
        yield Padding(_event(event), (0, 0, 0, 4))
    found = blocks(report)
    yield heading("Each metric over time", "total time of a call, and of the program; ns")
    yield _overview(found[:_BLOCKS])
    for block in found[:_BLOCKS]:
        of = f"{block[0].arm} {block[0].case}"
        yield heading(of, "by session, ± half of its own 95 % interval; ns")
        yield _sessions(report, block)
    if (more := len(found) - _BLOCKS) and more > 0:
        yield Text(f"\nand {more} more arms and cases: --json has them")
    if any(point.interval == "blocks" for one in report.metrics for point in one.points):
        yield Text("\n* within one run: how much sessions differ is under 'differ' above")


def _event(event: Event) -> RenderableType:
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    for i, column_of in enumerate(EVENT_COLUMNS):
        grid.add_column(column_of, justify="right" if 0 < i < len(EVENT_COLUMNS) - 1 else "left")
    for row in event.rows:
        grid.add_row(*row)
    return grid


def title(report: HistoryReport) -> str:
    """What the history is of."""
    count = len(report.traces)
    return f"history of {count} session{'s' * (count != 1)}"


def versions(report: HistoryReport) -> str:
    """The versions of memsc that recorded, in order."""
    every = list(dict.fromkeys(trace.memsc for trace in report.traces))
    return " → ".join(every if len(every) < 4 else [every[0], "…", every[-1]])


def _overview(found: Sequence[Sequence[HistorySeries]]) -> RenderableType:
    grid = table("", "", "first", "last", "differ")
    grid.add_column("oldest to newest", no_wrap=True)
    for block in found:
        for i, one in enumerate(block):
            known = [point.value_ns for point in one.points if point.value_ns is not None]
            if not known:
                continue
            of = f"{one.arm} {one.case}" if not i else ""
            spread = "–" if one.spread is None else f"{one.spread:.1%}"
            ends = number(known[0]), number(known[-1])
            grid.add_row(of[:24], column(one), *ends, spread, bars(known))
    return grid


def bars(values: Sequence[float]) -> str:
    """Values as a row of bars from the least to the greatest; many share one."""
    groups = values
    if len(values) > _WIDTH:
        bounds = [round(i * len(values) / _WIDTH) for i in range(_WIDTH + 1)]
        groups = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    least, most = min(groups), max(groups)
    # What differs by less than a hundredth is not blown up to the whole height.
    span = max(most - least, 0.01 * most)
    last = len(_BARS) - 1
    return "".join(_BARS[min(round((value - least) / span * last), last)] for value in groups)


def _sessions(report: HistoryReport, block: Sequence[HistorySeries]) -> RenderableType:
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("recorded", no_wrap=True)
    grid.add_column("memsc", no_wrap=True)
    for one in block:
        grid.add_column(column(one), justify="right", no_wrap=True)
    rows = list(rows_of_block(report, block))
    if hidden := max(len(rows) - _NEWEST, 0):
        grid.add_row(f"({hidden} older)", *[""] * (len(block) + 1))
    for row in rows[hidden:]:
        grid.add_row(*row)
    return grid
