# SPDX-License-Identifier: MIT
"""A process's region seen from outside: its pages, its counts, and its call rings, drained.

Reading touches no CPU of the application: everything lies in a file in memory. The file is written
by the program being watched and is not trusted: what the header says is checked against its size.
"""

from __future__ import annotations

import fcntl
import mmap
import os
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


@dataclass(frozen=True)
class Counts:
    """Exact counts of one process, kept by its own threads.

    Args:
        made: calls forwarded (or, under `direct`, executed in their place).
        local: calls executed by the caller on purpose.
        dropped: records that found the call ring full.
        unfinished: calls made that are neither recorded nor dropped: where a recording process was
            killed, those it did not live to see the end of, at most 64 a thread.
    """

    made: int
    local: int
    dropped: int
    unfinished: int


class Region:
    """One mapped region; a context manager.

    Args:
        path: a file `PID-START.region`.
        exclusive: claim it for as long as it is mapped: two readers would take each other's calls.

    Raises:
        MemscError: it is not a region, of another version of the layout, or claimed by another.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        self.path = path
        shapes = layout()
        what = f"reading {path.name}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise MemscError(
                what, error.strerror or "unreadable", "look at its owner and mode"
            ) from error
        try:
            if exclusive:
                # The mapping keeps a copy of the descriptor, and with it the claim.
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(fd).st_size
            if size < shapes.region.itemsize:
                raise MemscError(what, "it is not a region", "remove it with `memsc clean`")
            self._map = mmap.mmap(fd, size)
        except BlockingIOError as error:
            raise MemscError(what, "another session traces it", "wait for its end") from error
        finally:
            os.close(fd)
        self._header: NDArray[np.void] = np.frombuffer(self._map, shapes.region, 1)
        if int(self._header["magic"][0]) != MAGIC:
            raise MemscError(what, "it is not a region", "remove it with `memsc clean`")
        version = int(self._header["version"][0])
        if version != VERSION:
            raise MemscError(
                what,
                f"it has layout {version}, this memsc knows {VERSION}",
                "run the program with the same memsc that reads it",
            )
        count, records, slots_at, rings_at = (
            int(self._header[name][0])
            for name in ("slots", "ring_records", "slots_offset", "rings_offset")
        )
        end_of_slots = slots_at + count * shapes.slot.itemsize
        end = rings_at + count * records * shapes.call.itemsize
        power = records > 0 and records & (records - 1) == 0
        ordered = shapes.region.itemsize <= slots_at <= end_of_slots <= rings_at <= end <= size
        if not power or slots_at % 8 or rings_at % 64 or not ordered:
            raise MemscError(what, "its header contradicts its size", "run the program again")
        self._slots: NDArray[np.void] = np.frombuffer(self._map, shapes.slot, count, slots_at)
        rings = np.frombuffer(self._map, shapes.call, count * records, rings_at)
        self._rings: NDArray[np.void] = rings.reshape(count, records)
        self._records = records

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
        """Unmap; nothing of the region may be used afterwards."""
        self._header = self._slots = self._rings = np.empty(0, np.void)
        # An error: somebody still looks at a view; the last one to go unmaps.
        with suppress(BufferError):
            self._map.close()

    def __getitem__(self, field: str) -> Any:
        """A field of `struct memsc_region`, as a NumPy scalar."""
        return self._header[field][0]

    @property
    def pid(self) -> int:
        """The process that made it."""
        return int(self["pid"])

    @property
    def finished(self) -> bool:
        """Whether that process ended in order."""
        return bool(self["finished"])

    @property
    def program(self) -> str:
        """File name of its executable."""
        return bytes(self["program"]).decode(errors="replace")

    @property
    def recording(self) -> bool:
        """Whether its calls are recorded; setting it takes effect with the next call."""
        return bool(self["recording"])

    @recording.setter
    def recording(self, on: bool) -> None:
        self._header["recording"][0] = int(on)

    @property
    def slots(self) -> NDArray[np.void]:
        """The slots ever claimed: structured array of `struct memsc_slot`, a live view."""
        return self._slots[: min(int(self["slots_used"]), len(self._slots))]

    @property
    def fill(self) -> float:
        """How full the fullest call ring is, 0 to 1."""
        slots = self.slots
        if not len(slots):
            return 0.0
        pending = slots["written"].astype(np.int64) - slots["drained"].astype(np.int64)
        return min(max(float(pending.max()) / self._records, 0.0), 1.0)

    def counts(self) -> Counts:
        """Calls made, local, dropped and unfinished, of all its threads since it started."""
        slots = self.slots
        made = slots["forwarded"].sum(axis=1, dtype=np.int64)
        dropped = slots["dropped"].astype(np.int64)
        unfinished = np.clip(made - slots["written"].astype(np.int64) - dropped, 0, ENTRIES)
        return Counts(
            int(made.sum()),
            int(slots["local"].sum()),
            int(dropped.sum()),
            int(unfinished.sum()),
        )

    def forwarded(self) -> NDArray[np.int64]:
        """Calls made by number, int64[512]."""
        return self.slots["forwarded"].sum(axis=0, dtype=np.int64)

    def local(self) -> NDArray[np.int64]:
        """Local calls by number, int64[512]."""
        return self.slots["local"].sum(axis=0, dtype=np.int64)

    def drain(self) -> NDArray[np.void]:
        """Take the finished calls of all threads and free their space.

        Returns:
            Copied structured array of `struct memsc_call`, shape (calls,), ordered within a thread.
        """
        taken = [self._drain(index) for index in range(len(self.slots))]
        if not taken:
            return np.empty(0, layout().call)
        return np.concatenate(taken)

    def _drain(self, index: int) -> NDArray[np.void]:
        # The program publishes `written` after the records, and waits for `drained` before it
        # overwrites them. x86 keeps these loads and stores in order; Python's own locks, taken
        # between them, do so elsewhere.
        slot = self._slots[index]
        ring: NDArray[np.void] = self._rings[index]
        start, end = int(slot["drained"]), int(slot["written"])
        count = end - start
        if not 0 < count <= len(ring):
            return np.empty(0, ring.dtype)
        first = start % len(ring)
        head = ring[first : first + count]
        records = np.concatenate([head, ring[: count - len(head)]])
        self._slots["drained"][index] = end
        return records


def regions(directory: Path) -> list[Path]:
    """The region files in a folder, oldest first."""
    found: list[tuple[int, Path]] = []
    for path in directory.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # its program has just removed it
            found.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]
