# SPDX-License-Identifier: MIT
"""Functions that a compiler has put into others: which of them an address lies in, by DWARF.

Debug information is large and anybody's, and reading it in Python is slow. So it is read in a
process of its own, which may use so much time and memory; what it has found by then is taken.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile

from memsc.tracer.session.addresses.symbols import build_id, demangle, sources

Chain = tuple[tuple[str, int], ...]
"""Names of inlined functions, the innermost first, and how far into each an address is."""
_MEMORY = 1 << 30  # bytes, of which sections are a half at most
_MOST_S, _OF_FILE_S = 6.0, 2.0  # of a session, and of each of its files
_HOPS = 8  # from a copy of a function to where its name is
_DAMAGED = (
    *(ELFError, DWARFError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError),
    *(NotImplementedError, AssertionError, RecursionError, MemoryError, UnicodeDecodeError),
)


class Inlined:
    """What is inlined in the files of a session.

    Attributes:
        unread: names of files for which the time did not suffice, or the memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[int, Chain]] = {}
        self._left_s = _MOST_S
        self._of_file_s: dict[str, float] = {}
        self.unread: set[str] = set()

    def learn(self, name: str, descriptor: int, addresses: Iterable[int]) -> dict[int, Chain]:
        """Of addresses, as linked, of an open file those that lie in inlined functions.

        Files that have the same build-id are looked into once.
        """
        identity = _identity(descriptor)
        if identity is None:
            return {}
        known = self._known.setdefault(identity, {})
        new = sorted(set(addresses) - known.keys())
        limit_s = min(self._left_s, self._of_file_s.setdefault(identity, _OF_FILE_S))
        whole = limit_s > 0
        if new and whole:
            began = time.monotonic()
            found, whole = _ask(descriptor, new, limit_s)
            took_s = time.monotonic() - began
            self._left_s -= took_s
            self._of_file_s[identity] -= took_s
            known.update(dict.fromkeys(new, ()) | found)
        if new and not whole:
            self.unread.add(name)
        return known


def _identity(descriptor: int) -> str | None:
    """Tells files apart; None of one that has no debug information, or is none."""
    with suppress(*_DAMAGED), os.fdopen(os.dup(descriptor), "rb") as file:
        elf = ELFFile(file)
        if any(one.get_section_by_name(".debug_info") is not None for one in sources(elf, file)):
            status = os.fstat(descriptor)
            return build_id(elf) or f"{status.st_dev} {status.st_ino} {status.st_mtime_ns}"
    return None


def _ask(descriptor: int, addresses: list[int], limit_s: float) -> tuple[dict[int, Chain], bool]:
    command = [sys.executable, "-P", "-m", __name__, str(descriptor)]
    text = "\n".join(map(str, addresses))
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            timeout=limit_s,
            check=False,
        )
        said, whole = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as late:
        said, whole = late.stdout or b"", False
    found: dict[int, Chain] = {}
    for line in said.decode(errors="replace").splitlines():
        words = line.split("\t")
        with suppress(ValueError):
            depths = [int(word) for word in words[1::2]]
            found[int(words[0])] = tuple(zip(words[2::2], depths, strict=True))
    return found, whole


# ---- in the other process ----


