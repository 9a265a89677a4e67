# SPDX-License-Identifier: MIT
"""Counters in a report: which columns, and what is said of those that are not there."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from memsc.analysis.data.counted import EVERY, SHORT
from memsc.analysis.data.numbers import number
from memsc.analysis.data.scan import ALL
from memsc.analysis.report.model import Report
from memsc.analysis.report.terminal import heading, table

_SOFTWARE = 6  # of them are the kernel's; the others are the PMU's and have a table of their own


def counter_tables(report: Report) -> Iterator[tuple[str, list[str], list[tuple[str, list[str]]]]]:
    """Per case and kind of event: the case, heads of columns, and rows of a name and cells."""
    found = report.counters
    if found is None:
        return
    names = list(SHORT)
    for case in dict.fromkeys(row.case for row in found.rows):
        mine = [row for row in found.rows if row.case == case]
        counted = {row.event for row in mine}
        for some in (names[:_SOFTWARE], names[_SOFTWARE:]):
            shown = [name for name in some if name in counted]
            cells: dict[tuple[str, str], dict[str, float | None]] = {}
            for row in mine:
                cells.setdefault((row.arm, row.side), {})[row.event] = row.per_call
            rows = [
                (f"{arm} {side}", [number(values.get(name)) for name in shown])
                for (arm, side), values in cells.items()
                if side != EVERY and any(values.get(name) != 0 for name in shown)
            ]
            if shown:
                yield case, [SHORT[name] for name in shown], rows


def counter_notes(report: Report) -> Iterator[str]:
    """What was not counted, and what to bear in mind."""
    found = report.counters
    if found is None:
        return
    by_reason: dict[str, list[str]] = {}
    for name, event in found.events.items():
        if not event.counted:
            by_reason.setdefault(event.reason or "", []).append(name)
    for reason, names in by_reason.items():
        yield f"not counted: {', '.join(names)}: {reason}"
    hidden = [n for n, event in found.events.items() if event.counted and not event.kernel]
    if hidden:
        yield f"in user space alone: {', '.join(hidden)}"
    if found.apart_reason:
        yield f"both sides together: {found.apart_reason}"
    turns = {row.event: row.counted for row in found.rows if row.counted < 1}
    if turns:
        least = min(turns.values())
        yield f"took turns at the PMU, scaled up: {', '.join(turns)} (counted {100 * least:.0f} %)"
    for row in found.ratios:
        if row.name == "instructions per cycle" and row.side != EVERY and row.ratio is not None:
            yield f"{row.case}, {row.arm} {row.side}: {row.ratio:.2f} {row.name}"


def stage_counter_tables(
    report: Report,
) -> Iterator[tuple[str, list[str], list[tuple[str, list[str]]]]]:
    """As `counter_tables`, of each arm's stages."""
    found = report.stage_counters
    if found is None:
        return
    every = [row for row in found.rows if row.syscall == ALL]
    for case in dict.fromkeys(row.case for row in every):
        mine = [row for row in every if row.case == case]
        read = {row.event for row in mine}
        shown = [name for name in SHORT if name in read]
        cells: dict[tuple[str, str], dict[str, float | None]] = {}
        for row in mine:
            told = row.per_call if row.told else None
            cells.setdefault((row.arm, row.stage), {})[row.event] = told
        rows = [
            (f"{arm} {stage}", [number(values.get(name)) for name in shown])
            for (arm, stage), values in cells.items()
        ]
        yield case, [SHORT[name] for name in shown], rows


def stage_counter_notes(report: Report) -> Iterator[str]:
    """What could not be read, and what a dash stands for."""
    found = report.stage_counters
    if found is None:
        return
    by_reason: dict[str, list[str]] = {}
    for name, reason in found.uncounted.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield f"not read: {', '.join(names)}: {reason}"
    every = [row for row in found.rows if row.syscall == ALL]
    hits = {row.event: row.hit for row in every if not row.told}
    if hits:
        each = ", ".join(f"{SHORT[name]} {number(hit)}" for name, hit in hits.items())
        yield f"–: less than a hit of the probe counts itself ({each})"
    turns = {row.event: row.counted for row in every if row.counted < 1}
    if turns:
        least = min(turns.values())
        yield f"took turns at the PMU: {', '.join(turns)} (of {100 * least:.0f} % of the stages)"


def stage_counters(report: Report) -> Iterator[RenderableType]:
    """What stages did, for a terminal."""
    for case, heads, rows in stage_counter_tables(report):
        yield heading(f"What stages did: {case}", "per call, on the CPU of the stage")
        grid = table("", *heads)
        for name, cells in rows:
            grid.add_row(name, *cells)
        yield grid
    for line in stage_counter_notes(report):
        yield Padding(Text(line, "dim"), (0, 0, 0, 2))


def counters(report: Report) -> Iterator[RenderableType]:
    """What threads did, for a terminal."""
    tables = list(counter_tables(report))
    for case, heads, rows in tables:
        yield heading(
            f"What threads did: {case}", "per call; of whole runs, start and end included"
        )
        grid = table("", *heads)
        for name, cells in rows:
            grid.add_row(name, *cells)
        yield grid
    if report.counters:
        for line in counter_notes(report):
            yield Padding(Text(line, "dim"), (0, 0, 0, 2))
