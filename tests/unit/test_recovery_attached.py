# SPDX-License-Identifier: MIT
"""A session that attached to a program is killed before each single thing that it does."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path

from tests.helpers.killed_sessions import DEAD, KEY, Killed, Program, Steps, begin

from memsc.runtime.region import Region
from memsc.tracer.format import CALLS, open_trace
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.sink import Everything
from memsc.tracer.state.backlog import Backlog, Before, State
from memsc.tracer.state.recovery import bring_home


def attached(tmp_path: Path, folder: Path, path: Path, step: int) -> tuple[Program, int]:
    """A session that is killed before its step of that number, and its program goes on."""
    program = Program(path.parent, path.name)
    program.calls(range(1, 4))
    program.passes(dropped=5, skipped=7)
    before = Before(str(path), 5, 7)
    with Region(path) as region:
        region.drain()
        region.known_as(os.getpid())
        writer, backlog = begin(tmp_path, folder, before)
        steps = Steps(step)
        try:
            with steps.counted():
                drain = Drain(Everything(writer), KEY, region, backlog=backlog)
                program.calls(range(4, 11))
                program.passes(skipped=70)
                drain.save()
                program.calls(range(11, 16))
                program.passes(dropped=6, skipped=100)
                drain.finish()
                writer.flush()
        except Killed:
            program.calls(range(16, 18))
            program.passes(dropped=9, skipped=120)
    return program, steps.done


def _state(folder: Path) -> State:
    found = Backlog.found(folder)
    assert found is not None
    return found[1].state


def test_whenever_a_session_is_killed_that_attached_all_since_is_counted_once(
    tmp_path: Path, session_folder: Path
) -> None:
    step = 0
    for step in count():
        path = session_folder.parent / f"{DEAD}-1-0.region"
        program, done = attached(tmp_path, session_folder, path, step)
        ended = _state(session_folder).closed == path.stat().st_ino
        assert bring_home(session_folder) is not None
        (found,) = open_trace(tmp_path / "t.memsc").session.rounds
        rows = open_trace(tmp_path / "t.memsc").rows(CALLS)
        assert rows == found.calls
        now = (program.made - 3, program.passed["dropped"] - 5, program.passed["skipped"] - 7)
        of_session = (12, 1, 93) if ended else now  # what the program did afterwards is not its
        assert (found.calls, found.lost, found.skipped, found.made) == (*of_session, None)
        path.unlink()
        shutil.rmtree(tmp_path / "t.memsc")
        shutil.rmtree(session_folder)
        session_folder.mkdir(parents=True)
        if done < step:
            break
    assert step > 5


def test_what_has_gone_that_was_attached_to_is_not_known(
    tmp_path: Path, session_folder: Path
) -> None:
    """Its program has removed its file before anybody came."""
    writer, _ = begin(tmp_path, session_folder, Before("/dev/shm/none.region", 5, 7))
    writer.flush()
    assert bring_home(session_folder) is not None
    (done,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert (done.calls, done.lost, done.made, done.skipped) == (0, None, None, None)
