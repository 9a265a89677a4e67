# SPDX-License-Identifier: MIT
"""Other people's probes, coming and going: a process of its own that a test starts and ends.

    python3 toggled_probes.py SEED [NAME…]

puts the kernel's user-space probes on the entries of functions of the C library and the loader, a
few at a time, into every process of the machine, and takes them away again, until its standard
input ends. Then it says how many there were. With names only these functions, else all that hold a
`syscall` instruction.
"""

from __future__ import annotations

import ctypes
import os
import random
import select
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

LIBRARIES = ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2")
TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
ENTERED_AT_SITE = (
    *("thrd_yield", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getpgrp"),
    *("umask", "brk", "gettid", "read", "write", "open", "close", "nanosleep"),
)

_PERF_EVENT_OPEN, _CLOSE_ON_EXEC, _ATTRIBUTE_BYTES = 298, 8, 128
_MOST_AT_ONCE, _LONGEST_S = 24, 0.02
_libc = ctypes.CDLL(None, use_errno=True)


def functions(path: str, names: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """File and offset of exported functions: those named, else all with a `syscall` in them."""
    image = Path(path).read_bytes()
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        text = next(s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_flags"] & 1)
        to_offset = text["p_offset"] - text["p_vaddr"]
        table = elf.get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        for symbol in table.iter_symbols():
            if symbol["st_info"]["type"] != "STT_FUNC" or symbol["st_shndx"] == "SHN_UNDEF":
                continue
            offset = symbol["st_value"] + to_offset
            body = image[offset : offset + max(symbol["st_size"], 16)]
            if symbol.name in names if names else b"\x0f\x05" in body:
                yield os.path.realpath(path), offset


def put(path: str, offset: int) -> int:
    """A descriptor for as long as which the probe is there."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    attribute = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into("IIQQ", attribute, 0, int(TYPE.read_text()), _ATTRIBUTE_BYTES, 0, 1_000_000)
    struct.pack_into("QQ", attribute, 56, ctypes.addressof(name), offset)
    area = (ctypes.c_char * _ATTRIBUTE_BYTES).from_buffer(attribute)
    descriptor: int = _libc.syscall(_PERF_EVENT_OPEN, area, -1, 0, -1, _CLOSE_ON_EXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"no probe at {path}+{offset:#x}")
    return descriptor


def main(seed: int, names: tuple[str, ...]) -> None:
    """Put probes and take them away until the standard input ends."""
    places = sorted({place for library in LIBRARIES for place in functions(library, names)})
    source = random.Random(seed)
    count = 0
    sys.stdout.write(f"{len(places)}\n")
    sys.stdout.flush()
    while not select.select([0], [], [], source.random() * _LONGEST_S)[0]:
        chosen = source.sample(places, min(len(places), source.randint(1, _MOST_AT_ONCE)))
        descriptors = [put(*place) for place in chosen]
        count += len(descriptors)
        select.select([0], [], [], source.random() * _LONGEST_S)
        source.shuffle(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), tuple(sys.argv[2:]))
