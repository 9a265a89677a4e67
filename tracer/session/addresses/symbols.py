# SPDX-License-Identifier: MIT
"""Names of functions: from ELF files, their separate debug files, the vDSO, and the kernel.

Where the symbol table was stripped off, the file's debug file is looked for by build-id and by
debug link; without one there may be names in the file, packed (MiniDebugInfo), and those that a
library exports.
"""

from __future__ import annotations

import ctypes
import lzma
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from multi_demangle import demangle_symbol
from numpy.typing import NDArray

DEBUG = Path("/usr/lib/debug")
KALLSYMS = Path("/proc/kallsyms")
_SYMBOL = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "<u2"),
        ("value", "<u8"),
        ("size", "<u8"),
    ]
)
_MANGLED = ("_Z", "_R", "_D")  # C++ and older Rust, Rust, D
_MOST_MINI = 256 << 20  # bytes of a MiniDebugInfo once unpacked
_START = 64  # bytes at most of a program's first function
_FUNCTION, _GNU_IFUNC, _NOTYPE = 2, 10, 0

Table = tuple[NDArray[np.uint64], NDArray[np.uint64], list[str]]
"""Where functions start and end, ascending, and their names."""


@dataclass(frozen=True)
class Symbols:
    """Functions of one module.

    Args:
        starts: u64, ascending addresses.
        ends: u64, where each ends; its start if its size is not known.
        names: of each.
        segments: file offset, size and address of each part that is loaded; none for addresses
            that are what they are.
    """

    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    names: list[str]
    segments: tuple[tuple[int, int, int], ...] = ()

    def address(self, offset: int) -> int | None:
        """The address, as linked, of a place in the file; None if it is not loaded."""
        if not self.segments:
            return offset
        for start, size, address in self.segments:
            if start <= offset < start + size:
                return offset - start + address
        return None

    def name(self, offset: int, begin: int | None = None) -> tuple[str, int] | None:
        """The function at a place in the file, and how far into it that is; None if unknown.

        Args:
            offset: the place.
            begin: where the file's call frame information has its function begin.
        """
        address = self.address(offset)
        if address is None or not len(self.starts):
            return None
        at = int(np.searchsorted(self.starts, np.uint64(address), "right")) - 1
        if at < 0:
            return None
        start, end = int(self.starts[at]), int(self.ends[at])
        # Hand-written functions have no size; they end where the next one begins, nameless or not.
        if end != start and address >= end:
            return None
        if end == start and begin is not None and address - start > offset - begin:
            return None
        return demangle(self.names[at]), address - start


NOTHING = Symbols(np.empty(0, np.uint64), np.empty(0, np.uint64), [])


def of_file(descriptor: int) -> Symbols:
    """Functions of an open ELF file; none if it is not one, or damaged."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return _read(file)


def of_vdso() -> Symbols:
    """Functions of the vDSO."""
    return _read(BytesIO(vdso_image()))


def vdso_image() -> bytes:
    """The vDSO, which is the same in every process of this machine; nothing if there is none."""
    for line in (
        Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    ):
        if line.endswith("[vdso]"):
            low, high = (int(word, 16) for word in line.split()[0].split("-"))
            return ctypes.string_at(low, high - low)
    return b""


def of_kernel(file: Path = KALLSYMS) -> Symbols:
    """Functions of the kernel and its modules; none where the kernel hides their addresses."""
    found: dict[int, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return NOTHING
    for line in lines:
        address, kind, name, *_ = line.split()
        if kind in "tTwW":
            found.setdefault(int(address, 16), name)
    if set(found) <= {0}:
        return NOTHING
    starts = np.array(sorted(found), np.uint64)
    return Symbols(starts, starts, [found[int(start)] for start in starts])


def _read(file: IO[bytes]) -> Symbols:
    try:
        elf = ELFFile(file)
        if elf.elfclass != 64 or not elf.little_endian:
            return NOTHING
        segments = tuple(
            (int(s["p_offset"]), int(s["p_filesz"]), int(s["p_vaddr"]))
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD"
        )
        for source in sources(elf, file):
            found = _table(source, ".symtab")
            if found is not None:
                return _with_start(Symbols(*found, segments), int(elf["e_entry"]))
        tables = [_mini(elf), _table(elf, ".dynsym")]
        found = _together([table for table in tables if table is not None])
        return _with_start(Symbols(*found, segments), int(elf["e_entry"]))
    # pyelftools lets errors of what it is built on through, when a file is damaged.
    except (ELFError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError):
        return NOTHING


def _mini(elf: Any) -> Table | None:
    """The symbols of a MiniDebugInfo: all but those that the file exports, as a packed file."""
    section = elf.get_section_by_name(".gnu_debugdata")
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    try:
        data = lzma.LZMADecompressor().decompress(section.data(), _MOST_MINI)
    except lzma.LZMAError:
        return None
    return _table(ELFFile(BytesIO(data)), ".symtab")


def _together(tables: list[Table]) -> Table:
    """Tables in one; of several names of a place the first table's."""
    starts = np.concatenate([NOTHING.starts, *(table[0] for table in tables)])
    ends = np.concatenate([NOTHING.ends, *(table[1] for table in tables)])
    names = [name for table in tables for name in table[2]]
    _, first = np.unique(starts, return_index=True)
    return starts[first], ends[first], [names[at] for at in first.tolist()]


