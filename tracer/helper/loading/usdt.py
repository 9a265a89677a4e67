# SPDX-License-Identifier: MIT
"""Finds static probes (USDT) in an ELF file: the notes of section `.note.stapsdt`.

Runs in the helper too, with Debian's pyelftools: which instructions are replaced is not for the
session to say.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memsc.runtime.errors import MemscError
from memsc.runtime.files import REINSTALL

PROVIDER = "memsc"
ARGUMENTS = {
    "x86_64": "4@%edi 4@%esi -8@%rdx -8@%rcx 4@%r8d",
    "aarch64": "4@x0 4@x1 -8@x2 -8@x3 4@x4",
}
"""Of every memsc probe: registers of a function's parameters, as the BPF programs take them."""

# One byte on x86: on a 5-byte nop Linux 6.18 writes a call that overwrites the red zone.
_NOPS = {"x86_64": b"\x90", "aarch64": b"\x1f\x20\x03\xd5"}
_OWNER = "stapsdt"
_TYPE = 3
_INSTALL = "apt install python3-pyelftools, for /usr/bin/python3"


@dataclass(frozen=True)
class Site:
    """One place of a static probe; a probe has several where the compiler copied its function.

    Args:
        provider: the first half of its name.
        name: the second.
        offset: of the instruction, bytes into the file.
        semaphore: of the counter of those who look, bytes into the file; 0 if it has none.
        arguments: as the note has them, `SIZE@PLACE` each.
    """

    provider: str
    name: str
    offset: int
    semaphore: int
    arguments: str


def sites(path: Path) -> list[Site]:
    """The static probes of an ELF file, in the order of their notes; empty if it has none.

    Raises:
        MemscError: it is not an ELF file, it is damaged, or pyelftools is not installed.
    """
    try:
        from elftools.common.exceptions import ELFError  # noqa: PLC0415 - the helper may lack it
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    except ImportError as error:
        raise MemscError(f"reading {path}", "pyelftools is not installed", _INSTALL) from error
    try:
        with path.open("rb") as file:
            return list(_sites(ELFFile(file)))
    except OSError as error:
        raise MemscError(f"reading {path}", str(error.strerror), REINSTALL) from error
    # pyelftools lets errors of what it is built on through, when a file is damaged.
    except (ELFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise MemscError(f"reading {path}", f"damaged: {error}", REINSTALL) from error


def _sites(elf: Any) -> Iterator[Site]:
    section = elf.get_section_by_name(".note.stapsdt")
    if section is None:
        return
    base = elf.get_section_by_name(".stapsdt.base")
    order = "little" if elf.little_endian else "big"
    width = elf.elfclass // 8
    segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]

    def in_file(address: int) -> int:
        for segment in segments:
            if segment["p_vaddr"] <= address < segment["p_vaddr"] + segment["p_filesz"]:
                return int(address - segment["p_vaddr"] + segment["p_offset"])
        raise ValueError(f"address {address:#x} is in no part of the file")

    for owner, kind, descriptor in _notes(section.data(), order):
        if owner != _OWNER or kind != _TYPE:
            continue
        words = [
            int.from_bytes(descriptor[at : at + width], order) for at in range(0, 3 * width, width)
        ]
        texts = descriptor[3 * width :].split(b"\0")
        if len(descriptor) < 3 * width or len(texts) < 4:
            raise ValueError("a probe's note is cut short")
        pc, noted, semaphore = words
        # A prelinker that moved the file did not know of the notes.
        moved = base["sh_addr"] - noted if base is not None else 0
        provider, name, arguments = (text.decode() for text in texts[:3])
        counter = in_file(semaphore + moved) if semaphore else 0
        yield Site(provider, name, in_file(pc + moved), counter, arguments)


def _notes(data: bytes, order: Any) -> Iterator[tuple[str, int, bytes]]:
    """Owner, type and descriptor of each note."""
    at = 0
    while at + 12 <= len(data):
        sizes = [int.from_bytes(data[at + i : at + i + 4], order) for i in (0, 4, 8)]
        name, at = data[at + 12 : at + 12 + sizes[0]], at + 12 + _aligned(sizes[0])
        descriptor, at = data[at : at + sizes[1]], at + _aligned(sizes[1])
        if len(name) != sizes[0] or len(descriptor) != sizes[1]:
            raise ValueError("a note is cut short")
        yield name.rstrip(b"\0").decode(), sizes[2], descriptor


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def own_sites(path: Path, name: str) -> tuple[Site, ...]:
    """Places of one of memsc's own probes in one of its libraries, checked.

    Raises:
        MemscError: there is none, or it is not as the BPF programs and the kernel need it.
    """
    found = [site for site in sites(path) if (site.provider, site.name) == (PROVIDER, name)]
    machine = platform.machine()
    reason = None if found else f"it has no probe {PROVIDER}:{name}"
    nop = _NOPS.get(machine, b"")
    data = path.read_bytes()
    for site in found:
        if site.arguments != ARGUMENTS.get(machine):
            reason = f"{name} has the arguments {site.arguments}"
        elif not site.semaphore:
            reason = f"{name} has no semaphore"
        elif not nop or data[site.offset : site.offset + len(nop)] != nop:
            reason = f"{name} is not on a {len(nop)}-byte nop"
    if reason:
        raise MemscError(f"reading {path}", reason, REINSTALL)
    return tuple(found)
