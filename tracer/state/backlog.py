# SPDX-License-Identifier: MIT
"""Calls taken from rings that are not in the trace yet, where `kill -9` of everybody costs none.

While a round is recorded, a folder in memory holds what it takes to finish it without its session:
which round it is of which trace (`round.json`), the regions of its programs, and the *backlog*, a
file of what was taken from them. `memsc.tracer.state.recovery` brings them home.

Nothing is told twice. A call has a number, that of its row in the trace's table: whatever is in
that already is not brought home again. What a ring's reader has taken is in the backlog before the
ring is told; where somebody was killed between the two, the last entry says so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from memsc.runtime.layout import VERSION, layout
from memsc.runtime.region import Region
from memsc.tracer.format import Round
from memsc.tracer.state.folders import ROUND

_TOLD, _FILE = "round.json", "backlog"
_PAGE = 4096  # written at once, or not at all
_MAGIC = 0x676F6C6B63616274
_COUNTS = ("made", "local", "dropped", "unfinished", "closed", "unnamed", "skipped")
_STATE = np.dtype([("magic", "<u8"), ("layout", "<u8"), *((name, "<i8") for name in _COUNTS)])
# One thread's calls; as long as a call, so that all are aligned.
_ENTRY = np.dtype(
    [
        *((name, "<u8") for name in ("magic", "row", "inode", "start", "count")),
        *((name, "<u4") for name in ("pid", "slot")),
        ("comm", "S16"),
    ]
)
_MOST = 1 << 32  # calls of an entry; what says more is damaged


class Before(msgspec.Struct, frozen=True, array_like=True):
    """A program that ran before it was recorded, and what it had counted by then.

    Args:
        region: its file.
        dropped, skipped: calls, as of `memsc.runtime.region.Counts`.
    """

    region: str
    dropped: int
    skipped: int = 0


class Kept(msgspec.Struct, frozen=True):
    """What a round is, as long as its session lives: `round.json`.

    Args:
        trace: the folder of its trace; device, inode: whichever that is by now.
        created: when its session was.
        first: rows that the table of calls had before.
        round: it, as far as was known when it began.
        attached: where its program ran before; None: the session started it.
    """

    trace: str
    device: int
    inode: int
    created: str
    first: int
    round: Round
    attached: Before | None = None

    @classmethod
    def of(
        cls,
        trace: Path,
        created: str,
        first: int,
        begun: Round,
        attached: Before | None = None,
    ) -> Kept:
        """That of a round which begins; as its fields."""
        there = trace.stat()
        place = str(trace.absolute())
        return cls(place, there.st_dev, there.st_ino, created, first, begun, attached)


@dataclass
class State:
    """What is known of the regions that were drained to their end.

    Args:
        made, local, dropped, unfinished, skipped: calls, as of `memsc.runtime.region.Counts`.
        closed: inode of the last one; its file may be there still.
        unnamed: regions that are read and have no file: they are gone with who reads them.
    """

    made: int = 0
    local: int = 0
    dropped: int = 0
    unfinished: int = 0
    closed: int = 0
    unnamed: int = 0
    skipped: int = 0


class Backlog:
    """Of one round.

    Args:
        folder: where its file is; None: it lies in this process's memory alone, as it does where
            there is no room for it.
        first: the number of its first call.

    Attributes:
        folder: where programs may make files of their regions; None: nowhere.
        rows: calls it holds.
        state: of the regions that are closed; `note` keeps it.
    """

    def __init__(self, folder: Path | None = None, first: int = 0) -> None:
        self.folder = folder
        self.rows = 0
        self.state = State()
        self._next = first
        self._end = _PAGE
        self._full = False
        # What of it is where in the file, or itself; (row, pid, comm, place, count).
        self._held: list[tuple[int, int, str, int | NDArray[np.void], int]] = []
        self._last: np.void | None = None
        self._file = -1
        if folder is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(folder / _FILE, flags, 0o600)

    @classmethod
    def make(cls, folder: Path, kept: Kept) -> Backlog:
        """Begin that of a round; where there is no memory for one, it has no folder.

        Args:
            folder: the session's.
            kept: the round.
        """
        place = folder / ROUND
        shutil.rmtree(place, ignore_errors=True)
        made = None
        try:
            place.mkdir(mode=0o700)
            (place / _TOLD).write_bytes(msgspec.json.encode(kept))
            made = cls(place, kept.first)
            made.note()
            fcntl.fcntl(made._file, fcntl.F_GET_SEALS)  # it is memory, as regions have to be
        except OSError:
            if made is not None:
                made.close()
            shutil.rmtree(place, ignore_errors=True)
            return cls(None, kept.first)
        return made

    @classmethod
    def found(cls, folder: Path) -> tuple[Kept, Backlog] | None:
        """What a session left that is dead; None if it recorded nothing then.

        Args:
            folder: the session's.
        """
        place = folder / ROUND
        try:
            kept = msgspec.json.decode((place / _TOLD).read_bytes(), type=Kept)
            backlog = cls(place, kept.first)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        backlog._read_back()
        return kept, backlog

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def note(self) -> None:
        """Have the state where it is not lost."""
        if self._file < 0:
            return
        page = np.zeros(1, _STATE)
        page[0] = (_MAGIC, VERSION, *astuple(self.state))
        with suppress(OSError):  # no memory: it stays as it was
            os.pwrite(self._file, page.tobytes(), 0)

    def add(self, region: Region, pid: int, slot: int, start: int, calls: NDArray[np.void]) -> None:
        """Take calls in; only afterwards may their ring be told.

        Args:
            region: whose they are.
            pid: its process.
            slot: the thread's place there.
            start: position of the first in that one's ring.
            calls: structured array of `struct memsc_call`.
        """
        count = len(calls)
        entry = np.zeros(1, _ENTRY)
        comm = region.comm.encode()
        entry[0] = (_MAGIC, self._next, region.inode, start, count, pid, slot, comm)
        place = calls if self._full or not self._write(entry, calls) else self._end - calls.nbytes
        self._held.append((self._next, pid, region.comm, place, count))
        self._next += count
        self.rows += count

    def _write(self, entry: NDArray[np.void], calls: NDArray[np.void]) -> bool:
        if self._file < 0:
            return False
        size = entry.nbytes + calls.nbytes
        try:
            parts = [each.view(np.uint8).data for each in (entry, calls)]
            if os.pwritev(self._file, parts, self._end) == size:
                self._end += size
                return True
            os.ftruncate(self._file, self._end)
        except OSError:
            pass
        self._full = True
        return False

    def take(self, after: int = 0) -> Generator[tuple[int, str, NDArray[np.void]]]:
        """Its calls, in order, to be written; they stay in the file until they are `settled`.

        Args:
            after: those with lower numbers are passed over.

        Yields:
            A process, what it is called, and calls of it.
        """
        held, self._held, self.rows = self._held, [], 0
        for row, pid, comm, place, count in held:
            skipped = min(max(after - row, 0), count)
            if skipped < count:
                calls = self._read(place, count) if isinstance(place, int) else place
                yield pid, comm, calls[skipped:]

    def drop(self) -> None:
        """Forget what was not taken."""
        self._held, self.rows = [], 0

    def _read(self, place: int, count: int) -> NDArray[np.void]:
        calls = np.zeros(count, layout().call)
        rest = memoryview(calls.view(np.uint8).data)
        while rest and (done := os.preadv(self._file, [rest], place)):
            rest, place = rest[done:], place + done
        return calls

    def settled(self) -> None:
        """All that was taken is in the trace."""
        if self._file >= 0 and not self._held:
            os.ftruncate(self._file, _PAGE)
            self._end, self._full = _PAGE, False

    def missing(self, after: int) -> int:
        """Calls that were taken, are not here, and are not among the first so many rows."""
        at, gone = after, 0
        for row, _, _, _, count in self._held:
            gone += max(row - at, 0)
            at = max(at, row + count)
        return gone

    def goes_on_at(self, row: int) -> None:
        """Number calls to come from there on: those before are in the trace, and not here."""
        self._next = max(self._next, row)

    def told(self, region: Region) -> None:
        """Tell a region's ring what was taken, if who did that was killed before."""
        last = self._last
        if last is not None and int(last["inode"]) == region.inode:
            region.was_taken(*(int(last[name]) for name in ("slot", "start", "count")))

    def _read_back(self) -> None:
        """Find out what the file holds; where it makes no sense, that is its end."""
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return
        start = os.pread(self._file, _STATE.itemsize, 0).ljust(_STATE.itemsize, b"\0")
        (page,) = np.frombuffer(start, _STATE)
        if int(page["magic"]) != _MAGIC or int(page["layout"]) != VERSION:
            return
        self.state = State(*(max(int(page[name]), 0) for name in _COUNTS))
        itemsize = layout().call.itemsize
        while self._end + _ENTRY.itemsize <= status.st_size:
            (entry,) = np.frombuffer(os.pread(self._file, _ENTRY.itemsize, self._end), _ENTRY)
            row, count = int(entry["row"]), int(entry["count"])
            place = self._end + _ENTRY.itemsize
            if int(entry["magic"]) != _MAGIC or not 0 < count < _MOST or row < self._next:
                break
            if place + count * itemsize > status.st_size:
                break
            comm = bytes(entry["comm"]).decode(errors="replace")
            self._held.append((row, int(entry["pid"]) & 0x7FFFFFFF, comm, place, count))
            self._last, self._next = entry, row + count
            self.rows += count
            self._end = place + count * itemsize
        os.ftruncate(self._file, max(self._end, _PAGE))