def _with_start(symbols: Symbols, entry: int) -> Symbols:
    """With the place where a program begins, which a stripped one does not name."""
    at = int(np.searchsorted(symbols.starts, np.uint64(entry), "right"))
    if not entry or (at and (symbols.starts[at - 1] == entry or symbols.ends[at - 1] > entry)):
        return symbols
    end = entry + _START
    if at < len(symbols.starts):
        end = min(end, int(symbols.starts[at]))
    return Symbols(
        np.insert(symbols.starts, at, np.uint64(entry)),
        np.insert(symbols.ends, at, np.uint64(end)),
        [*symbols.names[:at], "_start", *symbols.names[at:]],
        symbols.segments,
    )


def _table(elf: Any, name: str) -> Table | None:
    section = elf.get_section_by_name(name)
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    symbols = np.frombuffer(section.data(), _SYMBOL)
    kind = symbols["info"] & 0xF
    wanted = (symbols["section"] != 0) & ((kind == _FUNCTION) | (kind == _GNU_IFUNC))
    # Code written in assembler often has labels alone.
    labels = (kind == _NOTYPE) & (symbols["info"] >> 4 == 1) & (symbols["section"] != 0)
    symbols = symbols[wanted | (labels & (symbols["section"] < 0xFF00))]
    # Of several names of one place the sized one, then the global one.
    order = np.lexsort((symbols["info"] >> 4 == 0, symbols["size"] == 0, symbols["value"]))
    symbols = symbols[order]
    _, first = np.unique(symbols["value"], return_index=True)
    symbols = symbols[first]
    texts: bytes = elf.get_section(section["sh_link"]).data()
    names = [
        texts[at : texts.index(b"\0", at)].decode(errors="replace")
        for at in symbols["name"].tolist()
    ]
    # Of a debug file's table: which version of it a library offers.
    names = [text.partition("@")[0] or text for text in names]
    starts = symbols["value"].astype(np.uint64)
    return starts, starts + symbols["size"].astype(np.uint64), names


def sources(elf: Any, file: IO[bytes]) -> Iterator[Any]:
    """The file itself and then its debug files, as far as they are there and really its own."""
    yield elf
    identity = build_id(elf)
    if identity:
        installed = DEBUG / ".build-id" / identity[:2] / f"{identity[2:]}.debug"
        for path in (installed, _fetched(identity)):
            with _opened(path) as debug:
                if debug is not None and build_id(debug) == identity:
                    yield debug
    section = elf.get_section_by_name(".gnu_debuglink")
    own = _path_of(file)
    if section is None or own is None:
        return
    data = section.data()
    name = data.split(b"\0", 1)[0].decode(errors="surrogateescape")
    checksum = int.from_bytes(data[-4:], "little")
    if not name or "/" in name:
        return
    for path in (
        own.parent / name,
        own.parent / ".debug" / name,
        DEBUG / own.parent.relative_to("/") / name,
    ):
        if path != own and path.is_file() and zlib.crc32(path.read_bytes()) == checksum:
            with _opened(path) as debug:
                if debug is not None:
                    yield debug


def _fetched(identity: str) -> Path:
    """Where debuginfod's client keeps the debug file of a build-id once it was asked for."""
    own = os.environ.get("DEBUGINFOD_CACHE_PATH")
    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(own or Path(caches) / "debuginfod_client") / identity / "debuginfo"


class _opened:  # noqa: N801 - used as a function
    """An ELF file by its path; None if it cannot be opened, or is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Any:
        try:
            self._file = self._path.open("rb")
            return ELFFile(self._file)
        except (OSError, ELFError, ValueError):
            return None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def build_id(elf: Any) -> str | None:
    """The hexadecimal build-id of an ELF file, None if it has none."""
    section = elf.get_section_by_name(".note.gnu.build-id")
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    data: bytes = section.data()
    size = int.from_bytes(data[4:8], "little")
    return data[16 : 16 + size].hex()


def _path_of(file: IO[bytes]) -> Path | None:
    try:
        path = Path(f"/proc/self/fd/{file.fileno()}").readlink()
    except OSError:
        return None
    return path if path.is_absolute() and path.exists() else None


def demangle(name: str) -> str:
    """A name as it was written in C++, Rust or D; others as they are."""
    return demangle_symbol(name) if name.startswith(_MANGLED) else name
