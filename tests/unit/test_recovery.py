# SPDX-License-Identifier: MIT
"""A session is killed before each single thing that it does; whoever brings its calls home, too."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.helpers import traces
from tests.helpers.killed_sessions import COMM, DEAD, KEY, Killed, Program, Steps, begin

from memsc.runtime.session_socket import SessionSocket
from memsc.tracer.format import CALLS, Round, open_trace
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.sink import Everything
from memsc.tracer.state import folders, recovery
from memsc.tracer.state.backlog import Backlog, Kept
from memsc.tracer.state.leftovers import Cleaned, clean
from memsc.tracer.state.recovery import bring_home


def cleaned(folder: Path) -> Cleaned:
    """By `memsc clean`."""
    return clean(folder.parents[1], kernel=False)


def record(writer: TraceWriter, backlog: Backlog, programs: list[Program]) -> None:
    """The round: two programs make calls, one of them ends, some are written before the rest."""
    with SessionSocket() as session, socket.socket(fileno=os.dup(session.end.number)) as end:
        drain = Drain(Everything(writer), KEY, session, backlog=backlog)
        one, other = programs
        socket.send_fds(end, [b'{"region": true}'], [one.fd])
        one.calls(range(1, 11))
        drain.step()
        drain.save()
        socket.send_fds(end, [b'{"region": true}'], [other.fd])
        other.calls(range(11, 31))
        one.calls(range(31, 71))
        drain.step()
        one.calls(range(71, 81))
        one.finishes()
        drain.step()
        other.calls(range(81, 101))
        drain.save()
        other.calls(range(101, 111))
        other.finishes()
        drain.finish()
        writer.flush()


def looked_through(tmp_path: Path, programs: list[Program]) -> Round:
    trace = open_trace(tmp_path / "t.memsc")
    (done,) = trace.session.rounds
    rows = trace.read(CALLS) if trace.rows(CALLS) else None
    stamps = [] if rows is None else sorted(rows["called"].to_numpy().tolist())
    made = sum(program.made for program in programs)
    assert stamps == list(range(1, len(stamps) + 1))  # each once
    assert rows is None or set(rows["comm"].to_pylist()) == {COMM}
    assert done.calls == len(stamps)
    assert (done.lost, done.made) == (0, made)
    assert len(stamps) + (done.unfinished or 0) == made
    assert trace.session.arms["memsc"].calls == len(stamps)
    return done


def killed_at(step: int, tmp_path: Path, folder: Path) -> tuple[list[Program], int]:
    """One that is killed before its step of that number; how many it did."""
    writer, backlog = begin(tmp_path, folder)
    assert backlog.folder is not None
    programs = [Program(backlog.folder, f"{DEAD}-{i}-0.region") for i in range(2)]
    steps = Steps(step)
    try:
        with steps.counted():
            record(writer, backlog, programs)
    except Killed:
        for program in programs:
            program.begins_one()
    return programs, steps.done


def test_a_session_may_have_thousands_of_descriptors(tmp_path: Path, session_folder: Path) -> None:
    """As one of a thousand processes has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        writer, backlog = begin(tmp_path, session_folder)
        programs = [Program(session_folder / "round", f"{DEAD}-{i}-0.region") for i in range(2)]
        record(writer, backlog, programs)
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_trace(tmp_path / "t.memsc").rows(CALLS) == sum(one.made for one in programs)


def test_whenever_a_session_is_killed_each_call_is_there_once(
    tmp_path: Path, session_folder: Path
) -> None:
    step = 0
    for step in count():
        programs, done = killed_at(step, tmp_path, session_folder)
        found = cleaned(session_folder)
        assert not found.failed
        assert found.brought
        round_ = looked_through(tmp_path, programs)
        assert (round_.stopped, round_.probes) == ("killed", [])
        assert not session_folder.exists()
        shutil.rmtree(tmp_path / "t.memsc")
        session_folder.mkdir(parents=True)
        if done < step:
            break
    assert step > 20


@pytest.mark.parametrize("at", [4, 15, 1000])
def test_so_it_is_if_who_brings_them_home_is_killed_as_well(
    at: int, tmp_path: Path, session_folder: Path
) -> None:
    step = 0
    for step in count():
        programs, _ = killed_at(at, tmp_path, session_folder)
        steps = Steps(step)
        try:
            with steps.counted():
                bring_home(session_folder)
        except Killed:
            bring_home(session_folder)
        looked_through(tmp_path, programs)
        shutil.rmtree(tmp_path / "t.memsc")
        if steps.done < step:
            break
    assert step > 3


