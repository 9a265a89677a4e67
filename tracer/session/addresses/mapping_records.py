# SPDX-License-Identifier: MIT
"""Reads what the kernel records of a process and its children: what they map, execute and fork.

These are perf's records in the format of perf_event_open(2), few and small: a loop over them is
fine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memsc.tracer.helper.kernel import perf

_LOST, _COMM, _EXIT, _FORK, _MMAP2 = 2, 3, 4, 7, 10
_COMM_EXEC = 1 << 13
_HEAD, _TAIL = 1024, 1032  # offsets in the mapped page
_PAGES = 32  # of data, a power of two: some two thousand mappings
_TRAILER = 8  # the time, behind every record


@dataclass(frozen=True)
class Mapped:
    """A process has mapped a part of a file that can be executed."""

    time: int
    pid: int
    start: int
    size: int
    offset: int
    inode: tuple[int, int, int]
    name: str


@dataclass(frozen=True)
class Executed:
    """A process has become another program: all it had mapped is gone."""

    time: int
    pid: int


@dataclass(frozen=True)
class Forked:
    """A process has a child that begins with what its parent has mapped."""

    time: int
    pid: int
    parent: int


@dataclass(frozen=True)
class Ended:
    """A process's first thread has ended, and mostly the process with it."""

    time: int
    pid: int


@dataclass(frozen=True)
class Lost:
    """Records that found no room."""

    time: int
    count: int


Record = Mapped | Executed | Forked | Ended | Lost


class Records:
    """The records of perf events, one per CPU.

    Args:
        descriptors: of the events; closed with this object.

    Raises:
        OSError: they cannot be mapped: too much memory is locked.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)
        self._rings: list[mmap.mmap] = []
        self._fence = threading.Lock()
        try:
            for descriptor in self._descriptors:
                size = (1 + _PAGES) * mmap.PAGESIZE
                self._rings.append(mmap.mmap(descriptor, size))
            for descriptor in self._descriptors:
                fcntl.ioctl(descriptor, perf.ENABLE, 0)
        except OSError:
            self.close()
            raise

    @property
    def descriptors(self) -> list[int]:
        """To be polled for what is new; stay this object's."""
        return self._descriptors

    def take(self) -> list[Record]:
        """All records since the last call, in the order of their time."""
        found = [record for ring in self._rings for record in self._drain(ring)]
        return sorted(found, key=lambda record: record.time)

    def _drain(self, ring: mmap.mmap) -> Iterator[Record]:
        (head,) = struct.unpack_from("<Q", ring, _HEAD)
        (tail,) = struct.unpack_from("<Q", ring, _TAIL)
        with self._fence:  # the kernel's data after its position; see event_ring.py
            pass
        size = _PAGES * mmap.PAGESIZE
        while tail < head:
            at = tail % size
            data = ring[mmap.PAGESIZE + at : mmap.PAGESIZE + size]
            data += ring[mmap.PAGESIZE : mmap.PAGESIZE + at]
            kind, misc, length = struct.unpack_from("<IHH", data)
            yield from parse(kind, misc, data[8:length])
            tail += length
        with self._fence:
            pass
        struct.pack_into("<Q", ring, _TAIL, tail)

    def close(self) -> None:
        """Unmap and end the recording."""
        while self._rings:
            self._rings.pop().close()
        while self._descriptors:
            os.close(self._descriptors.pop())


def parse(kind: int, misc: int, body: bytes) -> Iterator[Record]:
    """A record from the bytes behind its header; none if it is of no interest here."""
    (time,) = struct.unpack_from("<Q", body, len(body) - _TRAILER)
    if kind == _MMAP2:
        pid, _, start, size, offset, major, minor, inode = struct.unpack_from("<IIQQQIIQ", body)
        name = body[64:].split(b"\0", 1)[0].decode(errors="surrogateescape")
        yield Mapped(time, pid, start, size, offset, (major, minor, inode), name)
    elif kind == _COMM and misc & _COMM_EXEC:
        yield Executed(time, struct.unpack_from("<I", body)[0])
    elif kind == _FORK:
        pid, parent, *_ = struct.unpack_from("<IIII", body)
        if pid != parent:  # not a thread
            yield Forked(time, pid, parent)
    elif kind == _EXIT:
        pid, _, tid, *_ = struct.unpack_from("<IIII", body)
        if pid == tid:
            yield Ended(time, pid)
    elif kind == _LOST:
        yield Lost(time, struct.unpack_from("<Q", body, 8)[0])
