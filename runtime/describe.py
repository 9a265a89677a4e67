# SPDX-License-Identifier: MIT
"""Write down how the shared format lies in memory, as this build's compiler has laid it out.

    describe.py OBJECT OUTPUT

`src/layout.h` is the only definition. The object is `src/layout.c`'s, with debug information; the
output is JSON, `layout.json` beside the library:

    {"region": TYPE, "slot": TYPE, "pages": TYPE, "call": TYPE, "enums": {name: {name: value}}}

where a TYPE is NumPy's name of a number or text, `{"shape": […], "of": TYPE}` for an array, or
`{"size": bytes, "fields": {name: [offset, TYPE]}}` for a structure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

PARTS = ("region", "slot", "pages", "call")
SIGNED = {5, 6, 13}  # DW_ATE_signed, _signed_char, and what C calls plain char on x86
BEHIND = ("DW_TAG_typedef", "DW_TAG_atomic_type", "DW_TAG_const_type")


def main(source: Path, output: Path) -> None:
    """Read one, write the other."""
    with source.open("rb") as file:
        members = {name_of(child): type_of(child) for child in described(ELFFile(file))}
        found = {part: written(members[part]) for part in PARTS}
        found["enums"] = {
            name_of(die).removeprefix("memsc_"): values(die)
            for die in members.values()
            if die.tag == "DW_TAG_enumeration_type"
        }
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def described(elf: Any) -> Any:
    """The members of `struct memsc_layout`."""
    for unit in elf.get_dwarf_info().iter_CUs():
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_structure_type" and name_of(die) == "memsc_layout":
                return die.iter_children()
    raise SystemExit("describe.py: the object has no struct memsc_layout in its debug information")


def name_of(die: Any) -> str:
    """Empty for what has none."""
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode() if attribute else ""


def type_of(die: Any) -> Any:
    """The type of a member, behind qualifiers and typedefs."""
    found = die.get_DIE_from_attribute("DW_AT_type")
    while found.tag in BEHIND:
        found = found.get_DIE_from_attribute("DW_AT_type")
    return found


def size_of(die: Any) -> int:
    """Bytes."""
    return die.attributes["DW_AT_byte_size"].value


def values(die: Any) -> dict[str, int]:
    """An enumeration's, without what all its names begin with."""
    return {
        name_of(value).removeprefix("MEMSC_"): value.attributes["DW_AT_const_value"].value
        for value in die.iter_children()
    }


def written(die: Any) -> Any:
    """A type as JSON has it."""
    if die.tag == "DW_TAG_base_type":
        signed = die.attributes["DW_AT_encoding"].value in SIGNED
        order = "|" if size_of(die) == 1 else "<"
        return f"{order}{'i' if signed else 'u'}{size_of(die)}"
    if die.tag == "DW_TAG_enumeration_type":
        return f"<u{size_of(die)}"
    if die.tag == "DW_TAG_array_type":
        element = type_of(die)
        shape = [length_of(child) for child in die.iter_children()]
        if element.tag == "DW_TAG_base_type" and size_of(element) == 1 and len(shape) == 1:
            return f"|S{shape[0]}"
        return {"shape": shape, "of": written(element)}
    return {"size": size_of(die), "fields": dict(fields(die, 0))}


def length_of(die: Any) -> int:
    """Of an array's dimension: GCC writes its last index, clang how many there are."""
    if "DW_AT_count" in die.attributes:
        return int(die.attributes["DW_AT_count"].value)
    return int(die.attributes["DW_AT_upper_bound"].value) + 1


def fields(die: Any, base: int) -> Any:
    """Names of a structure's members, each with offset and type."""
    for member in die.iter_children():
        if member.tag != "DW_TAG_member":
            continue
        place = member.attributes.get("DW_AT_data_member_location")
        offset = base + (place.value if place else 0)
        if name_of(member):
            yield name_of(member), [offset, written(type_of(member))]
        else:  # an unnamed union: its members lie over each other
            yield from fields(type_of(member), offset)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