def main(descriptor: int) -> None:
    """Write a line for each address of stdin that lies in inlined functions."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    wanted = sorted(int(line) for line in sys.stdin)
    with os.fdopen(descriptor, "rb") as file:
        for source in sources(ELFFile(file), file):
            sections = [s for s in source.iter_sections() if s.name.startswith(".debug_")]
            if not any(section.name == ".debug_info" for section in sections):
                continue
            if sum(section.data_size for section in sections) > _MEMORY // 2:
                raise MemoryError
            for section in sections:
                if section.compressed:
                    _unpack(section, source)
            for address, chain in chains(source.get_dwarf_info(follow_links=False), wanted):
                words = [str(address), *(str(word) for one in chain for word in reversed(one))]
                sys.stdout.write("\t".join(words).replace("\n", " ") + "\n")
                sys.stdout.flush()
            return


def _unpack(section: Any, source: Any) -> None:
    """Have a section's contents at hand: pyelftools knows no zstd."""
    from memsc.tracer.session.unwind.compressed import contents  # noqa: PLC0415 (slow to import)

    whole = contents(section, section.stream, _MEMORY // 2)
    if whole is None:
        raise ELFError(section.name)
    # The file gives out a new object each time that a section is asked for.
    given = source.get_section_by_name

    def ask(name: str) -> Any:
        found = given(name)
        if name == section.name:
            found.data = lambda: whole
        return found

    source.get_section_by_name = ask


def chains(dwarf: Any, addresses: list[int]) -> Iterator[tuple[int, Chain]]:
    """Inlined functions at addresses, by compilation unit."""
    for unit, mine in _units(dwarf, addresses):
        base = _base(unit)
        left = set(mine)
        for function in _functions(unit.get_top_DIE()):
            inside = {a for a in left if _start(dwarf, function, a, base) is not None}
            for address in inside:
                if chain := _chain(dwarf, function, address, base):
                    yield address, chain
            left -= inside
            if not left:
                break


def _units(dwarf: Any, addresses: list[int]) -> Iterator[tuple[Any, list[int]]]:
    """Compilation units and which addresses are theirs; not all compilers write a list of them."""
    listed = dwarf.get_aranges()
    of: dict[int, list[int]] = {}
    left: set[int] = set()
    for address in addresses:
        place = listed.cu_offset_at_addr(address) if listed is not None else None
        if place is None:
            left.add(address)
        else:
            of.setdefault(place, []).append(address)
    for place, mine in sorted(of.items(), key=lambda one: -len(one[1])):
        yield dwarf.get_CU_at(place), mine
    if not left:
        return
    for unit in dwarf.iter_CUs():
        top = unit.get_top_DIE()
        mine = sorted(a for a in left if _start(dwarf, top, a, _base(unit)) is not None)
        if mine:
            yield unit, mine
            left -= set(mine)
        if not left:
            return


def _base(unit: Any) -> int:
    low = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    return low.value if low is not None else 0


def _functions(die: Any) -> Iterator[Any]:
    """Functions that there is code of; those of namespaces and types with them."""
    waiting = [die]
    while waiting:
        for child in waiting.pop().iter_children():
            if child.tag == "DW_TAG_subprogram":
                yield child
            elif child.tag in ("DW_TAG_namespace", "DW_TAG_module"):
                waiting.append(child)


def _start(dwarf: Any, die: Any, address: int, base: int) -> int | None:
    """Where the stretch of code begins in which an address lies; None if it is not of this."""
    low, high = (die.attributes.get(f"DW_AT_{name}_pc") for name in ("low", "high"))
    if low is not None and high is not None:
        end = high.value if high.form.startswith("DW_FORM_addr") else low.value + high.value
        return low.value if low.value <= address < end else None
    ranges = die.attributes.get("DW_AT_ranges")
    if ranges is None:
        return None
    at = base
    for entry in dwarf.range_lists().get_range_list_at_offset(ranges.value, die.cu):
        if isinstance(entry, BaseAddressEntry):
            at = entry.base_address
            continue
        offset = 0 if entry.is_absolute else at
        if offset + entry.begin_offset <= address < offset + entry.end_offset:
            return offset + entry.begin_offset
    return None


def _chain(dwarf: Any, function: Any, address: int, base: int) -> Chain:
    found: list[tuple[str, int]] = []
    waiting = [function]
    while waiting:
        for child in waiting.pop().iter_children():
            if child.tag not in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"):
                continue
            start = _start(dwarf, child, address, base)
            if start is None:
                continue
            if child.tag == "DW_TAG_inlined_subroutine" and (name := _name(child)):
                found.insert(0, (name, address - start))
            waiting = [child]
            break
    return tuple(found)


def _name(die: Any) -> str | None:
    """A function's name, which stands where it is declared."""
    plain = None
    for _ in range(_HOPS):
        for attribute in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name"):
            if attribute in die.attributes:
                return demangle(die.attributes[attribute].value.decode(errors="replace"))
        if plain is None and "DW_AT_name" in die.attributes:
            plain = die.attributes["DW_AT_name"].value.decode(errors="replace")
        for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if attribute in die.attributes:
                die = die.get_DIE_from_attribute(attribute)
                break
        else:
            break
    return plain


if __name__ == "__main__":
    main(int(sys.argv[1]))
