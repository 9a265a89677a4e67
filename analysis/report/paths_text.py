# SPDX-License-Identifier: MIT
"""Where the calls come from, in a report: the paths that took most, as lines of 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.modes import WAITS
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.report.model import Report
from memsc.analysis.report.rows import PathRow
from memsc.analysis.report.terminal import heading

_SHOWN = 5
_LONGEST = 72  # of a path in a line
_WORTH = 0.05
"""The share of frames from which on a file is worth a word."""
_FILES = 3
_ORDERS: tuple[tuple[Callable[[PathRow], float], str], ...] = (
    (lambda row: row.total_ns, "most time"),
    (lambda row: row.tail_ns, "most time in the slowest 1 %"),
    (lambda row: row.failed, "most errors"),
)


def path_rows(report: Report) -> Iterator[tuple[str, str, list[PathRow]]]:
    """By arm, and by each of what paths are put in order by: the arm, the order, its first rows."""
    found = report.paths
    if found is None:
        return
    work = _work(found.rows)
    for arm in dict.fromkeys(row.arm for row in work):
        mine = [row for row in work if row.arm == arm]
        for by, words in _ORDERS:
            rows = sorted((row for row in mine if by(row)), key=by, reverse=True)
            if rows:
                yield arm, words, rows[:_SHOWN]


def _work(rows: Sequence[PathRow]) -> list[PathRow]:
    """Those of calls that are not there to wait."""
    return [row for row in rows if row.syscall not in WAITS]


def path_figures(row: PathRow, total_ns: float) -> str:
    """What is known of a path, in a line."""
    share = 100 * row.total_ns / total_ns if total_ns else 0.0
    error = 100 * row.total_error_ns / total_ns if total_ns else 0.0
    words = [
        f"{share:.1f} ±{error:.1f} %",
        f"{row.calls:,.0f} calls of {short_ns(row.total_ns / row.calls)}",
    ]
    if row.tail_ns:
        words.append(f"tail {short_ns(row.tail_ns)}")
    if row.failed:
        words.append(f"{row.failed:,.0f} failed")
    return " · ".join([*words, f"{row.samples} looked at"])


def path_words(names: Sequence[str], most: int) -> str:
    """A path from the outermost frame on, what is in the middle left out where it is long."""
    # What is before main is the same in every program.
    shown = list(names[names.index("main") :] if "main" in names else names)
    words = " → ".join(shown)
    cut = 0
    while len(words) > most and len(shown) > 2:
        # The outermost and the innermost frames say most; of those between the outer ones least.
        shown.pop(1)
        cut += 1
        words = " → ".join([shown[0], f"… {cut} …", *shown[1:]])
    return words if len(words) <= most else f"…{words[-most:]}"


def arm_totals(report: Report) -> dict[str, float]:
    """Nanoseconds of all calls that are not there to wait, by arm."""
    totals: dict[str, float] = {}
    for row in _work(report.paths.rows) if report.paths else []:
        totals[row.arm] = totals.get(row.arm, 0.0) + row.total_ns
    return totals


def nameless_words(report: Report) -> str:
    """What is to be known of functions without names; nothing if they are few."""
    shares = report.paths.nameless if report.paths else {}
    worth = sorted(((n, m) for m, n in shares.items() if n >= _WORTH), reverse=True)[:_FILES]
    if not worth:
        return ""
    lie = ", ".join(f"{100 * share:.0f} % in {module}" for share, module in worth)
    return f"Frames without a name: {lie}; debug files, there when it is recorded, name them."


def path_tables(report: Report, longest: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """By arm and order: a title, and of each path its words and figures.

    Args:
        report: what is shown.
        longest: characters of a path, beyond which its middle is left out.
    """
    totals = arm_totals(report)
    for arm, words, rows in path_rows(report):
        yield (
            f"{arm}, {words}",
            [(path_words(row.path, longest), path_figures(row, totals[arm])) for row in rows],
        )


def looked_words(report: Report) -> str:
    """What the figures are made of."""
    calls = report.paths.calls if report.paths else 0
    noun = "call" if calls == 1 else "calls"
    return f"{calls:,} {noun} looked at; ± is one standard error"


def paths(report: Report) -> Iterator[RenderableType]:
    """The section; nothing without the probe."""
    tables = list(path_tables(report, _LONGEST))
    for title, rows in tables:
        yield heading(f"Where the calls come from: {title}")
        for path, figures in rows:
            yield Text(f"  {path}")
            yield Text(f"      {figures}", "dim")
    if tables:
        yield Text()
        for line in filter(None, (f"{looked_words(report)}.", nameless_words(report))):
            yield Text(f"  {line}", "dim")
