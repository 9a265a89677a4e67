# SPDX-License-Identifier: MIT
"""Options that choose calls by who made them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from memsc.analysis.trace import Trace

_MEANINGS = {
    "comm": "only calls of programs of this name, as ps -o comm has it; may be repeated",
    "pid": "only calls of this process; may be repeated",
    "tid": "only calls of this thread; may be repeated",
}


def add_callers(parser: argparse.ArgumentParser) -> None:
    """Declare that calls may be chosen by command name, process or thread."""
    parser.add_argument("--comm", action="append", metavar="NAME", help=_MEANINGS["comm"])
    for name in ("pid", "tid"):
        parser.add_argument(
            f"--{name}", action="append", type=int, metavar="N", help=_MEANINGS[name]
        )


def by_callers(trace: Trace, args: argparse.Namespace) -> Trace:
    """The trace with the calls that were chosen.

    Raises:
        MemscError: there are none, or the trace does not know the names of programs.
    """
    given = {name: getattr(args, name) for name in _MEANINGS}
    asked = {name: values for name, values in given.items() if values}
    if not asked:
        return trace
    words = " ".join(f"--{name} {value}" for name, values in asked.items() for value in values)
    if "comm" in asked and not trace.totals.has_comm:
        why = f"{trace.name} does not know the names of programs: an earlier memsc made it"
        raise MemscError(words, why, "choose by --pid, or record again", USAGE)
    found = trace.where(comm=asked.get("comm"), pid=asked.get("pid"), tid=asked.get("tid"))
    if not found.cells.sketches:
        raise MemscError(words, f"no such calls in {trace.name}", _known(trace, [*asked]), USAGE)
    return found


def _known(trace: Trace, names: list[str]) -> str:
    """What could have been chosen."""
    from memsc.analysis.data.order import few

    if trace.session.snapshot:
        return "name another"
    frame = trace.totals.df_threads(names)
    found = [f"{name} {few(list(dict.fromkeys(map(str, frame[name]))))}" for name in names]
    return f"it has {'; '.join(found)}"
