# SPDX-License-Identifier: MIT
"""What a file says about its frames, as rules for each address (`probes/rules.h`).

Files come from whatever the traced programs map, and may hold anything. The sections are read by
pyelftools and made into rules by `runtime/unwind`, which reads nothing outside of them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

from memsc.probes.declaration import FOLDER
from memsc.runtime.errors import MemscError
from memsc.runtime.files import NATIVE, REINSTALL
from memsc.tracer.session.unwind.compressed import contents

_ROW = np.dtype([("address", "<u8"), ("rule", "<u8")])
_EH_FRAME, _DEBUG_FRAME = 0, 1
_LARGEST = 256 << 20  # bytes of a section: that of the largest browsers is a tenth
_PAGE = 4096
_START = 256  # bytes of a first function that says nothing of its frame
_DEFINITION = re.compile(r"^#define (MEMSC_\w+) +(\d+)\b", re.MULTILINE)


@functools.cache
def constants() -> dict[str, int]:
    """The numbers of `probes/rules.h`, by name."""
    text = (FOLDER / "rules.h").read_text(encoding="utf-8")
    return {name: int(value) for name, value in _DEFINITION.findall(text)}


@functools.cache
def library() -> Any:
    """`runtime/unwind`, loaded.

    Raises:
        MemscError: it has not been built.
    """
    try:
        lib = ctypes.CDLL(str(NATIVE / "libmemsc-unwind.so"), use_errno=True)
    except OSError as error:
        raise MemscError("loading libmemsc-unwind", str(error), REINSTALL) from error
    lib.memsc_unwind_rows.restype = ctypes.c_uint64
    lib.memsc_unwind_rows.argtypes = [
        *(ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int),
        *(ctypes.c_void_p, ctypes.c_uint64),
    ]
    lib.memsc_unwind_walk.restype = ctypes.c_uint32
    lib.memsc_unwind_walk.argtypes = [ctypes.c_void_p] * 6
    return lib


@dataclass(frozen=True)
class Rules:
    """The rules of one file, each from its address on up to the next one's.

    Args:
        addresses: u64, ascending, as linked.
        rules: u64, see `probes/rules.h`; their place in the page is zero.
        segments: file offset, size and address of each part that is loaded to be executed.
        callers: all its functions that call others keep frame pointers meanwhile.
        begins: u64, ascending addresses where functions begin.
    """

    addresses: NDArray[np.uint64]
    rules: NDArray[np.uint64]
    segments: tuple[tuple[int, int, int], ...]
    callers: bool
    begins: NDArray[np.uint64]

    def address(self, offset: int) -> int | None:
        """The address, as linked, of a place in the file where a mapping begins; None: no code."""
        for start, size, address in self.segments:
            if start // _PAGE * _PAGE <= offset < start + size:
                return offset - start + address
        return None

    def function(self, address: int) -> int | None:
        """Where the function of an address begins, which may have no name; None: in no function.

        Args:
            address: as linked, as is what is returned.
        """
        at = int(np.searchsorted(self.addresses, np.uint64(address), "right"))
        first = int(np.searchsorted(self.begins, np.uint64(address), "right"))
        if not at or not first or _unknown(self.rules[at - 1 : at])[0]:
            return None
        return int(self.begins[first - 1])

    def place(self, address: int) -> int | None:
        """The place in the file of an address, as linked; None: it is not code."""
        for start, size, begin in self.segments:
            if begin <= address < begin + size:
                return address - begin + start
        return None


def of_file(file: IO[bytes]) -> Rules | None:
    """Rules of an ELF file; None if it has none, or is damaged."""
    try:
        elf = ELFFile(file)
        if elf.elfclass != 64 or not elf.little_endian or elf["e_machine"] != "EM_X86_64":
            return None
        segments = tuple(
            (int(s["p_offset"]), int(s["p_filesz"]), int(s["p_vaddr"]))
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_flags"] & 1
        )
        found, begins = None, np.zeros(0, np.uint64)
        for bytes_, address, kind in _sections(elf, file):
            more, starts = _sorted(_rows(bytes_, address, kind), segments)
            found = more if found is None else _merged(found, more)
            begins = np.union1d(begins, starts)
        if found is None or not len(found):
            return None
        found = _with_start(found, int(elf["e_entry"]))
        begins = np.union1d(begins, np.array([int(elf["e_entry"])], np.uint64))
    # pyelftools lets errors of what it is built on through, when a file is damaged.
    except (
        ELFError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OSError,
        OverflowError,
        MemoryError,
    ):
        return None
    rules = found["rule"].astype(np.uint64)
    addresses = found["address"].astype(np.uint64)
    return Rules(addresses, rules, segments, _keeps_frames(rules), begins)


def of_descriptor(descriptor: int) -> Rules | None:
    """Rules of an open file; see `of_file`."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return of_file(file)


def _sections(elf: Any, file: IO[bytes]) -> list[tuple[bytes, int, int]]:
    """Call frame information: the bytes, their address, and which kind it is."""
    found: list[tuple[bytes, int, int]] = []
    for name, kind in ((".eh_frame", _EH_FRAME), (".debug_frame", _DEBUG_FRAME)):
        section = elf.get_section_by_name(name)
        if section is None or section["sh_type"] == "SHT_NOBITS":
            continue
        data = contents(section, file, _LARGEST)
        if data is not None:
            found.append((data, int(section["sh_addr"]), kind))
    if not found:
        found += _without_sections(elf, file)
    return found


