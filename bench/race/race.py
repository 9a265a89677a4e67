# SPDX-License-Identifier: MIT
"""`memsc bench analysis`: our table of stages against the same one of other libraries.

The contestants take turns on one file, each time in a process of their own, so that nobody finds
memory warm or full of another's. Their tables are compared before their times are.
"""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memsc.analysis.data.statistics import PERCENTILES
from memsc.bench.race.contestants import CONTESTANTS, FIGURES, KEY
from memsc.bench.verdict.targets import Target
from memsc.runtime.errors import MemscError
from memsc.tracer.format import CALLS, Environment, TraceFolder

SCHEMA = 1
SUITE = "analysis"
OURS, READING = "memsc", "pyarrow"
MOST_OF_READING = 1.2
"""What the full stage report may cost, in times of only reading its columns."""
_SAME = 0.02  # of a figure: our quantiles have their bins' width
_NEXT = "pandas"  # takes the call at a quantile's rank or the next one, which may be far off


@dataclass(frozen=True, slots=True)
class Runner:
    """What one contestant took, or one whole command (see `memsc.bench.race.answers`).

    Attributes:
        seconds: of each turn: a contestant's without its imports, a command's from start to end.
        mb: its highest resident memory of all turns; None for a command where that is no more than
            this process has, for a child begins with its parent's.
        reason: why it did not run, or not end well; then the others are empty.
    """

    name: str
    seconds: tuple[float, ...] = ()
    mb: float | None = None
    reason: str | None = None

    @property
    def middle(self) -> float | None:
        """The median turn, None if there was none."""
        return statistics.median(self.seconds) if self.seconds else None


def contestants() -> list[str]:
    """Who takes part here: peers that are not installed do not."""
    return [name for name in CONTESTANTS if _installed(name)]


def race(
    folder: TraceFolder,
    turns: int,
    scratch: Path,
    progress: Callable[[str], None] | None = None,
) -> list[Runner]:
    """Lets all contestants do their work on a trace, in turn (A B C, C B A, …).

    Args:
        folder: the trace.
        turns: of each.
        scratch: folder for their tables.
        progress: told who is next.

    Raises:
        MemscError: one of them failed, or its table is not the others'.
    """
    names = contestants()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names if turn % 2 == 0 else reversed(names):
            if progress:
                progress(name)
            found[name].append(_once(name, folder, scratch / f"{name}.parquet"))
    _compare(scratch, [name for name in names if name != READING])
    missing = "not installed: pip install 'memsc[peers]'"
    return [
        Runner(name, tuple(t["seconds"] for t in done), max(t["mb"] for t in done))
        if (done := found.get(name))
        else Runner(name, reason=missing)
        for name in CONTESTANTS
    ]


def targets(runners: Sequence[Runner]) -> list[Target]:
    """What was promised, held or missed."""
    by_name = {runner.name: runner for runner in runners}
    ours = by_name[OURS].middle
    found = [_target(f"{OURS} ÷ {READING} only reading", ours, by_name[READING], MOST_OF_READING)]
    peers = [name for name in CONTESTANTS if name not in (OURS, READING)]
    return found + [_target(f"{OURS} ÷ {name}", ours, by_name[name], 1.0) for name in peers]


def race_json(
    folder: TraceFolder, runners: Sequence[Runner], environment: Environment
) -> dict[str, Any]:
    """The contract of `bench --json`: `rows` hold seconds and MB of each contestant."""
    case = f"{folder.rows(CALLS)} calls"
    rows: list[dict[str, Any]] = []
    for runner in runners:
        common = {"suite": SUITE, "case": case, "arm": runner.name, "n": len(runner.seconds)}
        why = {"reason": runner.reason} if runner.reason else {}
        low, high = (min(runner.seconds), max(runner.seconds)) if runner.seconds else (None, None)
        bounds = {"low": low, "high": high, **why}
        rows.append({**common, "metric": "seconds", "value": runner.middle, **bounds})
        unbounded = {"low": None, "high": None, **why}
        rows.append({**common, "metric": "peak_mb", "value": runner.mb, **unbounded})
    return {
        "schema": SCHEMA,
        "rows": rows,
        "targets": [asdict(target) for target in targets(runners)],
        "environment": msgspec.to_builtins(environment, str_keys=True),
    }


def render(
    folder: TraceFolder, runners: Sequence[Runner], more: Sequence[Target] = ()
) -> RenderableType:
    """The race for people, 80 columns wide, and what was promised, with some more of that."""
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    grid.add_column(f"stages of {folder.rows(CALLS):,} calls", ratio=1)
    for name in ("seconds", "lowest–highest", "MB", "÷ reading"):
        grid.add_column(name, justify="right", no_wrap=True)
    reading = next(runner.middle for runner in runners if runner.name == READING)
    for runner in runners:
        if runner.middle is None:
            grid.add_row(runner.name, "–", "–", "–", Text(runner.reason or "", "yellow"))
            continue
        spread = f"{min(runner.seconds):.2f}–{max(runner.seconds):.2f}"
        ratio = f"{runner.middle / reading:.1f}" if reading else "–"
        grid.add_row(runner.name, f"{runner.middle:.2f}", spread, f"{runner.mb:,.0f}", ratio)
    lines = [_line(target) for target in (*targets(runners), *more)]
    note = "pyarrow only reads the columns; memsc's table has an interval on every figure"
    return Group(grid, Text(note, "dim"), Text("Targets", "bold"), *lines)


def _line(target: Target) -> Text:
    value = "–" if target.value is None else f"{target.value:.2f}"
    sign, style = {True: ("✓ held", "green"), False: ("✗ missed", "red")}.get(
        target.held is True, ("", "")
    )
    if target.held is None:
        sign, style = f"? {target.reason}", "yellow"
    return Text.assemble(f"  {target.name} {value} ({target.bound}) ", (sign, style))


def _target(name: str, ours: float | None, other: Runner, most: float) -> Target:
    value = ours / other.middle if ours is not None and other.middle else None
    held = None if value is None else value <= most
    return Target(name, value, f"<= {most:g}", held, other.reason)


def _installed(name: str) -> bool:
    return name == OURS or importlib.util.find_spec(name) is not None


def _once(name: str, folder: TraceFolder, table: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "memsc.bench.race.contestants",
        name,
        str(folder.path),
        str(table),
    ]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise MemscError(f"bench analysis: {name}", said, "install its pinned version")
    return json.loads(done.stdout)


def _compare(scratch: Path, names: Sequence[str]) -> None:
    key = [*KEY, "stage"]
    tables = {
        name: pd.read_parquet(scratch / f"{name}.parquet").set_index(key).sort_index()
        for name in names
    }
    ours = tables.pop(OURS)
    for name, theirs in tables.items():
        why = None
        if not ours.index.equals(theirs.index):
            why = f"{len(ours)} rows against {len(theirs)}, or other names"
        else:
            # Where ours says that the calls are too few, theirs has a figure all the same.
            far = (ours[FIGURES] - theirs[FIGURES]) / (theirs[FIGURES].abs() + 1)
            if name == _NEXT:
                far[[*PERCENTILES]] = far[[*PERCENTILES]].clip(lower=0)
            far = far.abs()
            worst = float(far.max().max())
            why = f"figures differ by {worst:.1%}" if worst > _SAME else None
            why = "nothing to compare" if math.isnan(worst) else why
        if why:
            remedy = "this is a fault of memsc's: please report it"
            raise MemscError(f"bench analysis: {name}'s table is not ours", why, remedy)
