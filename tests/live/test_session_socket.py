# SPDX-License-Identifier: MIT
"""The socket between programs and their session: who may use it, and what may come of it."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers import listening
from tests.helpers.required import layered

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYER, WORK
from memsc.runtime.region import Region
from memsc.runtime.session_socket import SessionSocket
from memsc.tracer.format import RoundKey
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.sink import Everything

NOBODY = 65534


@pytest.fixture
def session() -> Iterator[SessionSocket]:
    with SessionSocket() as made:
        yield made


def theirs(session: SessionSocket) -> socket.socket:
    """The program's end, as a program would have it."""
    return socket.socket(fileno=os.dup(session.end.number))


def memory(size: int = 1 << 16, seals: int = 0) -> int:
    descriptor = os.memfd_create("memory", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def read_only() -> int:
    descriptor = memory()
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    os.close(descriptor)
    return again


def file() -> int:
    descriptor, path = tempfile.mkstemp(dir=Path.cwd())
    Path(path).unlink()
    os.ftruncate(descriptor, 1 << 20)
    return descriptor


HOSTILE: dict[str, Callable[[], int]] = {
    "no memory": pipe,
    "a device": lambda: os.open("/dev/zero", os.O_RDWR),
    "a terminal": lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY),
    "a socket": lambda: socket.socket(socket.AF_UNIX).detach(),
    "a folder": lambda: os.open("/", os.O_RDONLY),
    "a path": lambda: os.open("/etc/passwd", os.O_PATH),
    "a file": file,
    "read-only": read_only,
    "empty": lambda: memory(0),
    "zeros": memory,
    "unwritable": lambda: memory(seals=fcntl.F_SEAL_WRITE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_region_is_counted_as_unrecorded(
    what: str, session: SessionSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = listening.descriptors()
    drain = Drain(
        Everything(TraceWriter(prepare_output(tmp_path / "t.memsc"))),
        RoundKey("memsc", "x", 0),
        session,
    )
    descriptor = HOSTILE[what]()
    with theirs(session) as end:
        for _ in range(3):
            socket.send_fds(end, [b'{"region": true}'], [descriptor, descriptor])
    os.close(descriptor)
    drain.step()
    assert drain.carried.directly().total() == 3
    assert drain.pids == set()
    drain.finish()
    assert listening.descriptors() <= before


MESSAGES = [
    b"",
    b"\xff\xfe",
    b"7",
    b"[]",
    b"null",
    b"{",
    b'{"region": true}',
    b'{"starts": 7}',
    b'{"starts": "\\u001b[2J"}',
    b'{"executes": ["x"]}',
    b'{"executes": "' + b"x" * 100_000 + b'"}',
    b'{"a":' * 20_000,
    b'{"leaves": "x", "why": {}}',
    b"x" * 120_000,
]


def test_nonsense_is_passed_over(session: SessionSocket, tmp_path: Path) -> None:
    drain = Drain(
        Everything(TraceWriter(prepare_output(tmp_path / "t.memsc"))),
        RoundKey("memsc", "x", 0),
        session,
    )
    with theirs(session) as end:
        for message in MESSAGES:
            end.send(message)
            drain.step()
        end.send(b'{"starts": "dd"}')
        drain.step()
    assert drain.carried.started["dd"] == 1
    assert "\x1b" not in "".join(drain.carried.started)
    drain.finish()


def test_more_descriptors_than_there_is_room_for_are_let_go(
    session: SessionSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent by a program that wants to use up its session's."""
    descriptor = memory()
    before = listening.descriptors()
    with theirs(session) as end:
        many = array.array("i", [descriptor] * 250)
        for _ in range(20):
            end.sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])
    messages = listening.drained(session)
    assert len(messages) == 20
    assert all(message.refused for message in messages)
    for message in messages:
        message.close()
    assert listening.descriptors() <= before
    os.close(descriptor)


def test_a_flood_is_taken_in_turns(session: SessionSocket) -> None:
    with theirs(session) as end:
        end.setblocking(False)
        sent = 0
        try:
            while sent < 5000:
                end.send(b'{"starts": "x"}')
                sent += 1
        except BlockingIOError:
            pass
        first = session.receive(most=10)
        rest = listening.drained(session)
        for message in (*first, *rest):
            message.close()
        assert (len(first), len(rest)) == (10, sent - 10)


def test_a_program_may_not_shut_up_the_session(session: SessionSocket, tmp_path: Path) -> None:
    """It can shut the socket; then nobody is recorded any more, and the session ends as ever."""
    drain = Drain(
        Everything(TraceWriter(prepare_output(tmp_path / "t.memsc"))),
        RoundKey("memsc", "x", 0),
        session,
    )
    with theirs(session) as end:
        end.shutdown(socket.SHUT_RDWR)
    drain.step()
    drain.finish()


def works(
    session: SessionSocket,
    folder: Path | None = None,
    ring: int = 64,
    *,
    recording: bool = True,
    **how: object,
) -> list[Region]:
    """Regions that a program with libmemsc hands over, whose session has a folder, or not."""
    environment = {"MEMSC_TRANSPORT": "direct", "MEMSC_RECORD": str(int(recording))}
    environment["MEMSC_RING"] = str(ring)
    if folder is not None:
        environment |= {"MEMSC_DIRECTORY": str(folder), "MEMSC_KEEP": "1"}
    subprocess.run(
        [str(WORK), "sync", "1", "/dev/null"],
        env=environment | {"MEMSC_SOCKET": str(session.end)},
        pass_fds=(session.end.number,),
        check=True,
        **how,  # pyright: ignore[reportArgumentType, reportCallIssue]
    )
    found: list[Region] = []
    for message in listening.drained(session):
        descriptor, message.descriptor = message.descriptor, -1
        message.close()
        found.append(Region(Path("x"), descriptor=descriptor))
    return found


def test_memory_is_handed_to_ones_own_session(session: SessionSocket) -> None:
    (region,) = works(session)
    assert region.program == "memsc-work"
    assert region.counts().made > 0
    region.close()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_its_memory_has_a_name_in_the_sessions_folder(
    session: SessionSocket, in_memory: Path
) -> None:
    """There it is still when session and program are gone."""
    (region,) = works(session, in_memory)
    (path,) = in_memory.iterdir()
    assert region.file_in(in_memory) == path
    assert region.inode == path.stat().st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    made = region.counts().made
    region.close()
    with Region(path) as again:
        assert again.counts().made == made > 0


def test_where_it_cannot_have_one_it_is_memory_all_the_same(
    session: SessionSocket, in_memory: Path
) -> None:
    """A folder that others may look into, one that is not there, one with little room."""
    status = os.statvfs(in_memory)
    room = status.f_bavail * status.f_frsize
    many = 1 << (room // 64 // 16).bit_length()  # records: 16 rings are more than there is room
    other = in_memory / "other"
    other.mkdir(mode=0o755)
    other.chmod(0o755)
    for folder, ring in ((other, 64), (in_memory / "none", 64), (in_memory, many)):
        found = works(session, folder, ring, recording=ring == 64)
        # For so large a ring there may be no memory at all.
        assert [region.file_in(folder) for region in found] in ([None], [] if ring > 64 else [None])
        for region in found:
            region.close()
    assert list(in_memory.rglob("*")) == [other]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_nobody_makes_files_in_another_users_folder(in_memory: Path) -> None:
    os.chown(in_memory, NOBODY, NOBODY)
    with SessionSocket() as session:
        (region,) = works(session, in_memory)
        assert region.file_in(in_memory) is None
        region.close()
    assert list(in_memory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_roots_memory_is_not_handed_to_a_user(in_memory: Path) -> None:
    """As through a set-uid program; a user's own is handed to a session of root's."""
    os.seteuid(NOBODY)
    try:
        with SessionSocket() as session:
            os.seteuid(0)
            assert works(session) == []
            assert works(session, in_memory) == []
            assert list(in_memory.iterdir()) == []
    finally:
        os.seteuid(0)
    with SessionSocket() as session:
        (region,) = works(session, user=NOBODY)
        region.close()


def test_another_file_at_its_number_is_left_alone(tmp_path: Path) -> None:
    """The variable was inherited, the descriptor was not."""
    with SessionSocket() as session, (tmp_path / "precious").open("wb") as stranger:
        environment = {"MEMSC_TRANSPORT": "direct", "MEMSC_SOCKET": str(session.end)}
        number = session.end.number
        session.let_go()
        os.dup2(stranger.fileno(), number)
        try:
            done = subprocess.run(
                [str(WORK), "sync", "1", "/dev/null"],
                env=environment,
                pass_fds=(number,),
                check=False,
            )
        finally:
            os.close(number)
        assert done.returncode == 0
        assert (tmp_path / "precious").stat().st_size == 0
        assert listening.drained(session) == []


@layered
def test_a_range_that_begins_with_it_is_closed_for_the_thread_alone() -> None:
    """With CLOSE_RANGE_UNSHARE (2), wherever it begins: other threads keep what they have."""
    code = (
        "import ctypes, fcntl, os, threading\n"
        "held = fcntl.fcntl(0, fcntl.F_DUPFD, 600)\n"
        "call = ctypes.CDLL(None).syscall\n"
        "call.argtypes = [ctypes.c_ulong] * 4\n"
        "for first in range(230, 250):\n"
        "    thread = threading.Thread(target=call, args=(436, first, 0xffffffff, 2))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    os.fstat(held)\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(LAYER), "MEMSC_TRANSPORT": "ipi"}
    command = ["/usr/bin/python3", "-I", "-S", "-c", code]
    done, messages = listening.run(command, environment, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert listening.said(messages, "starts")


@pytest.mark.parametrize("text", ["", "x", "7", "7:", ":7", "7:x", "-1:7", "99999999999:7"])
def test_a_variable_that_names_no_socket_is_an_error(text: str) -> None:
    environment = {"MEMSC_TRANSPORT": "direct", "MEMSC_SOCKET": text}
    done = subprocess.run(
        [str(WORK), "sync", "1", "/dev/null"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "MEMSC_SOCKET" in done.stderr


def test_without_descriptors_a_session_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", fails)
    with pytest.raises(MemscError, match="Too many open files"):
        SessionSocket()
