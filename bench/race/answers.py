# SPDX-License-Identifier: MIT
"""How long a user waits for an answer: whole commands, each a process of its own, imports and all.

Commands take turns, as libraries do in `memsc.bench.race.race`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memsc.bench.race.race import Runner
from memsc.bench.verdict.targets import Target
from memsc.tracer.format import CALLS, TraceFolder

_MEMSC = [sys.executable, "-m", "memsc.commands"]
_READ = (
    "import sys, pathlib, pyarrow.parquet as p\n"
    "for path in sorted(pathlib.Path(sys.argv[1]).rglob('*.parquet')): p.read_table(path)"
)
READING, REPORT = "pyarrow, only reading all of it", "memsc report"
SMALL = "not above that of the benchmark itself"
MOST_SECONDS = {
    "memsc report of ls": 1.0,
    "memsc export --format hgrm of ls": 0.7,
    "memsc doctor": 1.2,
    "memsc trace ls": 2.0,
    "memsc trace --probes none ls": 0.5,
}
"""What a command may take."""
MOST_OF_READING_ALL = 2.5
"""What the whole report of the source may take, in times of only reading its files."""
MOST_MB = 350
"""What it may take of memory."""


def commands(source: Path, scratch: Path) -> dict[str, list[str]]:
    """What is run, by name; those of `ls` look at the trace that the first one makes."""
    small, plain, out = (str(scratch / name) for name in ("ls.memsc", "plain.memsc", "out"))
    return {
        "memsc trace ls": [*_MEMSC, "trace", "-f", "-o", small, "--", "ls", "-R", str(source)],
        "memsc trace --probes none ls": [
            *(*_MEMSC, "trace", "-f", "-o", plain, "--probes", "none", "--", "ls", str(source)),
        ],
        "memsc report of ls": [*_MEMSC, "report", small],
        "memsc export --format hgrm of ls": [
            *(*_MEMSC, "export", small, "--format", "hgrm", "-f", "-o", out),
        ],
        "memsc doctor": [*_MEMSC, "doctor"],
        REPORT: [*_MEMSC, "report", str(source)],
        READING: [sys.executable, "-c", _READ, str(source)],
    }


def answers(
    source: Path, turns: int, scratch: Path, progress: Callable[[str], None] | None = None
) -> list[Runner]:
    """Runs every command so often, in turn (A B C, C B A, …), once before that is not counted.

    Args:
        source: the trace that is reported whole.
        turns: of each.
        scratch: folder for what the commands write.
        progress: told who is next.
    """
    known = commands(source, scratch)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
    failed: dict[str, str] = {}
    for turn in range(turns + 1):
        for name in list(known) if turn % 2 == 0 else list(reversed(known)):
            if name in failed:
                continue
            if progress:
                progress(name)
            seconds, mb, why = _once(known[name])
            if why:
                failed[name] = why
            elif turn:
                found[name].append((seconds, mb))
    return [
        Runner(name, reason=failed[name])
        if name in failed
        else Runner(name, tuple(s for s, _ in done), _above_ours(max(mb for _, mb in done)))
        for name, done in found.items()
    ]


def _above_ours(mb: float) -> float | None:
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return mb if mb > ours else None


def _once(command: list[str]) -> tuple[float, float, str | None]:
    """Seconds, MB, and why it failed."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = code = os.waitstatus_to_exitcode(status)
    # 4: the verdict of what was reported is withheld, which takes as long.
    lines = said.decode(errors="replace").strip().splitlines()
    why = None if code in (0, 4) else (lines[-1] if lines else f"status {code}")
    return seconds, usage.ru_maxrss / 1024, why


def targets(found: Sequence[Runner]) -> list[Target]:
    """What was promised, held or missed."""
    by_name = {answer.name: answer for answer in found}
    every = [
        _target(f"{name}, seconds", by_name[name].middle, most, by_name[name].reason)
        for name, most in MOST_SECONDS.items()
    ]
    report, reading = by_name[REPORT], by_name[READING]
    ratio = report.middle / reading.middle if report.middle and reading.middle else None
    reason = report.reason or reading.reason
    return [
        *every,
        _target(f"{REPORT} ÷ {READING}", ratio, MOST_OF_READING_ALL, reason),
        _target(
            f"{REPORT}, MB", report.mb, MOST_MB, report.reason or (None if report.mb else SMALL)
        ),
    ]


def _target(name: str, value: float | None, most: float, reason: str | None) -> Target:
    return Target(name, value, f"<= {most:g}", None if value is None else value <= most, reason)


def rows(source: TraceFolder, found: Sequence[Runner]) -> list[dict[str, Any]]:
    """Rows of `bench --json`: seconds and MB of each command."""
    out: list[dict[str, Any]] = []
    for one in found:
        whole = one.name in (REPORT, READING)
        case = f"{source.rows(CALLS)} calls" if whole else "command"
        common = {"suite": "answers", "case": case, "arm": one.name, "n": len(one.seconds)}
        why = {"reason": one.reason} if one.reason else {}
        low, high = (min(one.seconds), max(one.seconds)) if one.seconds else (None, None)
        seconds = {"metric": "seconds", "value": one.middle, "low": low, "high": high}
        out.append({**common, **seconds, **why})
        memory = {"metric": "peak_mb", "value": one.mb, "low": None, "high": None}
        small = {} if one.mb or why else {"reason": SMALL}
        out.append({**common, **memory, **why, **small})
    return out


def render(source: TraceFolder, found: Sequence[Runner]) -> RenderableType:
    """The commands for people, 80 columns wide."""
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    grid.add_column("answers", ratio=1)
    for name in ("seconds", "lowest–highest", "MB"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in found:
        if one.middle is None:
            grid.add_row(one.name, "–", "–", Text(one.reason or "", "yellow"))
            continue
        spread = f"{min(one.seconds):.2f}–{max(one.seconds):.2f}"
        grid.add_row(one.name, f"{one.middle:.2f}", spread, f"{one.mb:,.0f}" if one.mb else "–")
    tables = ", ".join(f"{sum(p.rows for p in some):,} {n}" for n, some in source.parts.items())
    return Group(grid, Text(f"{REPORT} and {READING}: {tables}", "dim"))
