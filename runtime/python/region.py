# SPDX-License-Identifier: MIT
"""A process's region seen from outside: its pages, its counts, and its call rings, drained.

Reading touches no CPU of the application: everything lies in a file in memory, or in memory that a
program has handed over. It is written by the program being watched and is not trusted. What the
header says is checked against its size and the runtime's limits. It is read and never mapped: its
program can cut it short at any time, and whoever touched a mapping of it then would be killed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.runtime.layout import MAGIC, VERSION, layout

SUFFIX = ".region"
ENTRIES = 64  # MEMSC_PAGE_ENTRIES: calls a thread can have in flight
MOST = 1 << 21  # records that are taken of a thread at a time: 128 MiB
_SLOTS = 512  # MEMSC_MAX_SLOTS
_RECORDS = 1 << 30  # the most that a call ring may have
_MOST_CALLS = 1 << 48  # ten months of a call every 100 ns
_ENDS = ("state", "tid", "generation", "written", "dropped", "drained")


@dataclass(frozen=True)
class Counts:
    """Exact counts of one process, kept by its own threads.

    Args:
        made: calls forwarded (or, under `direct`, executed in their place).
        local: calls executed by the caller on purpose.
        dropped: records that found the call ring full.
        unfinished: calls made that are neither recorded, dropped nor skipped: where a process is
            over that recorded, those that never came back, for it ended or a handler left them; at
            most 64 a thread.
        missed: calls that their callers made and nobody recorded, by `enum memsc_unforwarded`.
        skipped: calls made while one of so many was recorded, and of which none was.
    """

    made: int
    local: int
    dropped: int
    unfinished: int
    missed: tuple[int, ...] = ()
    skipped: int = 0


class Region:
    """One open region; a context manager.

    Args:
        path: a file `PID-START.region`; of one that was handed over, its name in messages.
        exclusive: claim it for as long as it is open: two readers would take each other's calls.
        descriptor: what was handed over; closed with the region, also if that cannot be made.

    Attributes:
        comm: what its process was called when it made the region.

    Raises:
        MemscError: it is not a region, of another version of the layout, or claimed by another.
    """

    def __init__(
        self, path: Path, *, exclusive: bool = False, descriptor: int | None = None
    ) -> None:
        self.path = path
        self._known_as: int | None = None
        what = f"reading {path.name}"
        if descriptor is None:
            try:
                self._fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                raise MemscError(
                    what, error.strerror or "unreadable", "look at its owner and mode"
                ) from error
        else:
            self._fd = descriptor
        try:
            if descriptor is not None and not _in_memory(descriptor):
                raise MemscError(what, "it is no memory", "run the program with the same memsc")
            if exclusive:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check(what)
        except BaseException as error:
            os.close(self._fd)
            if isinstance(error, BlockingIOError):
                why = "another session traces it"
                raise MemscError(what, why, "wait for its end") from error
            raise

    def _check(self, what: str) -> None:
        shapes = layout()
        try:
            size = os.fstat(self._fd).st_size
            (header,) = self._read(shapes.region, 1, 0)
        except OSError as error:
            raise MemscError(what, "it is not a region", "remove it with `memsc clean`") from error
        if size < shapes.region.itemsize or int(header["magic"]) != MAGIC:
            raise MemscError(what, "it is not a region", "remove it with `memsc clean`")
        version = int(header["version"])
        if version != VERSION:
            raise MemscError(
                what,
                f"it has layout {version}, this memsc knows {VERSION}",
                "run the program with the same memsc that reads it",
            )
        # Each value once: what was checked is what is used.
        self._count, self._records, self._slots_at, self._rings_at = (
            int(header[name]) for name in ("slots", "ring_records", "slots_offset", "rings_offset")
        )
        self.comm = bytes(header["comm"]).split(b"\0")[0].decode(errors="replace")
        end_of_slots = self._slots_at + self._count * shapes.slot.itemsize
        end = self._rings_at + self._count * self._records * shapes.call.itemsize
        power = 0 < self._records <= _RECORDS and self._records & (self._records - 1) == 0
        aligned = self._slots_at % 8 == 0 and self._rings_at % 64 == 0
        parts = (shapes.region.itemsize, self._slots_at, end_of_slots, self._rings_at, end, size)
        if not power or not aligned or self._count > _SLOTS or sorted(parts) != list(parts):
            raise MemscError(what, "its header contradicts its size", "run the program again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; nothing of the region may be used afterwards."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    @property
    def inode(self) -> int:
        """The kernel's number of its memory."""
        return os.fstat(self._fd).st_ino

    def file_in(self, folder: Path) -> Path | None:
        """Its file, if it is one in a folder of ours."""
        path = Path(os.readlink(f"/proc/self/fd/{self._fd}"))  # noqa: PTH115 - may be anything
        with suppress(OSError):
            if path.parent == folder and os.path.samestat(path.lstat(), os.fstat(self._fd)):
                return path
        return None

    @property
    def closed(self) -> bool:
        """Whether it was let go of."""
        return self._fd < 0

    def _read(self, dtype: np.dtype[Any], count: int, offset: int) -> NDArray[np.void]:
        """A copy of what is there now; zeros where the file has become too short."""
        found = np.zeros(count, dtype)
        rest = memoryview(found.view(np.uint8).data)
        while rest:
            done = os.preadv(self._fd, [rest], offset)
            if done == 0:
                break
            rest, offset = rest[done:], offset + done
        return found

    def _write(self, dtype: np.dtype[Any], field: str, value: int, offset: int) -> None:
        kind, at = _members(dtype)[field]
        os.pwrite(self._fd, np.array(value, kind).tobytes(), offset + at)

    def __getitem__(self, field: str) -> Any:
        """A field of `struct memsc_region` as it is now, as a NumPy scalar or array."""
        return self._read(layout().region, 1, 0)[field][0]

    @property
    def drains(self) -> int:
        """How often to drain to empty full call rings."""
        return -(-self._records // MOST)

    @property
    def pid(self) -> int:
        """The process that made it: its number here once `known_as`, else as it sees itself."""
        return int(self["pid"]) if self._known_as is None else self._known_as

    def known_as(self, pid: int) -> None:
        """Say what number its process has here, which may be another in its PID namespace."""
        self._known_as = pid

    @property
    def finished(self) -> bool:
        """Whether that process ended in order."""
        return bool(self["finished"])

    @property
    def program(self) -> str:
        """File name of its executable."""
        return bytes(self["program"]).decode(errors="replace")

    @property
    def recording(self) -> int:
        """0: its calls are not recorded; N: one of N is. Setting it takes effect with the next."""
        return int(self["recording"])

    @recording.setter
    def recording(self, every: int) -> None:
        self._write(layout().region, "recording", int(every), 0)

    @property
    def _used(self) -> int:
        return min(int(self["slots_used"]), self._count)

    @property
    def slots(self) -> NDArray[np.void]:
        """The slots ever claimed, as they are now: structured array of `struct memsc_slot`."""
        return self._read(layout().slot, self._used, self._slots_at)

    def _ends(self) -> NDArray[np.void]:
        """The first lines of these slots: who has them, and both ends of their rings."""
        shape = layout().slot
        members = _members(shape)
        offsets = [members[name][1] for name in _ENDS]
        lines: np.dtype[Any] = np.dtype(
            {
                "names": list(_ENDS),
                "formats": [members[name][0] for name in _ENDS],
                "offsets": offsets,
                "itemsize": max(offsets) + 8,
            }
        )
        starts = range(self._slots_at, self._slots_at + self._used * shape.itemsize, shape.itemsize)
        found = [self._read(lines, 1, start) for start in starts]
        return np.concatenate(found) if found else np.zeros(0, lines)

    @property
    def fill(self) -> float:
        """How full the fullest call ring is, 0 to 1."""
        ends = self._ends()
        if not len(ends):
            return 0.0
        pending = ends["written"].astype(np.int64) - ends["drained"].astype(np.int64)
        return min(max(float(pending.max()) / self._records, 0.0), 1.0)

    def counts(self) -> Counts:
        """Calls made, local, dropped and unfinished, of all its threads since it started."""
        slots = self.slots
        made = _believed(_believed(slots["forwarded"]).sum(axis=1))
        local = _believed(_believed(slots["local"]).sum(axis=1))
        dropped, skipped = _believed(slots["dropped"]), _believed(slots["skipped"])
        unfinished = np.clip(made - _believed(slots["written"]) - dropped - skipped, 0, ENTRIES)
        made, local, dropped, unfinished, skipped = (
            min(int(each.sum()), _MOST_CALLS)
            for each in (made, local, dropped, unfinished, skipped)
        )
        missed = tuple(_believed(self["missed"]).tolist())
        return Counts(made, local, dropped, unfinished, missed, skipped)

    @property
    def drained(self) -> int:
        """Calls that were taken of it, all in all."""
        return min(int(_believed(self.slots["drained"]).sum()), _MOST_CALLS)

    def forwarded(self) -> NDArray[np.int64]:
        """Calls made by number, int64[512]."""
        return _believed(self.slots["forwarded"]).sum(axis=0)

    def local(self) -> NDArray[np.int64]:
        """Local calls by number, int64[512]."""
        return _believed(self.slots["local"]).sum(axis=0)

    def drain(self) -> NDArray[np.void]:
        """Take the finished calls of all threads, up to `MOST` of each, and free their space.

        Returns:
            Structured array of `struct memsc_call`, shape (calls,), ordered within a thread.
        """
        taken = [records for _, _, records in self.taken()]
        return np.concatenate(taken) if taken else np.empty(0, layout().call)

    def taken(self) -> Generator[tuple[int, int, NDArray[np.void]]]:
        """The same thread by thread; the space of each is freed once the next is asked for.

        Yields:
            The thread's slot, the position of its first call, and its calls as of `drain`.
        """
        for index, (start, end) in enumerate(self._pending()):
            records = self._drain(index, start, end)
            if len(records):
                yield index, start, records
                self._drained(index, start + len(records))

    def was_taken(self, slot: int, start: int, count: int) -> None:
        """Free the space of calls that somebody has taken who was killed before they said so."""
        if slot < self._used and int(self._ends()["drained"][slot]) == start:
            self._drained(slot, start + count)

    def skip(self) -> None:
        """Free the space of all finished calls without taking them, where there is no memory."""
        for index, (start, end) in enumerate(self._pending()):
            if 0 < end - start <= self._records:
                self._drained(index, end)

    def _pending(self) -> list[tuple[int, int]]:
        """Of each slot's ring: from where to where it holds finished calls."""
        first, second = self._ends(), self._ends()
        # A position may be read while it is being written. It only grows, so the lesser of two
        # readings is not beyond what has been written.
        ends = np.minimum(first["written"][: len(second)], second["written"][: len(first)])
        return list(zip(first["drained"][: len(ends)].tolist(), ends.tolist(), strict=True))

    def _drained(self, index: int, position: int) -> None:
        shape = layout().slot
        self._write(shape, "drained", position, self._slots_at + index * shape.itemsize)

    def _drain(self, index: int, start: int, end: int) -> NDArray[np.void]:
        # The program publishes `written` after the records, and waits for `drained` before it
        # overwrites them. x86 keeps these loads and stores in order; elsewhere the locks that
        # Python and the kernel take for each reading and writing do.
        shapes = layout()
        count = min(end - start, MOST)
        if not 0 < end - start <= self._records:
            return np.empty(0, shapes.call)
        first = start % self._records
        head = min(count, self._records - first)
        ring = self._rings_at + index * self._records * shapes.call.itemsize
        records = self._read(shapes.call, head, ring + first * shapes.call.itemsize)
        if head < count:
            records = np.concatenate([records, self._read(shapes.call, count - head, ring)])
        return records


def _in_memory(descriptor: int) -> bool:
    """Whether reading a descriptor waits for nobody, as of a device or a user's file system it may.

    Only of memory there are seals.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    except OSError:
        return False


def _believed(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Counts of a program that may write anything there: sums of them are numbers of a session."""
    return np.minimum(counts, _MOST_CALLS).astype(np.int64)


def _members(dtype: np.dtype[Any]) -> dict[str, tuple[np.dtype[Any], int]]:
    """The fields of a structure, by name, and where they lie."""
    return {str(name): (kind, at) for name, (kind, at, *_) in (dtype.fields or {}).items()}


def regions(directory: Path) -> list[Path]:
    """The region files in a folder, oldest first."""
    found: list[tuple[int, Path]] = []
    for path in directory.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # its program has just removed it
            found.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]
