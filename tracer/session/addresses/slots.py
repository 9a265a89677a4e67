# SPDX-License-Identifier: MIT
"""Where the layer's slots lead back to (`runtime/layer/stub.S`), of programs that are gone as well.

A slot holds its site's address, so a walk reads memory there. Of a stack that was copied the
program may have ended; but the same libraries have the same sites in the same slots, and another
program that has them may still be there.
"""

from __future__ import annotations

import os
from contextlib import suppress

from memsc.tracer.session.addresses.address_spaces import UNKNOWN, Module, Space, Spaces

_TRIED = 8  # programs, the newest first
_WORD = 8

Place = tuple[Module, int]


class Slots:
    """What is known of slots.

    Args:
        spaces: of the programs that may have them.
    """

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._known: dict[Place, Place] = {}

    def resume(self, space: Space, address: int) -> int:
        """The word at an address in a slot of a program, where its site goes on; 0 if not known."""
        slot = space.find(address)
        if slot[0] == UNKNOWN:
            return 0
        if slot not in self._known:
            site = self._read(slot)
            if site is None:
                return 0
            self._known[slot] = site
        return space.address(*self._known[slot]) or 0

    def _read(self, slot: Place) -> Place | None:
        for _, (pid, space) in zip(range(_TRIED), self._spaces.with_module(slot[0]), strict=False):
            address = space.address(*slot)
            if address is None:
                continue
            with suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
                word = int.from_bytes(os.pread(memory.fileno(), _WORD, address), "little")
                module, place = space.find(word)
                if module != UNKNOWN:
                    return module, place
        return None