def _without_sections(elf: Any, file: IO[bytes]) -> list[tuple[bytes, int, int]]:
    """The same of a file whose section headers were stripped off: the loader needs none."""
    segments = list(elf.iter_segments())
    header = next((s for s in segments if s["p_type"] == "PT_GNU_EH_FRAME"), None)
    if header is None:
        return []
    file.seek(header["p_offset"])
    data = file.read(8)
    if len(data) < 8 or data[:2] != b"\x01\x1b":  # the address is relative and signed, 4 bytes
        return []
    address = header["p_vaddr"] + 4 + int.from_bytes(data[4:], "little", signed=True)
    for s in segments:
        if s["p_type"] == "PT_LOAD" and s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"]:
            skipped = address - s["p_vaddr"]
            file.seek(s["p_offset"] + skipped)
            return [(file.read(min(s["p_filesz"] - skipped, _LARGEST)), address, _EH_FRAME)]
    return []


def _rows(section: bytes, address: int, kind: int) -> NDArray[Any]:
    room = len(section) // 3 + 16
    while True:
        rows = np.zeros(room, _ROW)
        count = library().memsc_unwind_rows(
            section, len(section), address, kind, rows.ctypes.data, room
        )
        if count <= room:
            return rows[:count]
        room = count


def _unknown(rules: NDArray[Any]) -> NDArray[np.bool_]:
    return (rules >> np.uint64(12)) & np.uint64(15) == constants()["MEMSC_UNKNOWN"]


def _sorted(
    rows: NDArray[Any], segments: tuple[tuple[int, int, int], ...]
) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """By address, one for each: that of the function that begins where another ends.

    Returns:
        The rows, and where functions begin.
    """
    inside = np.zeros(len(rows), np.bool_)
    for _, size, start in segments:
        inside |= (rows["address"] >= start) & (rows["address"] <= start + size)
    rows = rows[inside]
    flag = np.uint64(constants()["MEMSC_BEGINS"])
    begins = rows["address"][rows["rule"] & flag != 0]
    rows["rule"] &= ~flag
    rows = rows[np.argsort(rows["address"] << np.uint64(1) | _unknown(rows["rule"]), kind="stable")]
    return _without_repeats(rows[_first_of_each(rows["address"])]), np.unique(begins)


def _first_of_each(values: NDArray[Any]) -> NDArray[np.bool_]:
    first = np.ones(len(values), np.bool_)
    first[1:] = values[1:] != values[:-1]
    return first


def _without_repeats(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[_first_of_each(rows["rule"])]


def _merged(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """What the first does not know is as the second has it."""
    addresses = np.union1d(first["address"], second["address"])
    rows = np.zeros(len(addresses), _ROW)
    rows["address"] = addresses
    for known in (first, second):
        at = np.searchsorted(known["address"], addresses, "right") - 1
        rules = np.where(at >= 0, known["rule"][at], 0) if len(known) else 0
        rows["rule"] = np.where(_unknown(rows["rule"]), rules, rows["rule"])
    return _without_repeats(rows)


def _with_start(rows: NDArray[Any], entry: int) -> NDArray[Any]:
    """With a first function that nobody called, where the file says nothing of it."""
    addresses = rows["address"]
    at = int(np.searchsorted(addresses, np.uint64(entry), "right"))
    if not entry or (at and not _unknown(rows["rule"][at - 1 : at])[0]):
        return rows
    end = entry + _START
    if at < len(rows):
        end = min(end, int(addresses[at]))
    known = constants()["MEMSC_OUTERMOST"] << 12
    more = np.array([(entry, known), (end, constants()["MEMSC_UNKNOWN"] << 12)], _ROW)
    rows = np.concatenate((rows, more))
    rows = rows[np.lexsort((_unknown(rows["rule"]), rows["address"]))]
    return rows[_first_of_each(rows["address"])]


def _keeps_frames(rules: NDArray[np.uint64]) -> bool:
    """Whether rbp leads from each frame that has called to its caller's: it is set up by then."""
    names = constants()
    kind, reg = (rules >> np.uint64(12)) & np.uint64(15), (rules >> np.uint64(32)) & np.uint64(15)
    saved = (rules >> np.uint64(16)) & np.uint64(255)
    offset = (rules >> np.uint64(36)).astype(np.int64)
    plain = kind == names["MEMSC_PLAIN"]
    by_frame = plain & (reg == names["MEMSC_RBP"]) & (offset == 16) & (saved == 2)
    by_stack = plain & (reg == names["MEMSC_RSP"])
    # Before rbp is pushed, and just after it.
    edge = by_stack & (((offset == 8) & (saved == 0)) | ((offset == 16) & (saved == 2)))
    others = ("MEMSC_UNKNOWN", "MEMSC_OUTERMOST", "MEMSC_LINKAGE")
    known = np.isin(kind, [names[name] for name in others])
    return bool(by_frame.any() and (by_frame | edge | known).all())


def of_bytes(image: bytes) -> Rules | None:
    """Rules of what is mapped as the vDSO; see `of_file`."""
    return of_file(BytesIO(image))
