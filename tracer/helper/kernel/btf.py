# SPDX-License-Identifier: MIT
"""Where the running kernel keeps things, by its own type information (BTF), which libbpf reads."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

from memsc.tracer.helper.kernel import bpf

_STRUCT, _UNION = 4, 5
_DEPTH = 4  # of structures without a name within each other


class _Type(ctypes.Structure):  # struct btf_type
    _fields_ = (
        ("name", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
    )


class _Member(ctypes.Structure):  # struct btf_member
    _fields_ = (
        ("name", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


def offsets(wanted: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """Bytes from the beginning of kernel structures to their members.

    Args:
        wanted: names of members by the structure's.

    Returns:
        By `structure.member`.

    Raises:
        OSError: there is no libbpf, no type information, or no such member.
    """
    lib = bpf.libbpf()
    lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    lib.btf__type_by_id.restype = ctypes.c_void_p
    lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.btf__name_by_offset.restype = ctypes.c_char_p
    lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    lib.btf__free.argtypes = [ctypes.c_void_p]
    btf = lib.btf__load_vmlinux_btf()
    if not btf:
        raise OSError(ctypes.get_errno() or errno.ENOENT, "the kernel has no type information")
    try:
        found: dict[str, int] = {}
        for structure, members in wanted.items():
            number = lib.btf__find_by_name_kind(btf, structure.encode(), _STRUCT)
            known = _members(lib, btf, number, 0, _DEPTH) if number > 0 else {}
            for member in members:
                if member not in known:
                    raise OSError(errno.ENOENT, f"the kernel has no {structure}.{member}")
                found[f"{structure}.{member}"] = known[member]
        return found
    finally:
        lib.btf__free(btf)


def _members(lib: Any, btf: int, number: int, base: int, depth: int) -> dict[str, int]:
    """Offsets by name; those of members without a name stand for them."""
    place = lib.btf__type_by_id(btf, number)
    if not place:
        return {}
    head = _Type.from_address(place)
    if (head.info >> 24) & 0x1F not in (_STRUCT, _UNION):
        return {}
    # With bit fields the upper bits of an offset are a width; these are none that are asked for.
    mask = 0xFFFFFF if head.info >> 31 else 0xFFFFFFFF
    members = (_Member * (head.info & 0xFFFF)).from_address(place + ctypes.sizeof(_Type))
    found: dict[str, int] = {}
    for one in members:
        name = lib.btf__name_by_offset(btf, one.name)
        offset = base + (one.offset & mask) // 8
        if name:
            found.setdefault(name.decode(errors="replace"), offset)
        elif depth:
            for inner, at in _members(lib, btf, one.type, offset, depth - 1).items():
                found.setdefault(inner, at)
    return found
