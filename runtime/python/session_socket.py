# SPDX-License-Identifier: MIT
"""The socket by which programs tell their session of themselves, and hand over their regions.

One end is inherited by the program and by all that it starts, whatever user they become; see
`runtime/src/session.h`. What comes from it is not trusted: the kernel says who has sent it, a
message is JSON or nothing, and a descriptor is looked at before it is read (`region.Region`).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memsc.runtime.errors import MemscError

FIRST = 240  # descriptors from here on are in nobody's way; see runtime/src/kept.c
_LARGEST = 1 << 17  # bytes of a message
_QUEUE = 1 << 22  # bytes of messages that may wait, if this user may have so many
_DESCRIPTORS = 8  # that may come with one, of which a single one is wanted
_SLOW_S = 1  # a program does not wait longer for a session that lets it go on

# Of the kernel's interface, and not in Python's module.
_SO_SNDBUFFORCE, _SO_PASSPIDFD, _SCM_PIDFD = 32, 76, 4
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True)
class End:
    """The program's end: what it is given, and how it knows it again.

    Args:
        number: the descriptor.
        inode: the kernel's number of the socket.
    """

    number: int
    inode: int

    def __str__(self) -> str:
        """The variable that names it."""
        return f"{self.number}:{self.inode}"


@dataclass
class Message:
    """What one process said.

    Args:
        pid: its number, as this process sees it, by the kernel's word.
        said: the fields.
        descriptor: what came with it, -1 for nothing; who takes the message closes it.
        process: a descriptor of the process (pidfd), -1 if it has ended; likewise.
        refused: how many descriptors came that this process had no room for.
        began: when the process did, clock ticks since the machine's start: tells a reused number
            apart; None if it has ended, or what it said is not about programs.
    """

    pid: int
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    descriptor: int = -1
    process: int = -1
    refused: int = 0
    began: int | None = None

    def close(self) -> None:
        """Close what came with it."""
        for number in (self.descriptor, self.process):
            if number >= 0:
                os.close(number)
        self.descriptor = self.process = -1


class SessionSocket:
    """Both ends of the socket of one run; a context manager.

    Args:
        waits: programs wait for as long as it takes to say something; else for a second at most.

    Attributes:
        end: the program's end.

    Raises:
        MemscError: too many files are open.
    """

    def __init__(self, *, waits: bool = True) -> None:
        try:
            self._own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise _unmade(error) from error
        try:
            self._own.setblocking(False)
            self._own.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with suppress(OSError):  # Linux 6.5
                self._own.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
            _enlarge(theirs)
            if not waits:
                limit = struct.pack("ll", _SLOW_S, 0)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            number = _high(theirs)
            self.end = End(number, os.fstat(number).st_ino)
        except OSError as error:
            self._own.close()
            raise _unmade(error) from error
        finally:
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def let_go(self) -> None:
        """Close this process's copy of the program's end, once the program has its own."""
        if self.end.number >= 0:
            os.close(self.end.number)
        self.end = End(-1, self.end.inode)

    def close(self) -> None:
        """Close it; programs notice, and wait for nobody any more."""
        self.let_go()
        self._own.close()

    def fileno(self) -> int:
        """This process's end, to be polled; -1 once closed."""
        return self._own.fileno()

    def receive(self, most: int = 256) -> list[Message]:
        """What was said since, the oldest first, up to so many messages."""
        found: list[Message] = []
        room = socket.CMSG_SPACE(4 * _DESCRIPTORS) + socket.CMSG_SPACE(4)
        room += socket.CMSG_SPACE(_CREDENTIALS.size)
        while len(found) < most:
            try:
                data, parts, flags, _ = self._own.recvmsg(
                    _LARGEST, room, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
                )
            except (BlockingIOError, ConnectionResetError):
                break
            if not data and not parts:
                break  # nobody has the other end any more
            found.append(_message(data, parts, flags))
        return found


def _unmade(error: OSError) -> MemscError:
    what, remedy = "making the socket to a program", "close some files (ulimit -n)"
    return MemscError(what, error.strerror or str(error), remedy)


def _enlarge(end: socket.socket) -> None:
    for option in (_SO_SNDBUFFORCE, socket.SO_SNDBUF):
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, option, _QUEUE)
            return


def _high(end: socket.socket) -> int:
    first = FIRST
    while True:
        try:
            return fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, first)
        except OSError:  # beyond the limit
            if first <= 3:
                raise
            first //= 2


def _message(data: bytes, parts: list[tuple[int, int, bytes]], flags: int) -> Message:
    message = Message(0)
    for level, kind, content in parts:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS:
            message.pid, _, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
        elif kind == socket.SCM_RIGHTS:
            _take(message, content)
        elif kind == _SCM_PIDFD:
            (message.process,) = struct.unpack("i", content[:4])
    if flags & socket.MSG_CTRUNC:
        message.refused += 1
    with suppress(ValueError, RecursionError):
        said: Any = json.loads(data)
        if isinstance(said, dict):
            message.said = said
    # Who gives a region is watched until it ends; nobody else is.
    if message.process < 0 and message.pid > 0 and "region" in message.said:
        with suppress(OSError):  # it has ended
            message.process = os.pidfd_open(message.pid)
    if not message.said.keys().isdisjoint(("executes", "starts")):
        message.began = _began(message.pid)
    return message


def _began(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _take(message: Message, content: bytes) -> None:
    numbers = struct.unpack(f"{len(content) // 4}i", content[: len(content) // 4 * 4])
    for number in numbers:
        if message.descriptor < 0:
            message.descriptor = number
        else:
            os.close(number)
