# SPDX-License-Identifier: MIT
"""What a compiler makes of a text: the maps it wants and its programs' instructions. Pure."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_LOAD_WORD, _OF_MAP = 0x18, 1  # BPF_LD | BPF_DW | BPF_IMM with the source BPF_PSEUDO_MAP_FD
_INSTRUCTION = 8


@dataclass(frozen=True)
class Map:
    """A map, in the kernel's numbers.

    Args:
        kind: enum bpf_map_type.
        key: bytes of a key.
        value: bytes of a value.
        entries: at most; of a ring buffer its bytes.
        flags: as BPF_MAP_CREATE takes them.
    """

    kind: int
    key: int
    value: int
    entries: int
    flags: int


@dataclass(frozen=True)
class Object:
    """A compiled text.

    Args:
        maps: by name.
        programs: instructions by the C function's name; those that load a map have its place among
            the maps where the kernel wants a descriptor.
    """

    maps: Mapping[str, Map]
    programs: Mapping[str, bytes]

    def packed(self) -> bytes:
        """As bytes, of which `unpacked` makes it again."""
        maps = {name: asdict(one) for name, one in self.maps.items()}
        code = {name: base64.b64encode(one).decode() for name, one in self.programs.items()}
        return json.dumps({"maps": maps, "programs": code}).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Object:
        """Of bytes that `packed` made."""
        found = json.loads(data)
        maps = {name: Map(**one) for name, one in found["maps"].items()}
        code = {name: base64.b64decode(one) for name, one in found["programs"].items()}
        return cls(maps, code)


def renumbered(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """Instructions with the numbers of maps replaced.

    Raises:
        KeyError: there is none for one of them.
    """
    changed = bytearray(code)
    for at in range(0, len(code), _INSTRUCTION):
        if code[at] == _LOAD_WORD and code[at + 1] >> 4 == _OF_MAP:
            (number,) = struct.unpack_from("<i", code, at + 4)
            struct.pack_into("<i", changed, at + 4, numbers[number])
    return bytes(changed)
