# SPDX-License-Identifier: MIT
"""The shared format as NumPy dtypes, derived from the built library's debug information.

`runtime/src/layout.h` is the only definition; nothing here knows an offset.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, cast

import numpy as np
from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LIBRARY, REINSTALL

VERSION = 5  # MEMSC_LAYOUT_VERSION that this Python knows how to read
MAGIC = 0x3130637333656D6D


class CallFlag(IntEnum):
    """`enum memsc_call_flags`; a test holds it to the library."""

    ASYNC = 1
    POOLED = 2
    SLEPT = 4
    WOKE = 8
    TAKEOVER = 16


@dataclass(frozen=True)
class Layout:
    """dtypes of the region's parts, and the enumerations by name."""

    region: np.dtype[Any]
    slot: np.dtype[Any]
    pages: np.dtype[Any]
    call: np.dtype[Any]
    enums: Mapping[str, Mapping[str, int]]


@functools.cache
def layout(path: Path = LIBRARY) -> Layout:
    """Read the shared format from a built library.

    Args:
        path: a libmemsc.so with debug information.

    Raises:
        MemscError: the library is missing or has been stripped.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise MemscError(
            f"reading {path.name}", error.strerror or "unreadable", REINSTALL
        ) from error
    with file:
        try:
            elf: Any = ELFFile(file)
            top = _find(elf) if elf.has_dwarf_info() else None
        except (ELFError, DWARFError) as error:
            raise MemscError(
                f"reading {path.name}", f"it is no library: {error}", REINSTALL
            ) from error
        if top is None:
            raise MemscError(
                f"reading {path.name}",
                "it has no debug information",
                REINSTALL,
            )
        members = {_name(child): _type(child) for child in top.iter_children()}
        enums = {
            _name(die).removeprefix("memsc_"): {
                _name(value).removeprefix("MEMSC_"): int(
                    value.attributes["DW_AT_const_value"].value
                )
                for value in die.iter_children()
            }
            for die in members.values()
            if die.tag == "DW_TAG_enumeration_type"
        }
        return Layout(
            *(_dtype(members[part]) for part in ("region", "slot", "pages", "call")),  # pyright: ignore
            enums=enums,
        )


def _find(elf: Any) -> Any:
    for unit in elf.get_dwarf_info().iter_CUs():
        top = unit.get_top_DIE()
        if not _name(top).endswith("layout.c"):
            continue
        for die in top.iter_children():
            if die.tag == "DW_TAG_structure_type" and _name(die) == "memsc_layout":
                return die
    return None


def _name(die: Any) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return cast("bytes", attribute.value).decode() if attribute else ""


def _type(die: Any) -> Any:
    """The type of a member, behind qualifiers and typedefs."""
    found = die.get_DIE_from_attribute("DW_AT_type")
    while found.tag in ("DW_TAG_typedef", "DW_TAG_atomic_type", "DW_TAG_const_type"):
        found = found.get_DIE_from_attribute("DW_AT_type")
    return found


def _size(die: Any) -> int:
    return int(die.attributes["DW_AT_byte_size"].value)


_SIGNED = {5, 6, 13}  # DW_ATE_signed, _signed_char, and what C calls plain char on x86


def _dtype(die: Any) -> np.dtype[Any]:
    if die.tag == "DW_TAG_base_type":
        encoding = int(die.attributes["DW_AT_encoding"].value)
        return np.dtype(f"<{'i' if encoding in _SIGNED else 'u'}{_size(die)}")
    if die.tag == "DW_TAG_enumeration_type":
        return np.dtype(f"<u{_size(die)}")
    if die.tag == "DW_TAG_array_type":
        return _array(die)
    fields = dict(_fields(die, 0))
    return np.dtype(
        {
            "names": list(fields),
            "formats": [dtype for dtype, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": _size(die),
        }
    )


def _array(die: Any) -> np.dtype[Any]:
    element = _type(die)
    counts = [int(child.attributes["DW_AT_upper_bound"].value) + 1 for child in die.iter_children()]
    if element.tag == "DW_TAG_base_type" and _size(element) == 1 and len(counts) == 1:
        return np.dtype(f"S{counts[0]}")
    return np.dtype((_dtype(element), tuple(counts)))


def _fields(die: Any, base: int) -> list[tuple[str, tuple[Any, int]]]:
    found: list[tuple[str, tuple[Any, int]]] = []
    for member in die.iter_children():
        if member.tag != "DW_TAG_member":
            continue
        place = member.attributes.get("DW_AT_data_member_location")
        offset = base + (int(place.value) if place else 0)
        name = _name(member)
        if name:
            found.append((name, (_dtype(_type(member)), offset)))
        else:  # an unnamed union: its members lie over each other
            found += _fields(_type(member), offset)
    return found
