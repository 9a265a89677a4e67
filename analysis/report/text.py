# SPDX-License-Identifier: MIT
"""A report for a terminal: trust first, then where the time went. Needs 80 columns, no colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from memsc.analysis.data.modes import ASYNC, WAIT
from memsc.analysis.data.numbers import number
from memsc.analysis.data.order import natural
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.domains.timings import LINE
from memsc.analysis.report.conditions import (
    calibration_lines,
    clock_line,
    isolation_lines,
)
from memsc.analysis.report.counter_text import counters, stage_counters
from memsc.analysis.report.model import CaseFigures, Report, Stages, SyscallFigures
from memsc.analysis.report.paths_text import paths
from memsc.analysis.report.rows import RatioRow
from memsc.analysis.report.slow_text import slow_parts
from memsc.analysis.report.terminal import heading, mark, table
from memsc.analysis.report.totals_text import totals
from memsc.analysis.report.trust_text import trust_lines
from memsc.analysis.report.wakeup_text import wakeups
from memsc.tracer.format import STAGES

WIDTH = 80
# System calls named one by one: those that took most of the time.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Section:
    """What somebody above adds to the report of a trace, such as the benchmark.

    Attributes:
        render: its lines, from a report that holds what they need; none where there is nothing.
        shows: whether it shows the times of a case itself, so that the report does not have to.
    """

    render: Callable[[Any], Iterable[RenderableType]]
    shows: Callable[[str], bool] = lambda _: False


def render(report: Report, sections: Sequence[Section] = ()) -> RenderableType:
    """A report as a rich renderable."""
    return Group(*_parts(report, sections))


def to_string(report: Report, sections: Sequence[Section] = (), width: int = WIDTH) -> str:
    """The report as plain text."""
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(report, sections))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _parts(report: Report, sections: Sequence[Section]) -> Iterator[RenderableType]:
    yield Text.assemble((report.trace, "bold"), f" · {report.created[:16]}")
    if report.selected:
        yield Text(f"  only calls of {'; '.join(report.selected)}; checks are of all", "bold")
    yield from (Padding(Text(line), (0, 0, 0, 2)) for line in _machine(report))
    yield heading("Can it be believed?")
    yield from (mark(sign, line, _STYLES[sign]) for sign, line in trust_lines(report))
    for case in cases_of(report):
        yield from _stage_table(report, case)
    yield from totals(report)
    yield from wakeups(report)
    yield from slow_parts(report)
    yield from paths(report)
    yield from counters(report)
    yield from stage_counters(report)
    yield from _outside(report, sections)
    if not report.verdict.withheld:
        yield from _ratios(report)
    yield from _recording(report)
    for section in sections:
        yield from section.render(report)
    yield from _calibration(report)


def _machine(report: Report) -> Iterator[str]:
    env = report.environment
    virtual = f"virtual machine ({env.hypervisor or 'hypervisor unknown'})"
    kind = virtual if env.virtual else "real machine" if env.virtual is False else "?"
    machine = env.cpu_model or env.architecture or "CPU unknown"
    yield " · ".join([machine, kind, f"Linux {env.kernel or 'unknown'}"])
    isolated = env.isolated_cpus or "none"
    yield f"isolated CPUs {isolated} · idle driver {env.idle_driver or 'unknown'}"
    if "PTI" in ((env.mitigations or {}).get("meltdown") or ""):
        yield "each system call changes page tables (Meltdown: PTI)"
    if handoffs := {arm.handoff for arm in report.arms.values() if arm.handoff}:
        yield f"hand-off {', '.join(sorted(handoffs))}"
    yield from isolation_lines(report)
    yield f"clock {clock_line(report)}"


_STYLES = {"✗": "red", "✓": "green", "?": "yellow", "!": "yellow"}


def cases_of(report: Report) -> list[str]:
    """The cases of any arm, in the order they are shown; none where calls were chosen."""
    if report.snapshot:
        return []
    found = {case: None for arm in report.arms.values() for case in arm.cases}
    return sorted(found, key=natural)


def _stage_table(report: Report, case: str) -> Iterator[RenderableType]:
    rows = {name: arm.cases[case] for name, arm in report.arms.items() if case in arm.cases}
    late = any(row.mode == ASYNC for row in rows.values())
    rounds = max(row.rounds for row in rows.values())
    note = f"ns, means and percentiles of the total · {_rounds(rounds)}"
    if late:
        note = "ns · posted ahead: complete includes the time spent elsewhere"
    waits = any(row.mode == WAIT for row in rows.values())
    if waits:
        note = f"ns · calls that wait for others · {_rounds(rounds)}"
    yield heading(f"Where the time goes: {case}", note)
    grid = table("", *STAGES, "total", "±95 %", "p50", "p99", "p99.9")
    grid.columns[0].no_wrap = False  # names give way to figures
    for name, row in rows.items():
        grid.add_row(_short(name), *stage_cells(row.stages))
        if len(row.syscalls) > 1 or waits:
            for call, content in biggest(row):
                grid.add_row(_short(f"  {call}"), *stage_cells(content.stages), style="dim")
    yield grid
    if any(row.stages[TOTAL].interval == "blocks" for row in rows.values()):
        yield Text("  * within one run: says nothing about other runs", "dim")


def _rounds(count: int) -> str:
    return f"{count} round{'s' if count > 1 else ''}"


def _short(name: str) -> Text:
    return Text(name, no_wrap=True, overflow="ellipsis")


def biggest(row: CaseFigures) -> list[tuple[str, SyscallFigures]]:
    """The system calls of a case that took most of its time."""
    spent = {
        call: content.calls * (content.stages[TOTAL].mean_ns or 0.0)
        for call, content in row.syscalls.items()
    }
    chosen = sorted(spent, key=lambda call: -spent[call])[:_NAMED]
    return [(call, row.syscalls[call]) for call in chosen]


def stage_cells(stages: Stages) -> list[str]:
    """Means of the stages and of the total, half its interval, and its percentiles."""
    total, half = stages[TOTAL], None
    if total.mean_low_ns is not None and total.mean_high_ns is not None:
        half = (total.mean_high_ns - total.mean_low_ns) / 2
    sign = "" if total.interval == "rounds" or half is None else "*"
    return [
        *(number(stages[stage].mean_ns) for stage in STAGES),
        number(total.mean_ns),
        number(half) + sign,
        *(number(total.percentile(p)) for p in ("p50", "p99", "p999")),
    ]


def _outside(report: Report, sections: Sequence[Section]) -> Iterator[RenderableType]:
    times = [
        row
        for row in report.timings
        if not row.recording
        and row.case != LINE
        and not any(section.shows(row.case) for section in sections)
    ]
    if not times:
        return
    yield heading("Timed from outside, not recorded", "mean ns per call")
    arms = [arm for arm in report.arms if any(row.arm == arm for row in times)]
    found = {(row.case, row.arm): row.mean_ns for row in times}
    both = {"ipi", "memsc"} <= set(arms)
    grid = table("", *arms, *(["ipi ÷ memsc"] if both else []))
    for case in dict.fromkeys(row.case for row in times):
        last = [how_often(found.get((case, "ipi")), found.get((case, "memsc")))] if both else []
        grid.add_row(case, *(number(found.get((case, arm))) for arm in arms), *last)
    yield grid


def how_often(value: float | None, base: float | None) -> str:
    """How many times a value is another."""
    return f"{value / base:,.1f}" if value and base else "–"


def _ratios(report: Report) -> Iterator[RenderableType]:
    rows = [row for row in report.ratios if row.source == "stamps" and row.case == "sync"]
    wanted = [row for row in rows if row.arm.startswith("memsc") or row.arm == "ipi"]
    if not wanted:
        return
    yield heading("Against each other", "synchronous calls, one run; low–high at 95 %")
    grid = table("", "p50", "low–high", "mean", "low–high")
    pairs = dict.fromkeys((row.arm, row.base) for row in wanted)
    by_name = {(row.arm, row.base, row.metric): row for row in wanted}
    for arm, base in pairs:
        if arm == "ipi" and base == "limit":
            continue
        cells: list[str] = []
        flip = base == "ipi"
        for metric in ("p50", "mean"):
            cells += ratio_cells(by_name.get((arm, base, metric)), flip)
        grid.add_row(f"{base} ÷ {arm}" if flip else f"{arm} ÷ {base}", *cells)
    yield grid
    line = next((row for row in report.timings if row.case == LINE), None)
    if line:
        yield Text(
            f"  limit = direct + one cache-line round trip ({line.p50_ns:.0f} ns p50)", "dim"
        )


def ratio_cells(row: RatioRow | None, flip: bool) -> list[str]:
    """A ratio and its interval, turned over if asked for."""
    if row is None:
        return ["–", "–"]
    value = 1 / row.ratio if flip else row.ratio
    if row.low is None or row.high is None:
        return [_ratio(value), "–"]
    low, high = (1 / row.high, 1 / row.low) if flip else (row.low, row.high)
    return [_ratio(value), f"{_ratio(low)}–{_ratio(high)}"]


def _recording(report: Report) -> Iterator[RenderableType]:
    rows = report.perturbation
    if not rows:
        return
    yield heading("What recording costs", "ns per call, recorded minus not recorded")
    grid = table("", "case", "adds", "low to high", "p50 ÷ p50")
    for row in rows:
        low, high = number(row.added_low_ns), number(row.added_high_ns)
        bounds = f"{low} to {high}" if row.added_low_ns is not None else "–"
        cells = (number(row.added_ns), bounds, _ratio(row.p50_ratio))
        grid.add_row(row.arm, row.case, *cells)
    yield grid


def _calibration(report: Report) -> Iterator[RenderableType]:
    lines = list(calibration_lines(report))
    if lines:
        yield heading("What observing costs", "getppid at the session's start; low to high at 95 %")
        yield from (Text(f"  {line}") for line in lines)


def _ratio(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
