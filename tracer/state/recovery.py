# SPDX-License-Identifier: MIT
"""Brings home what a killed session had recorded and not written: into its trace, as a last round.

Its folder is this user's alone, yet all in it is looked at as input: the session may have been
killed at any moment, and programs write what they like into their regions. Whoever is killed here
leaves the rest to the next; what is in the trace by then is not written again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from memsc.runtime.errors import MemscError
from memsc.runtime.library import syscall_name
from memsc.runtime.region import Region, regions
from memsc.tracer.format import CALLS, SESSION, Round, Session, open_trace, read_part
from memsc.tracer.format.reader import TraceFolder
from memsc.tracer.format.session_file import sums
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.state import folders
from memsc.tracer.state.backlog import Backlog, Kept

_PATIENCE_S, _BETWEEN_S = 10.0, 0.05


class Home(NamedTuple):
    """What became of a dead session's round.

    Args:
        trace: where it was to go.
        calls: how many came; None: there is no such trace any more, and nothing was touched.
    """

    trace: str
    calls: int | None


def bring_home(folder: Path, given: Sequence[Path] = ()) -> Home | None:
    """Finish the round that a dead session was in the midst of.

    Args:
        folder: the session's, this user's.
        given: where its trace may be by now, if it was moved.

    Returns:
        What came; None if there was nothing to bring, or another process has brought it.

    Raises:
        MemscError: the trace cannot be read or written; what is to come stays where it is.
        BlockingIOError: another process is at it, and has been for long; so it does then, too.
    """
    with _alone(folder) as alone:
        found = Backlog.found(folder) if alone else None
        if found is None:
            return None
        kept, backlog = found
        try:
            trace = _trace_of(kept, [Path(kept.trace), *given])
            if trace is None:
                return Home(kept.trace, None)
            if kept.round.key in {r.key for r in trace.session.rounds}:
                return None  # it was over, and all of it written
            return Home(str(trace.path), _bring(kept, backlog, trace))
        finally:
            backlog.close()


@contextmanager
def _alone(folder: Path) -> Generator[bool]:
    """Nobody else does it meanwhile; false where somebody has.

    Raises:
        BlockingIOError: somebody does, for longer than patience lasts.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # somebody has, and it is gone
        yield False
        return
    try:
        _lock(lock)
        yield os.fstat(lock).st_nlink > 0
    finally:
        os.close(lock)


def _lock(lock: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(_BETWEEN_S)
        else:
            return


def _trace_of(kept: Kept, places: Sequence[Path]) -> TraceFolder | None:
    for place in places:
        try:
            status = place.stat()
        except OSError:
            continue
        same = (status.st_dev, status.st_ino) == (kept.device, kept.inode)
        if same and (place / SESSION).exists():
            trace = open_trace(place)
            if trace.session.created == kept.created:
                return trace
    return None


def _bring(kept: Kept, backlog: Backlog, trace: TraceFolder) -> int:
    written = trace.rows(CALLS)
    backlog.goes_on_at(written)
    before = backlog.state.unnamed
    if kept.attached is not None:
        _empty(backlog, Path(kept.attached.region), stays=True)
    elif backlog.folder is not None:
        closed = backlog.state.closed
        # One that somebody had emptied and not removed is removed first: only the last is known.
        for path in sorted(regions(backlog.folder), key=lambda path: path.lstat().st_ino != closed):
            _empty(backlog, path)
    gone = backlog.missing(written)
    with TraceWriter(trace.path) as writer:
        for pid, comm, calls in backlog.take(written):
            writer.calls(kept.round.key, pid, calls, syscall_name, comm)
    now = open_trace(trace.path)
    done = _told(kept, backlog, now, gone=gone, known=not before)
    _save(writer, trace.session, done)
    return now.rows(CALLS) - written


def _empty(backlog: Backlog, path: Path, *, stays: bool = False) -> None:
    """Take all that a region holds; its program, if it runs still, goes on unrecorded.

    Args:
        backlog: where to.
        path: its file.
        stays: it was there before the session, and is its program's.
    """
    try:
        # The dead session's claim of one that was handed to it lasts as long as its program.
        region = Region(path, exclusive=stays)
    except MemscError:  # its program was killed while it made it, or has gone since
        return
    with region:
        state, pid = backlog.state, region.pid
        if region.inode != state.closed:
            backlog.told(region)
            alive = folders.is_alive(pid, int(region["start_time"]))
            region.recording = False
            for _ in range(region.drains):
                for slot, start, calls in region.taken():
                    backlog.add(region, pid, slot, start, calls)
            counts = region.counts()
            # What a program calls from now on is counted there, too.
            known = region.drained + counts.dropped + counts.skipped
            state.made += known if alive else counts.made
            state.skipped += counts.skipped
            state.local += counts.local
            state.dropped += counts.dropped
            state.unfinished += 0 if alive else counts.unfinished
            state.closed = region.inode
            backlog.note()
    if not stays:
        path.unlink(missing_ok=True)


def _told(kept: Kept, backlog: Backlog, trace: TraceFolder, *, gone: int, known: bool) -> Round:
    """The round, as far as anybody knows now."""
    pids, last = _look(trace, kept.first)
    state = backlog.state
    calls = trace.rows(CALLS) - kept.first
    facts: dict[str, Any] = {
        # Whatever is missing is lost, were it that somebody has spoilt what lay there.
        "lost": max(state.dropped + gone, state.made - calls - state.unfinished - state.skipped),
        "made": state.made,
        "unfinished": state.unfinished,
        "skipped": state.skipped,
        "local": state.local,
    }
    if (ran := kept.attached) is not None and state.closed:
        # What it made and what was local is counted all its life, recorded or not.
        facts = {
            "lost": max(state.dropped - ran.dropped, 0) + gone,
            "skipped": max(state.skipped - ran.skipped, 0),
        }
    elif ran is not None or not known:  # regions have gone, and what they held
        facts = {}
    if last is not None:
        facts["end_cycles"] = last
        facts["end_ns"] = int(trace.session.clock.ns(np.array([last]))[0])
    # Events that were on their way are gone: nothing of this round is judged by probes.
    facts |= {"stopped": "killed", "probes": [], "pids": pids, "calls": calls}
    return msgspec.structs.replace(kept.round, **facts)


def _look(trace: TraceFolder, first: int) -> tuple[list[int], int | None]:
    """Processes of the calls from a row on, and their last stamp; parts end with rounds."""
    pids: set[int] = set()
    ends: list[int] = []
    at = 0
    for part in trace.parts.get(CALLS, []):
        at += part.rows
        if at > first:
            rows = read_part(part, ["pid", "completed"])
            pids.update(rows["pid"].to_numpy().tolist())
            ends.append(int(rows["completed"].to_numpy().max()))
    return sorted(pids), max(ends, default=None)


def _save(writer: TraceWriter, session: Session, done: Round) -> None:
    rounds = [*session.rounds, done]
    arms = {
        name: msgspec.structs.replace(arm, **sums(name, rounds))
        for name, arm in session.arms.items()
    }
    writer.session(msgspec.structs.replace(session, arms=arms, rounds=rounds))
