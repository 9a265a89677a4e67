# SPDX-License-Identifier: MIT
"""What the C-library layer counted: the lines of its statistics file, summed up.

Each program that exits or executes another leaves one line; `runtime/layer/stats.h` describes it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memsc.runtime.errors import MemscError
from memsc.runtime.program import check

_GROUPS = ("sites", "unpatched", "forwarded", "local", "missed")


class Tally:
    """Counts of all programs of a run.

    Attributes:
        programs: names of the programs that left their counts, one for each line.
        groups: `forwarded` and `local` calls by system call, `missed` calls by reason, `sites`
            rewritten by kind, `unpatched` sites by reason.
        executing: paths of programs that were executed and left nothing yet, by process.
    """

    def __init__(self) -> None:
        self.programs: list[str] = []
        self.groups: dict[str, Counter[str]] = {group: Counter() for group in _GROUPS}
        self.executing: dict[int, str] = {}

    def add(self, line: str) -> None:
        """Add one program's line; what is not one is passed over, as programs may write there."""
        try:
            found: Any = json.loads(line)
            pid = int(found["pid"])
            if "executes" in found:
                self.executing[pid] = str(found["executes"])
                return
            counts = {
                group: {str(name): int(n) for name, n in found[group].items()} for group in _GROUPS
            }
            program = str(found["program"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        self.programs.append(program)
        self.executing.pop(pid, None)
        for group, by_name in counts.items():
            self.groups[group].update(by_name)

    def rows(self) -> list[tuple[str, int, int]]:
        """(system call, forwarded, local), the most frequent first."""
        forwarded, local = self.groups["forwarded"], self.groups["local"]
        names = sorted(forwarded | local, key=lambda name: (-forwarded[name] - local[name], name))
        return [(name, forwarded[name], local[name]) for name in names]


def read(file: Path) -> Tally:
    """Sum up a statistics file; a missing one is empty."""
    tally = Tally()
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return tally
    for line in text.splitlines():
        tally.add(line)
    return tally


def table(tally: Tally) -> Iterable[str]:
    """The lines of the table, within 80 columns."""
    programs = Counter(tally.programs)
    if not programs:
        yield "no statistics: the program was ended by a signal, or loads no library"
        return
    names = ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in programs.items())
    yield f"programs: {names if len(names) <= 60 else f'{len(tally.programs)}'}"
    yield f"{'system call':<24} {'forwarded':>14} {'by the caller':>14}"
    rows = tally.rows()
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
    for name, forwarded, local in (*rows, total):
        yield f"{name:<24} {forwarded:>14,} {local:>14,}"
    yield from _uncarried(tally)
    for title, group in (
        ("rewritten", "sites"),
        ("left as they were", "unpatched"),
        ("not forwarded for other reasons", "missed"),
    ):
        counts = tally.groups[group]
        if counts:
            listed = ", ".join(f"{name} {n:,}" for name, n in counts.most_common())
            yield f"{title}: {listed}"


def _uncarried(tally: Tally) -> Iterable[str]:
    """What an exec led to that did not count: the chain went on without memsc there."""
    for path, times in Counter(tally.executing.values()).most_common():
        try:
            check(path)
            why = "ended by a signal, or started without memsc's variables"
        except MemscError as error:
            why = error.why
        yield f"ran directly: {path}{f' ×{times}' if times > 1 else ''}: {why}"