def test_what_another_is_bringing_home_stays_until_it_has(
    tmp_path: Path, session_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: its regions were removed under it after ten seconds."""
    programs, _ = killed_at(20, tmp_path, session_folder)
    monkeypatch.setattr(recovery, "_PATIENCE_S", 0.1)
    other = os.open(session_folder, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        found = cleaned(session_folder)
        [kept] = found.in_use
        assert kept.reason == "another memsc is bringing its calls home"
        assert (found.brought, found.failed) == ([], [])
    finally:
        os.close(other)
    assert cleaned(session_folder).brought
    assert not session_folder.exists()
    looked_through(tmp_path, programs)


def test_a_round_that_was_over_comes_no_second_time(tmp_path: Path, session_folder: Path) -> None:
    programs, _ = killed_at(-1, tmp_path, session_folder)
    assert bring_home(session_folder) is not None
    assert bring_home(session_folder) is None
    looked_through(tmp_path, programs)


def test_a_trace_that_was_moved_is_found_if_named(tmp_path: Path, session_folder: Path) -> None:
    programs, _ = killed_at(20, tmp_path, session_folder)
    moved = (tmp_path / "t.memsc").rename(tmp_path / "u.memsc")
    other = tmp_path / "t.memsc"
    traces.fabricate(other, rounds=1, calls=10)
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    found = bring_home(session_folder)
    assert found is not None
    assert found.calls is None
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before
    done = Cleaned(given=[tmp_path, moved])
    assert bring_home(session_folder, done.given) is not None
    shutil.rmtree(other)
    moved.rename(other)
    looked_through(tmp_path, programs)


def test_without_its_trace_it_is_dropped_by_clean_and_said(
    tmp_path: Path, session_folder: Path
) -> None:
    killed_at(20, tmp_path, session_folder)
    shutil.rmtree(tmp_path / "t.memsc")
    (brought,) = cleaned(session_folder).brought
    assert (brought.trace, brought.calls) == (str(tmp_path / "t.memsc"), None)
    assert "is not there any more" in str(brought)
    assert not session_folder.exists()


def test_a_trace_that_cannot_be_written_keeps_all_for_later(
    tmp_path: Path, session_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, _ = killed_at(20, tmp_path, session_folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert [item.kind for item in cleaned(session_folder).failed] == ["calls"]
    assert session_folder.exists()
    cleaned(session_folder)
    looked_through(tmp_path, programs)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "no json": lambda place: (place / "round.json").write_text("{"),
    "other json": lambda place: (place / "round.json").write_text('{"trace": 7}'),
    "no backlog": lambda place: (place / "backlog").unlink(),
    "a link": lambda place: ((place / "backlog").unlink(), (place / "backlog").symlink_to("/etc")),
    "an empty one": lambda place: os.truncate(place / "backlog", 0),
    "noise": lambda place: (place / "backlog").write_bytes(bytes(range(256)) * 64),
    "an end in midst of an entry": lambda place: os.truncate(place / "backlog", 4096 + 100),
    "a region that is none": lambda place: (place / "7-7-0.region").write_bytes(b"x" * 9000),
    "a region that is a folder": lambda place: (place / "7-7-0.region").mkdir(),
    "a region that is a link": lambda place: (place / "7-7-0.region").symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_lies_there_harms_nobody(what: str, tmp_path: Path, session_folder: Path) -> None:
    killed_at(12, tmp_path, session_folder)
    HOSTILE[what](session_folder / folders.ROUND)
    cleaned(session_folder)
    trace = open_trace(tmp_path / "t.memsc")
    for r in trace.session.rounds:
        assert r.calls == trace.rows(CALLS)
        assert (r.calls or 0) + (r.lost or 0) + (r.unfinished or 0) == r.made
    assert Path("/etc/passwd").exists()


def test_what_had_no_file_is_not_known(tmp_path: Path, session_folder: Path) -> None:
    """A region in memory alone has gone with its program and its session."""
    writer, backlog = begin(tmp_path, session_folder)
    assert backlog.folder is not None
    backlog.state.unnamed = 1
    backlog.note()
    writer.flush()
    assert bring_home(session_folder) is not None
    (done,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert (done.calls, done.lost, done.made, done.unfinished) == (0, None, None, None)


def test_where_there_is_no_memory_for_it_a_round_goes_on_without(tmp_path: Path) -> None:
    begun = Round(*KEY)
    (tmp_path / "t").mkdir()
    kept = Kept.of(tmp_path / "t", "now", 0, begun)
    (tmp_path / "file").touch()
    backlog = Backlog.make(tmp_path / "file", kept)
    assert backlog.folder is None
