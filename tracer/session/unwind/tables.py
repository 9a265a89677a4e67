# SPDX-License-Identifier: MIT
"""The tables that BPF programs walk stacks by: filled here, in memory shared with the kernel.

A program may read at any time. So nothing that can be found is changed: a space of new places is
made beside the old one, and then it is the process's.
"""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.tracer.session.unwind.rules import Rules, constants

NAMES = ("walk_rows", "walk_pages", "walk_spaces", "walk_processes")
_PAGE = 4096
_PLACE = np.dtype([("start", "<u8"), ("end", "<u8"), ("table", "<u8")])
_PROCESS = np.dtype([("pid", "<u4"), ("space", "<u4"), ("until", "<u8")])
_NOWHERE = (1 << 63) - 1  # behind every address that a program has
_TRIES = 8  # places behind its own that a process may have


@dataclass(frozen=True)
class Place:
    """A stretch of memory that can be executed.

    Args:
        start: its first address.
        end: behind its last.
        table: what to take off an address to have its place in the table; None if there are no
            rules: frame pointers lead on.
        callers: its functions keep frame pointers while they call others.
    """

    start: int
    end: int
    table: int | None = None
    callers: bool = False


class Tables:
    """The four tables.

    Args:
        descriptors: of the BPF maps, by name; may be closed afterwards. Without, the tables are
            this process's alone.

    Attributes:
        full: files that found no room.
    """

    def __init__(self, descriptors: Mapping[str, int] | None = None) -> None:
        c = constants()
        self._chunk = c["MEMSC_WALK_CHUNK"]
        sizes = {
            "walk_rows": c["MEMSC_WALK_CHUNKS"] * self._chunk * 8,
            "walk_pages": c["MEMSC_WALK_PAGES"] * 4,
            "walk_spaces": c["MEMSC_WALK_SPACES"] * c["MEMSC_WALK_PLACES"] * _PLACE.itemsize,
            "walk_processes": c["MEMSC_WALK_PROCESSES"] * _PROCESS.itemsize,
        }
        self._maps: list[mmap.mmap] = []
        buffers: dict[str, memoryview] = {}
        for name in NAMES:
            size = -(-sizes[name] // mmap.PAGESIZE) * mmap.PAGESIZE
            self._maps.append(mmap.mmap(descriptors[name] if descriptors else -1, size))
            buffers[name] = memoryview(self._maps[-1])[: sizes[name]]
        self.rows: NDArray[np.uint64] = np.frombuffer(buffers["walk_rows"], np.uint64)
        self.pages: NDArray[np.uint32] = np.frombuffer(buffers["walk_pages"], np.uint32)
        self._spaces = np.frombuffer(buffers["walk_spaces"], _PLACE).reshape(
            -1, c["MEMSC_WALK_PLACES"]
        )
        self.processes = np.frombuffer(buffers["walk_processes"], _PROCESS)
        self._next_row, self._next_page = 1, 0
        self._free = OrderedDict((number, None) for number in range(1, len(self._spaces)))
        self._shared: dict[bytes, tuple[int, int]] = {}  # places: space, how many have it
        self._places_of: dict[int, bytes] = {}  # by pid
        self._fence = threading.Lock()
        self.full = 0

    def add(self, rules: Rules) -> int | None:
        """Put a file's rules into the table.

        Returns:
            What to add to an address, as linked, to have its place there; None: there is no room.
        """
        # All that may be mapped of it, or what has no rules would have those of another file.
        ends = [place for _, size, start in rules.segments for place in (start, start + size)]
        ends += [int(rules.addresses[0]), int(rules.addresses[-1])]
        low, high = min(ends) // _PAGE, max(ends) // _PAGE
        pages = high - low + 1
        if self._next_page + pages + 1 >= len(self.pages):
            self.full += 1
            return None
        starts = np.arange(low, high + 1, dtype=np.uint64) * np.uint64(_PAGE)
        # Each page begins with the rule that holds where it begins.
        at = np.searchsorted(rules.addresses, starts, "right") - 1
        carried = np.where(at >= 0, rules.rules[np.maximum(at, 0)], np.uint64(0))
        missing = (at < 0) | (rules.addresses[np.maximum(at, 0)] != starts)
        where = at[missing] + 1
        addresses = np.insert(rules.addresses, where, starts[missing])
        values = np.insert(rules.rules, where, carried[missing])
        counts = np.bincount(
            (addresses // np.uint64(_PAGE)).astype(np.int64) - low, minlength=pages
        )
        most = constants()["MEMSC_WALK_PAGE_ROWS"]
        if (counts >= most).any():  # no compiler's work
            crowded = np.repeat(counts >= most, counts)
            addresses, values = addresses[~crowded], values[~crowded]
            counts = np.where(counts >= most, 0, counts)
        places = self._place(counts)
        if places is None:
            self.full += 1
            return None
        values = values | addresses % np.uint64(_PAGE)
        begins = np.concatenate(([0], np.cumsum(counts)))
        for first, last in _runs(places, counts):
            chosen = values[begins[first] : begins[last]]
            at = int(places[first])
            self.rows[at : at + len(chosen)] = chosen
            behind = int(places[last]) - at - len(chosen)
            if behind and len(chosen):  # up to the chunk's end: as the last
                self.rows[at + len(chosen) : at + len(chosen) + behind] = chosen[-1]
        base = self._next_page
        self._order()
        self.pages[base : base + pages + 1] = places
        self._next_page += pages + 1
        self._next_row = int(places[-1])
        return (base - low) * _PAGE

    def _place(self, counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where the rows of each page begin, and where the last ones end: in one chunk."""
        places = self._next_row + np.concatenate(([0], np.cumsum(counts)))
        while True:
            begin, end = places[:-1] // self._chunk, (places[:-1] + counts - 1) // self._chunk
            across = np.flatnonzero((counts > 0) & (begin != end))
            if not len(across):
                return places if places[-1] < len(self.rows) else None
            at = int(across[0])
            if places[at] >= len(self.rows):
                return None
            places[at:] += (int(begin[at]) + 1) * self._chunk - int(places[at])

    def encode(self, places: Sequence[Place]) -> NDArray[np.void]:
        """Places, ascending and apart from each other, as programs look for them."""
        c = constants()
        found = np.zeros(len(self._spaces[0]), _PLACE)
        found["start"], found["end"] = _NOWHERE, _NOWHERE
        found[0] = (0, 0, 0)
        for at, one in enumerate(places[: len(found) - 1], 1):
            flags = c["MEMSC_PLACE_CALLERS"] if one.callers else 0
            if one.table is None:
                flags = c["MEMSC_PLACE_FRAMES"]
            found[at] = (one.start, one.end, (one.table or 0) % (1 << 64) | flags)
        return found

    def tell(self, pid: int, places: NDArray[np.void], until: int) -> None:
        """Say what a process has mapped.

        Args:
            pid: the process.
            places: of `encode`.
            until: what it did until then is in there; ns, CLOCK_MONOTONIC.
        """
        entry = self._entry(pid)
        if entry is None:
            return
        content = places.tobytes()
        if self._places_of.get(pid) != content:
            space = self._space(content, places)
            if space is None:
                return
            self._let_go(pid)
            self._places_of[pid] = content
            self._order()
            self.processes["space"][entry] = space
        self._order()
        self.processes["until"][entry] = until
        self._order()
        self.processes["pid"][entry] = pid

    def _space(self, content: bytes, places: NDArray[np.void]) -> int | None:
        space, users = self._shared.get(content, (0, 0))
        if not users:
            if not self._free:
                return None
            space, _ = self._free.popitem(last=False)  # what was let go longest ago
            self._spaces[space] = places
        self._shared[content] = (space, users + 1)
        return space

    def _entry(self, pid: int) -> int | None:
        size = len(self.processes)
        near = [(pid + i) % size for i in range(_TRIES)]
        pids = self.processes["pid"]
        for wanted in (pid, 0):
            for at in near:
                if int(pids[at]) == wanted:
                    return at
        return None

    def forget(self, pid: int) -> None:
        """A process has ended."""
        entry = self._entry(pid)
        if entry is not None and int(self.processes["pid"][entry]) == pid:
            self.processes["pid"][entry] = 0
            self.processes["space"][entry] = 0
        self._let_go(pid)

    def _let_go(self, pid: int) -> None:
        content = self._places_of.pop(pid, None)
        if content is None:
            return
        space, users = self._shared[content]
        if users > 1:
            self._shared[content] = (space, users - 1)
        else:
            del self._shared[content]
            self._free[space] = None

    def _order(self) -> None:
        with self._fence:  # what was written before is seen before; see observe/event_ring.py
            pass

    def close(self) -> None:
        """Unmap; nothing may be used afterwards."""
        self.rows = np.zeros(0, np.uint64)
        self.pages = np.zeros(0, np.uint32)
        self._spaces, self.processes = np.zeros((0, 1), _PLACE), np.zeros(0, _PROCESS)
        # A view of a map may outlive this; then it goes when the view does.
        self._maps.clear()


def _runs(places: NDArray[np.int64], counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pages, from one to before another, whose rows lie without a gap."""
    gaps = np.flatnonzero(places[:-1] + counts != places[1:]) + 1
    ends = [*gaps.tolist(), len(counts)]
    return [
        (first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True) if last > first
    ]
