# SPDX-License-Identifier: MIT
"""A benchmark that was cut short, made ready to go on: whole rounds stay, all else of it goes."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from memsc.runtime import library
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import (
    CALLS,
    EVENTS,
    TIMINGS,
    Part,
    Round,
    RoundKey,
    Session,
    open_trace,
    range_of,
    read_part,
)
from memsc.tracer.format.tables import COUNTERS


def resume(folder: Path, command: Sequence[str]) -> Session:
    """What an earlier session did of the same command.

    Args:
        folder: its trace. Parts that belong to no finished round are removed.
        command: what is to be done now.

    Returns:
        Its session, with the finished rounds alone.

    Raises:
        MemscError: there is no trace, it is of another command, or the machine was started anew
            since: then it is no longer one run.
    """
    found = open_trace(folder)
    session = found.session
    what = f"going on with {folder}"
    if session.memsc != library.version():
        why = f"it was made by memsc {session.memsc}, this is {library.version()}"
        raise MemscError(what, why, "replace it with -f", USAGE)
    if session.command != list(command):
        why = f"it was made by `{' '.join(session.command)}`"
        raise MemscError(
            what, why, "give the same suites and options, or replace it with -f", USAGE
        )
    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    if datetime.fromisoformat(session.created) < datetime.fromtimestamp(started, UTC):
        why = "the machine was started anew since, and ratios hold within one run"
        raise MemscError(what, why, "replace it with -f", USAGE)
    rounds = [r for r in session.rounds if finished(r)]
    done = {r.key for r in rounds}
    end = max((r.end_ns or 0 for r in rounds), default=0)
    kept = dict.fromkeys(session.probes, 0)
    for table, parts in found.parts.items():
        name = table.removeprefix(f"{EVENTS}/")
        for part in parts:
            if not _belongs(part, done, end):
                part.path.unlink()
            elif name in kept:
                kept[name] += part.rows
    probes = {
        name: msgspec.structs.replace(status, seen=min(status.seen, kept[name]))
        if status.seen is not None
        else status
        for name, status in session.probes.items()
    }
    return msgspec.structs.replace(session, rounds=rounds, probes=probes)


def _belongs(part: Part, done: Container[RoundKey], end: int) -> bool:
    """Whether a part is of a finished round: parts end with rounds, so its first row tells."""
    if part.table in (CALLS, TIMINGS, COUNTERS):
        row = read_part(part, ["arm", "case", "round"]).slice(0, 1).to_pylist()[0]
        return RoundKey(row["arm"], row["case"], row["round"]) in done
    if not part.table.startswith(f"{EVENTS}/"):
        return True  # stacks are named by events
    # Events know no round, but only the last one may be unfinished.
    times = range_of(part, "time")
    return times is not None and times[0] <= end


def finished(done: Round) -> bool:
    """Whether a round does not have to be made again."""
    return done.exit_status == 0 and done.stopped is None
