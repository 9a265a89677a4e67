# SPDX-License-Identifier: MIT
"""Sections that are compressed, by either of the ways that ELF knows: pyelftools has zlib alone."""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import pyarrow as pa

_COMPRESSED = 0x800  # SHF_COMPRESSED
_ZLIB, _ZSTD = 1, 2
_HEADER = struct.Struct("<IIQQ")  # of 64-bit files: kind, nothing, bytes decompressed, alignment


def contents(section: Any, file: IO[bytes], most: int) -> bytes | None:
    """A section's bytes; None where they are damaged, or compressed in a way nobody here knows.

    Args:
        section: of pyelftools, of a little-endian file of 64 bits.
        file: where it lies.
        most: bytes that are wanted; None for more.
    """
    if section["sh_size"] > most:
        return None
    file.seek(section["sh_offset"])
    data = file.read(section["sh_size"])
    if not section["sh_flags"] & _COMPRESSED:
        return data
    if len(data) < _HEADER.size:
        return None
    kind, _, size, _ = _HEADER.unpack_from(data)
    if size > most:
        return None
    try:
        if kind == _ZLIB:
            whole = zlib.decompressobj().decompress(data[_HEADER.size :], size)
        elif kind == _ZSTD:
            whole = pa.decompress(data[_HEADER.size :], size, codec="zstd", asbytes=True)
        else:
            return None
    except (zlib.error, pa.ArrowException, OSError):
        return None
    return whole if len(whole) == size else None
