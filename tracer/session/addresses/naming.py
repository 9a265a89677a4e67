# SPDX-License-Identifier: MIT
"""Which function an address lies in: its name, or where it begins, which tells it from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from memsc.runtime.files import LAYER
from memsc.tracer.session.addresses import perf_maps, symbols
from memsc.tracer.session.addresses.address_spaces import ANON, Module, Spaces
from memsc.tracer.session.addresses.inlined import Chain, Inlined
from memsc.tracer.session.addresses.perf_maps import PerfMap
from memsc.tracer.session.unwind.rules import Rules

KERNEL = Module("[kernel]")
KERNEL_SPACE = (-1, 0)
VDSO = "[vdso]"
UNTOLD = -1
"""Where a function begins, if nobody says so."""


class Named(NamedTuple):
    """A frame.

    Args:
        function: its name; empty if it is not known.
        module: the file's name, or what stands for it.
        offset: from where the function begins; from where the file does, if that is not known.
        start: where the function begins in its file; `UNTOLD` if it is not known, or of no file.
    """

    function: str
    module: str
    offset: int
    start: int = UNTOLD


class Naming:
    """The functions of what a session's processes have mapped.

    Args:
        spaces: what they have.
        rules_of: what is known of a module's frames.
        note: tells the user something.
    """

    def __init__(
        self,
        spaces: Spaces,
        rules_of: Callable[[Module], Rules | None],
        note: Callable[[str], None],
    ) -> None:
        self._spaces = spaces
        self._rules_of = rules_of
        self._note = note
        self._symbols: dict[Module, symbols.Symbols] = {}
        self._inlined = Inlined()
        self._inside: dict[Module, dict[int, Chain]] = {}
        self._perf_maps: dict[int, PerfMap] = {}

    def learn(self, stacks: Iterable[tuple[tuple[int, int], list[int]]]) -> None:
        """Learn which functions are inlined where stacks have been; each a space and addresses."""
        places: dict[Module, set[int]] = {}
        for space, addresses in stacks:
            if space != KERNEL_SPACE:
                for address in addresses:
                    module, place = self._spaces.find(space, address)
                    places.setdefault(module, set()).add(place)
        for module, mine in places.items():
            descriptor, known = self._spaces.file(module), self._symbols_of(module)
            if descriptor is not None and not module.name.endswith(LAYER.name):
                linked = (known.address(place) for place in mine)
                wanted = [address for address in linked if address is not None]
                self._inside[module] = self._inlined.learn(module.name, descriptor, wanted)
        for name in sorted(self._inlined.unread):
            self._note(f"{name}: inlined functions may lack: its debug information is too much")

    def forget(self) -> None:
        """Read anew what programs say of themselves: it grows."""
        self._perf_maps = {}

    def frames(self, space: tuple[int, int], addresses: list[int]) -> list[Named]:
        """A stack's frames, innermost first, with the functions that are inlined in them."""
        named = _known_by_callers([self._name(space, address) for address in addresses])
        return [
            frame
            for address, one in zip(addresses, named, strict=True)
            for frame in (*self._inlined_at(space, address), one)
        ]

    def _inlined_at(self, space: tuple[int, int], address: int) -> list[Named]:
        if space == KERNEL_SPACE:
            return []
        module, place = self._spaces.find(space, address)
        linked = self._symbols_of(module).address(place)
        chain = self._inside.get(module, {}).get(linked, ()) if linked is not None else ()
        return [Named(name, module.name, offset, place - offset) for name, offset in chain]

    def _name(self, space: tuple[int, int], address: int) -> Named:
        if space == KERNEL_SPACE:
            module, place = KERNEL, address
        else:
            module, place = self._spaces.find(space, address)
        is_file = bool(module.inode[2])
        begin = self._begin(module, place)
        found = self._symbols_of(module).name(place, begin)
        if found is None and module == ANON:
            found = self._perf_map_of(space[0]).name(address)
        if found is not None:
            name, offset = found
            return Named(name, module.name, offset, place - offset if is_file else UNTOLD)
        if begin is not None and is_file:
            return Named("", module.name, place - begin, begin)
        return Named("", module.name, place if is_file else 0)

    def _begin(self, module: Module, place: int) -> int | None:
        """Where the function at a place begins, by the file's call frame information."""
        known = self._rules_of(module)
        address = known.address(place) if known is not None else None
        begin = known.function(address) if known is not None and address is not None else None
        return known.place(begin) if known is not None and begin is not None else None

    def _perf_map_of(self, pid: int) -> PerfMap:
        if pid not in self._perf_maps:
            self._perf_maps[pid] = perf_maps.of_process(pid)
        return self._perf_maps[pid]

    def _symbols_of(self, module: Module) -> symbols.Symbols:
        if module not in self._symbols:
            descriptor = self._spaces.file(module)
            if module == KERNEL:
                self._symbols[module] = symbols.of_kernel()
                if not len(self._symbols[module].starts):
                    self._note(
                        "the kernel hides its functions' names: sysctl kernel.kptr_restrict=0"
                    )
            elif module.name == VDSO:
                self._symbols[module] = symbols.of_vdso()
            elif descriptor is None:
                self._symbols[module] = symbols.NOTHING
            else:
                self._symbols[module] = symbols.of_file(descriptor)
        return self._symbols[module]


def _known_by_callers(frames: list[Named]) -> list[Named]:
    """Frames, innermost first; `main` has its name where the file does not tell it."""
    callers = [*(one.function for one in frames[1:]), ""]
    return [
        one._replace(function="main")
        if not one.function and caller == "__libc_start_call_main"
        else one
        for one, caller in zip(frames, callers, strict=True)
    ]
