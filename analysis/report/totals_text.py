# SPDX-License-Identifier: MIT
"""Calls, time and errors by system call and by who made them, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import natural
from memsc.analysis.report.model import Report
from memsc.analysis.report.rows import CallerTotal, SyscallTotal
from memsc.analysis.report.terminal import heading, table

_CALLS = 8  # system calls shown of each arm: those that took most of the time,
_FAILED = 4  # and some that failed and took less
_CALLERS = 8

SYSCALL_HEADERS = ("calls", "time", "share", "mean", "errors", "by errno")
CALLER_HEADERS = ("pid", "threads", "calls", "work", "waits", "errors")

Row = tuple[str, list[str]]


def syscall_rows(report: Report) -> Iterator[tuple[str, list[Row]]]:
    """Of the first case, by arm: a name and the figures of `SYSCALL_HEADERS` each.

    None where there is but one system call, which never failed: the table of stages says it all.
    """
    found = report.totals.syscalls if report.totals else []
    case = min({row.case for row in found}, key=natural, default=None)
    mine = [row for row in found if row.case == case]
    if len({row.syscall for row in mine}) < 2 and not any(row.errors for row in mine):
        return
    for arm in dict.fromkeys(row.arm for row in mine):
        of_arm = [row for row in mine if row.arm == arm]
        work = [row for row in of_arm if row.mode != WAIT]
        waits = [row for row in of_arm if row.mode == WAIT]
        yield f"{arm} {case}", [*_most(work), *_most(waits)]


def _most(rows: Sequence[SyscallTotal]) -> Iterator[Row]:
    failed = [row for row in rows[_CALLS:] if row.errors]
    failed = sorted(failed, key=lambda row: -row.errors)[:_FAILED]
    shown = [*rows[:_CALLS], *(row for row in rows[_CALLS:] if row in failed)]
    for row in shown:
        # What posts ahead and what waits may be the same system call.
        mode = "" if row.mode == "sync" else f" ({row.mode})"
        errnos = ", ".join(f"{name}={count:,}" for name, count in row.errnos.items())
        figures = [short_ns(row.total_ns), _share(row.share), short_ns(row.mean_ns)]
        yield row.syscall + mode, [f"{row.calls:,}", *figures, _count(row.errors), errnos]
    rest = [row for row in rows if row not in shown]
    if rest:
        calls, ns = sum(row.calls for row in rest), sum(row.total_ns for row in rest)
        share = sum(row.share or 0.0 for row in rest)
        errors = sum(row.errors for row in rest)
        figures = [short_ns(ns), _share(share), short_ns(ns / calls), _count(errors), ""]
        yield f"{len(rest)} more", [f"{calls:,}", *figures]


def caller_rows(report: Report) -> Iterator[tuple[str, list[Row]]]:
    """Of the first case, by arm: who made the calls, with the figures of `CALLER_HEADERS`.

    Processes of one round; of several rounds, in which these are others each time, programs. None
    where a single thread made all of a round, or a single program all of several.
    """
    if report.totals is None:
        return
    case = min({row.case for row in report.totals.programs}, key=natural, default=None)
    for arm in dict.fromkeys(row.arm for row in report.totals.programs if row.case == case):
        once = all(of.rounds == 1 for name, of in report.arms[arm].cases.items() if name == case)
        found = report.totals.processes if once else report.totals.programs
        mine = [row for row in found if (row.arm, row.case) == (arm, case)]
        if len(mine) > 1 or (once and any(row.threads > 1 for row in mine)):
            yield f"{arm} {case}", [*_callers(mine)]


def _callers(rows: Sequence[CallerTotal]) -> Iterator[Row]:
    for row in rows[:_CALLERS]:
        pid = f"×{row.processes}" if row.pid is None else str(row.pid)
        figures = [short_ns(row.work_ns), short_ns(row.wait_ns), _count(row.errors)]
        yield row.comm or "?", [pid, str(row.threads), f"{row.calls:,}", *figures]
    rest = rows[_CALLERS:]
    if rest:
        times = [sum(row.work_ns for row in rest), sum(row.wait_ns for row in rest)]
        threads, calls = (sum(getattr(row, name) for row in rest) for name in ("threads", "calls"))
        errors = _count(sum(row.errors for row in rest))
        yield f"{len(rest)} more", ["", str(threads), f"{calls:,}", *map(short_ns, times), errors]


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _count(errors: int) -> str:
    return f"{errors:,}" if errors else ""


def totals(report: Report) -> Iterator[RenderableType]:
    """The sections; none where there is nothing to add up."""
    calls, callers = list(syscall_rows(report)), list(caller_rows(report))
    if calls:
        note = "time of all of them; share of work, and of waits"
        yield heading("System calls", _estimated(report, note))
        grid = table("", *SYSCALL_HEADERS)
        errors = grid.columns[-1]
        # Of which there may be many: they take lines of their own, and no room from figures.
        errors.justify, errors.no_wrap = "left", False
        yield _filled(grid, calls)
    if callers:
        yield heading("Who made the calls", _estimated(report, "by the time of their work"))
        yield _filled(table("", *CALLER_HEADERS), callers)


def _estimated(report: Report, note: str) -> str:
    """A section's note; where not each call was recorded, with that."""
    return f"{note} · estimated" if report.record_every else note


def _filled(grid: Table, groups: Sequence[tuple[str, list[Row]]]) -> RenderableType:
    for title, rows in groups:
        grid.add_row(title, style="bold")
        for name, cells in rows:
            grid.add_row(f"  {name}", *cells)
    return grid
