# SPDX-License-Identifier: MIT
"""Where the layer's slots lead back to (`runtime/layer/stub.S`), of programs that are gone as well.

A slot holds its site's address, so a walk reads memory there. Of a stack that was copied the
program may have ended by then. But the same libraries have the same sites in the same slots: what
one program's slots hold is read as soon as they are filled, and holds for the others.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

import numpy as np

from memsc.tracer.session.addresses.address_spaces import UNKNOWN, Module, Space
from memsc.tracer.session.unwind.rules import Rules, constants

_TRIED = 3  # programs that are read before what is known is taken for all

Place = tuple[Module, int]


class Slots:
    """What is known of slots."""

    def __init__(self) -> None:
        self._known: dict[Place, list[Place]] = {}
        self._read: dict[Module, int] = {}

    def learn(self, pid: int, space: Space, module: Module, rules: Rules) -> None:
        """Read the slots of a program that has the layer, unless enough of them were read.

        Args:
            pid: the program.
            space: what it has mapped.
            module: the layer, if it is; others have no slots.
            rules: the module's.
        """
        if self._read.get(module, 0) >= _TRIED:
            return
        c = constants()
        size, resume = c["MEMSC_WALK_SLOT"], c["MEMSC_WALK_RESUME"]
        kinds = (rules.rules >> np.uint64(12)) & np.uint64(15)
        at = rules.addresses[kinds == c["MEMSC_SLOT"]]
        start = rules.place(int(at[0]) // size * size) if len(at) else None
        first = space.address(module, start) if start is not None else None
        if start is None or first is None:
            self._read[module] = _TRIED
            return
        count = (int(at[-1]) - int(at[0])) // size + 1
        words = self._words(pid, first, count * size)[resume // 8 :: size // 8]
        for number in np.flatnonzero(words).tolist():
            site = space.find(int(words[number]))
            sites = self._known.setdefault((module, start + number * size + resume), [])
            if site[0] != UNKNOWN and site not in sites:
                sites.append(site)
        self._read[module] = self._read.get(module, 0) + bool(words.any())

    @staticmethod
    def _words(pid: int, address: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        with suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
            data = os.pread(memory.fileno(), size, address)
            return np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
        return np.zeros(0, np.uint64)

    def resume(self, space: Space, address: int) -> int:
        """The word at an address in a slot of a program, where its site goes on; 0 if not known."""
        sites: Collection[Place] = self._known.get(space.find(address), ())
        found = (space.address(*site) for site in sites)
        return next((place for place in found if place is not None), 0)
