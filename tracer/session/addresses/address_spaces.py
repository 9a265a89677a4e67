# SPDX-License-Identifier: MIT
"""What the processes of a session had mapped, and when: which file an address belongs to."""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memsc.tracer.session.addresses.mapping_records import Ended, Executed, Forked, Mapped, Record

_LINE = re.compile(r"(\w+)-(\w+) \S\S(\S)\S (\w+) (\w+):(\w+) (\d+)\s*(.*)")


@dataclass(frozen=True)
class Module:
    """What lies behind an address: a file, the vDSO, or memory of no file.

    Args:
        name: the file's path, `[vdso]`, `[anon]` where code was made at run time, or `[unknown]`
            where nothing that could be executed was mapped.
        inode: device and number of the file, to tell it from another of that name.
    """

    name: str
    inode: tuple[int, int, int] = (0, 0, 0)


ANON, UNKNOWN = Module("[anon]"), Module("[unknown]")


@dataclass
class Space:
    """One program in one process: from fork or exec until exec or exit."""

    since: int
    mapped: list[Mapped] = field(default_factory=list[Mapped])
    _visible: list[tuple[int, int, Mapped]] | None = None

    def add(self, mapped: Mapped) -> None:
        """Something was mapped; it hides what was there before."""
        if not self.mapped or self.mapped[-1] != mapped:
            self.mapped.append(mapped)
            self._visible = None

    @property
    def visible(self) -> list[tuple[int, int, Mapped]]:
        """Stretches of memory, ascending: first address, behind the last, what was mapped there."""
        if self._visible is None:
            self._visible = _visible(self.mapped)
        return self._visible

    def address(self, module: Module, place: int) -> int | None:
        """Where a place in a module's file is mapped; None if it is not."""
        for start, end, one in self.visible:
            address = one.start + place - one.offset
            if module_of(one) == module and start <= address < end:
                return address
        return None

    def find(self, address: int) -> tuple[Module, int]:
        """The module an address lies in, and the address's place in its file."""
        visible = self.visible
        at = bisect.bisect_right(visible, address, key=lambda one: one[0]) - 1
        if at < 0 or address >= visible[at][1]:
            return UNKNOWN, address
        one = visible[at][2]
        return module_of(one), address - one.start + one.offset


def _visible(mapped: list[Mapped]) -> list[tuple[int, int, Mapped]]:
    found: list[tuple[int, int, Mapped]] = []
    for one in mapped:
        start, end = one.start, one.start + one.size
        first = bisect.bisect_left(found, start, key=lambda other: other[1])
        first += first < len(found) and found[first][1] == start
        last = bisect.bisect_left(found, end, key=lambda other: other[0])
        rest: list[tuple[int, int, Mapped]] = []
        for low, high, below in found[first:last]:
            if low < start:
                rest.append((low, start, below))
            if high > end:
                rest.append((end, high, below))
        found[first:last] = sorted([*rest, (start, end, one)], key=lambda other: other[0])
    return found


def module_of(mapped: Mapped) -> Module:
    """The module of a mapping."""
    if mapped.name.startswith("//anon") or not mapped.name:
        return ANON
    return Module(mapped.name.removesuffix(" (deleted)"), mapped.inode)


class Spaces:
    """The address spaces of all processes, and open files of what they mapped.

    A file is opened as soon as its mapping is known of: later it may be gone, and its process too.

    Attributes:
        lost: records that were.
        changed: processes of which something new was recorded, for the reader to clear.
        ended: processes that have, likewise.
    """

    def __init__(self) -> None:
        self._of: dict[int, list[Space]] = {}
        self._files: dict[Module, int | None] = {}
        self.lost = 0
        self.changed: set[int] = set()
        self.ended: set[int] = set()

    def look(self, pid: int) -> None:
        """Take what a process has mapped now, for want of records of how it came to that."""
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                lines = file.read().splitlines()
        except OSError:
            return
        space = Space(0)
        for line in lines:
            found = _LINE.match(line)
            if found and found[3] == "x":
                low, high, offset, major, minor = (int(found[i], 16) for i in (1, 2, 4, 5, 6))
                inode = (major, minor, int(found[7]))
                space.add(Mapped(0, pid, low, high - low, offset, inode, found[8]))
        self._of.setdefault(pid, []).append(space)
        self._open(space.mapped)
        self.changed.add(pid)

    def add(self, records: Iterable[Record]) -> None:
        """Take what has been recorded, in the order of time."""
        for record in records:
            if isinstance(record, Mapped):
                self._newest(record.pid).add(record)
                self._open([record])
            elif isinstance(record, Ended):
                self.ended.add(record.pid)
                continue
            elif isinstance(record, Executed):
                self._of.setdefault(record.pid, []).append(Space(record.time))
            elif isinstance(record, Forked):
                mapped = list(self._newest(record.parent).mapped)
                self._of.setdefault(record.pid, []).append(Space(record.time, mapped))
            else:
                self.lost += record.count
                continue
            self.changed.add(record.pid)
            self.ended.discard(record.pid)

    def newest(self, pid: int) -> Space:
        """What a process has mapped as far as is known."""
        return self._newest(pid)

    def space(self, pid: int, time: int) -> Space:
        """What a process had mapped at a time, in the program that it was then."""
        place = int(self.places(pid, np.array([time], np.int64))[0])
        return self._of[pid][place]

    def _newest(self, pid: int) -> Space:
        return self._of.setdefault(pid, [Space(0)])[-1]

    def places(self, pid: int, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The space of a process at each time (ns, CLOCK_MONOTONIC): the place in its list."""
        since = [space.since for space in self._of.setdefault(pid, [Space(0)])]
        return np.maximum(np.searchsorted(since, times, "right") - 1, 0)

    def find(self, space: tuple[int, int], address: int) -> tuple[Module, int]:
        """See `Space.find`; a space is a process and a place in its list."""
        return self._of[space[0]][space[1]].find(address)

    def _open(self, mapped: Iterable[Mapped]) -> None:
        for one in mapped:
            module = module_of(one)
            if module.name.startswith("/") and module not in self._files:
                self._files[module] = _open(one, module)

    def file(self, module: Module) -> int | None:
        """Descriptor of a module's file, this object's to close; None if it could not be opened."""
        return self._files.get(module)

    def files(self, name: str) -> list[int]:
        """Descriptors of all files of a name, this object's to close."""
        found = (one for module, one in self._files.items() if module.name == name)
        return [descriptor for descriptor in found if descriptor is not None]

    def close(self) -> None:
        """Close all files."""
        for descriptor in self._files.values():
            if descriptor is not None:
                os.close(descriptor)
        self._files.clear()


def _open(mapped: Mapped, module: Module) -> int | None:
    """The very file, wherever it still has a name; None if it has none that we may use."""
    span = f"{mapped.start:x}-{mapped.start + mapped.size:x}"
    process = f"/proc/{mapped.pid}"
    # The last is the file by definition, but needs root; of the others one may be another's by now.
    exact = f"{process}/map_files/{span}"
    for path in (module.name, f"{process}/root{module.name}", exact):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if path == exact or os.fstat(descriptor).st_ino == module.inode[2]:
                return descriptor
            os.close(descriptor)
    return None
