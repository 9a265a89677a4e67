# SPDX-License-Identifier: MIT
"""Protocol-buffer messages of one shape, many at a time, without a loop over them.

A varint may be written longer than it must be. With every number in a column as wide as the widest,
messages of one shape have one length: a million of them are a matrix of bytes, and a column of
numbers fills a few columns of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_LONGEST = 10
"""Bytes of the longest varint; negative numbers always take them all."""


class Hole(NamedTuple):
    """A place in a message that a column fills: `fixed` is 8 bytes, else it is a varint."""

    column: str
    fixed: bool = False


class Nested(NamedTuple):
    """A message inside another, in a field of it."""

    field: int
    parts: tuple[Part, ...]


Part = bytes | Hole | Nested


def varint(value: int) -> bytes:
    """A number as a varint."""
    out, rest = bytearray(), value & (1 << 64) - 1
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field that holds an integer, a boolean or an enumerator."""
    return varint(field << 3 | _VARINT) + varint(value)


def data(field: int, value: bytes | str) -> bytes:
    """A field that holds text, or a message already encoded."""
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def hole(field: int, column: str, *, fixed: bool = False) -> tuple[Part, Part]:
    """A field whose value stands in a column."""
    return varint(field << 3 | (_FIXED64 if fixed else _VARINT)), Hole(column, fixed)


def encode(parts: tuple[Part, ...], columns: Mapping[str, NDArray[np.int64]]) -> bytes:
    """As many messages as the columns have rows, one behind the other.

    Args:
        parts: the shape of each.
        columns: what fills the holes, all of one length.
    """
    widths = {name: _width(values) for name, values in columns.items()}
    flat = _flat(parts, widths)
    rows = len(next(iter(columns.values())))
    template = b"".join(p if isinstance(p, bytes) else bytes(_size(p, widths)) for p in flat)
    out = np.empty((rows, len(template)), np.uint8)
    out[:] = np.frombuffer(template, np.uint8)
    at = 0
    for part in flat:
        if isinstance(part, Hole):
            width = _size(part, widths)
            _fill(out[:, at : at + width], columns[part.column].view(np.uint64), part.fixed)
            at += width
        else:
            at += len(part)
    return out.tobytes()


def _flat(parts: tuple[Part, ...], widths: Mapping[str, int]) -> list[bytes | Hole]:
    out: list[bytes | Hole] = []
    for part in parts:
        if isinstance(part, Nested):
            inner = _flat(part.parts, widths)
            size = sum(len(p) if isinstance(p, bytes) else _size(p, widths) for p in inner)
            out += [varint(part.field << 3 | _BYTES) + varint(size), *inner]
        else:
            out.append(part)
    return out


def _size(part: Hole, widths: Mapping[str, int]) -> int:
    return 8 if part.fixed else widths[part.column]


def _width(values: NDArray[np.int64]) -> int:
    if not len(values):
        return 1
    if int(values.min()) < 0:
        return _LONGEST
    return len(varint(int(values.max())))


def _fill(out: NDArray[np.uint8], values: NDArray[np.uint64], fixed: bool) -> None:
    if fixed:
        out[:] = values.astype("<u8").view(np.uint8).reshape(-1, 8)
        return
    last = out.shape[1] - 1
    for i in range(last + 1):
        group = (values >> np.uint64(7 * i)) & np.uint64(0x7F)
        out[:, i] = group if i == last else group | np.uint64(0x80)
