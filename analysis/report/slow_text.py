# SPDX-License-Identifier: MIT
"""Slow calls for a terminal: their causes, which stage grows, and the worst as waterfalls."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memsc.analysis.causes.shares import BY_ELIMINATION, LOST, NO_PROBES, NOT_LOOKED_AT, SLOWER
from memsc.analysis.data.numbers import number
from memsc.analysis.data.order import natural
from memsc.analysis.report.model import Report
from memsc.analysis.report.rows import CauseRow, ExcessRow, SlowCall
from memsc.analysis.report.terminal import heading, table
from memsc.tracer.format import STAGES

_CAUSES = 8
_BAR = 42
_LETTERS = dict(zip(STAGES, "▁▂▅▃", strict=True))
_STYLES = dict(zip(STAGES, ("cyan", "yellow", "green", "magenta"), strict=True))


def slow_parts(report: Report) -> Iterator[RenderableType]:
    """The sections about slow calls; none where too few are."""
    yield from _causes(report)
    yield from _excess(report)
    yield from _worst(report)


def _causes(report: Report) -> Iterator[RenderableType]:
    groups = list(cause_rows(report))
    if not groups:
        return
    yield heading("Why slow calls are slow", "share of those above p99 and p99.9, by main cause")
    grid = table("", ">p99", ">p99.9", "costs ns")
    for title, counts, rows in groups:
        grid.add_row(title, *counts, "", style="bold")
        for name, *cells in rows:
            grid.add_row(f"  {name}", *cells)
    yield grid
    yield Text("  the largest part of a call's excess over the median of each stage", "dim")
    if any(row[0] in BY_ELIMINATION for _, _, rows in groups for row in rows):
        named = {row[0] for _, _, rows in groups for row in rows}
        which = [name for name in BY_ELIMINATION if name in named]
        yield Text(f"  by elimination, no event fits: {', '.join(which)}", "dim")
    if any(row[0] == SLOWER for _, _, rows in groups for row in rows):
        yield Text(f"  {SLOWER}: by what its usual call takes longer than that of all", "dim")
    if any(row[0] == LOST for _, _, rows in groups for row in rows):
        yield Text(f"  {LOST}: of rounds in which a probe's ring was full nothing is told", "dim")


def cause_rows(report: Report) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """The causes of each arm and case that fit on a page, as text.

    Returns:
        Per arm and case its name, the calls looked at in each band, and rows of cause, share above
        p99, share above p99.9 and the mean cost in ns.
    """
    groups: dict[tuple[str, str, str], Causes] = {}
    shown = _shown(report)
    for row in report.causes:
        if row.case in shown:
            key = (row.case, row.arm, row.mode)
            groups.setdefault(key, {}).setdefault(row.cause, {})[row.band] = row
    for (case, arm, mode), causes in groups.items():
        if set(causes) == {NO_PROBES}:
            continue
        late = " (async)" if mode == "async" else ""
        ranked = sorted(causes.items(), key=lambda item: _rank(item[1]), reverse=True)
        rows: list[list[str]] = []
        # Chosen by what counts in either band, shown in the order of the first column.
        shown = sorted(ranked[:_CAUSES], key=lambda item: _shares(item[1]), reverse=True)
        for cause, bands in shown:
            cells = [_share(bands.get(band)) for band in _BANDS]
            row = bands.get("p999") or bands["p99"]
            rows.append([cause, *cells, number(row.mean_ns)])
        rest = [bands for _, bands in ranked[_CAUSES:]]
        if rest:
            cells = [_sum([bands[band] for bands in rest if band in bands]) for band in _BANDS]
            rows.append([f"{len(rest)} more", *cells, ""])
        every = next(row.every for bands in causes.values() for row in bands.values())
        some = f", 1 in {every}" if every > 1 else ""
        yield f"{arm} {case}{late}{some}", [_count(causes, band) for band in _BANDS], rows


_BANDS = ("p99", "p999")
Causes = dict[str, dict[str, CauseRow]]


def _shown(report: Report) -> set[str]:
    """The cases that fit on a page: the first, and those of the suite that is about causes."""
    cases = sorted({row.case for row in report.causes}, key=natural)
    return {*cases[:1], *(case for case in cases if case.startswith("causes"))}


def _count(causes: Causes, band: str) -> str:
    calls = sum(bands[band].calls for bands in causes.values() if band in bands)
    return f"{calls:,}" if calls else "–"


def _rank(bands: dict[str, CauseRow]) -> float:
    return max(_shares(bands))


def _shares(bands: dict[str, CauseRow]) -> list[float]:
    return [bands[band].share if band in bands else 0.0 for band in _BANDS]


def _share(row: CauseRow | None) -> str:
    return "–" if row is None else _percent(row.share)


def _sum(rows: list[CauseRow]) -> str:
    return _percent(sum(row.share for row in rows)) if rows else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"


def _excess(report: Report) -> Iterator[RenderableType]:
    rows = report.excess
    if not rows:
        return
    yield heading("Tail minus body", "ns, mean above p99 minus mean up to p90, by stage")
    grid = table("", *STAGES)
    found: dict[tuple[str, str], dict[str, ExcessRow]] = {}
    shown = _shown(report)
    for row in rows:
        if row.case not in shown:
            continue
        late = " (async)" if row.mode == "async" else ""
        found.setdefault((row.case + late, row.arm), {})[row.stage] = row
    for (case, arm), stages in found.items():
        cells = [f"{number(stages[s].excess_ns)} {_whole(stages[s].excess_share)}" for s in STAGES]
        grid.add_row(f"{arm} {case}", *cells)
    yield grid


def _whole(share: float | None) -> str:
    return "" if share is None else f"{100 * share:3.0f}%"


def _worst(report: Report) -> Iterator[RenderableType]:
    calls = [call for call in report.worst if call.cause not in NOT_LOOKED_AT]
    if not calls:
        return
    yield heading("The slowest calls", "what had the CPUs meanwhile; only known waits left out")
    key = Text("  ")
    for stage in STAGES:
        key.append(_LETTERS[stage] * 2, _STYLES[stage])
        key.append(f" {stage}  ")
    yield key
    for call in calls:
        yield _title(call)
        yield _waterfall(call)


def _title(call: SlowCall) -> Text:
    where = f"{call.arm} {call.case} {call.syscall} at {call.start_s:.3f} s"
    cause = f"{number(call.cause_ns)} of {call.stage}: {call.cause}"
    return Text.assemble((where, "bold"), f", {number(call.total_ns)} ns, {cause}")


def _waterfall(call: SlowCall) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=28, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=_BAR, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    total = max(call.total_ns, 1.0)
    bar, edge = Text(), 0.0
    for stage in STAGES:
        first, edge = edge, edge + call.stages[stage] / total * _BAR
        # Where a counter ran backwards a stage may begin before the call, or end behind it.
        left, right = (min(max(round(at), 0), _BAR) for at in (first, edge))
        bar.append(_LETTERS[stage] * (right - left), _STYLES[stage])
    grid.add_row("  stages", bar, "")
    for event in call.events:
        first = min(round(event.from_ns / total * _BAR), _BAR - 1)
        width = max(round(event.ns / total * _BAR), 1)
        mark = "█" if event.ns else "│"
        line = Text(" " * first + mark * min(width, _BAR - first))
        what = f"  {event.side}: {event.what.removeprefix('interrupted by ')}"
        grid.add_row(what, line, number(event.ns) if event.ns else "")
    return grid
