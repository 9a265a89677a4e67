# SPDX-License-Identifier: MIT
"""Counts calls by `runtime/sketch`: in one pass, without the interpreter's lock.

numpy takes a pass for each figure of each stage, ten times as long together.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.runtime.files import NATIVE, REINSTALL

Ints = NDArray[np.int64]
_QUANTITIES = 5
_SUMS = np.dtype(
    [(name, np.int64, _QUANTITIES) for name in ("mins", "maxs", "sums", "negative", "filled")]
    + [("flags", np.int64, 256)]
)


class Counted(NamedTuple):
    """What is known of some calls, by quantity (see `memsc.analysis.data.sketch`).

    Attributes:
        sums, mins, maxs, negative: shape (5,).
        bins, counts: of each, those that are not empty.
        bands: shape (4, k), the sum of each stage over the calls in each bin of the total.
        flags: shape (256,), calls by the low byte of their flags.
    """

    sums: Ints
    mins: Ints
    maxs: Ints
    negative: Ints
    bins: list[Ints]
    counts: list[Ints]
    bands: Ints
    flags: Ints


def count_calls(stamps: Sequence[Ints], flags: Ints, rows: slice | Ints) -> Counted:
    """Counts some rows, at least one.

    Args:
        stamps: five columns of one length, whose differences are the stages.
        flags: the column.
        rows: which; a slice has no step.
    """
    columns = [np.ascontiguousarray(column, np.int64) for column in (*stamps, flags)]
    start, chosen, n = 0, None, len(flags)
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(n)
        n = stop - start
    else:
        chosen = np.ascontiguousarray(rows, np.int64)
        n = len(chosen)
    at = [column.ctypes.data + 8 * start for column in columns]
    sums = np.empty(1, _SUMS)
    room = _room()
    library().memsc_sketch_calls(
        *(room.scratch, (ctypes.c_void_p * len(stamps))(*at[:-1]), at[-1]),
        *(None if chosen is None else chosen.ctypes.data, n, sums.ctypes.data, room.found),
    )
    one = sums[0]
    filled = one["filled"].tolist()
    bins, counts = (
        [rows[:k].copy() for rows, k in zip(some, filled, strict=True)]
        for some in (room.bins, room.counts)
    )
    bands = room.bands[:, : filled[-1]].copy()
    mins, maxs, whole, negative = (
        one[name].copy() for name in ("mins", "maxs", "sums", "negative")
    )
    return Counted(whole, mins, maxs, negative, bins, counts, bands, one["flags"])


def count_times(cycles: Ints, calls: Ints | None, fine: int) -> tuple[Ints, Ints]:
    """Counts times per call.

    Args:
        cycles: of each interval.
        calls: that it covers, none below 1; None: one each.
        fine: parts of a cycle that are told apart.

    Returns:
        The bins that are not empty, and their counts.
    """
    columns = [
        None if one is None else np.ascontiguousarray(one, np.int64) for one in (cycles, calls)
    ]
    at = [None if one is None else one.ctypes.data for one in columns]
    room = _room()
    filled = library().memsc_sketch_times(room.scratch, *at, fine, len(cycles), room.found)
    return room.bins[0, :filled].copy(), room.counts[0, :filled].copy()


@functools.cache
def library() -> Any:
    """`runtime/sketch`, loaded.

    Raises:
        MemscError: it has not been built.
    """
    try:
        lib = ctypes.CDLL(str(NATIVE / "libmemsc-sketch.so"))
    except OSError as error:
        raise MemscError("loading libmemsc-sketch", str(error), REINSTALL) from error
    pointer = ctypes.c_void_p
    lib.memsc_sketch_calls.restype = None
    lib.memsc_sketch_calls.argtypes = [*[pointer] * 4, ctypes.c_int64, pointer, pointer]
    lib.memsc_sketch_times.restype = ctypes.c_int64
    lib.memsc_sketch_times.argtypes = [*[pointer] * 3, ctypes.c_int64, ctypes.c_int64, pointer]
    return lib


class _Room:
    """Where one thread counts: most of it is never touched."""

    def __init__(self) -> None:
        lib = library()
        sizes = [
            ctypes.c_uint64.in_dll(lib, f"memsc_sketch_{n}").value for n in ("scratch", "found")
        ]
        self._scratch = np.zeros(sizes[0] // 8, np.int64)
        self._found = np.zeros(sizes[1] // 8, np.int64)
        self.scratch, self.found = (one.ctypes.data for one in (self._scratch, self._found))
        rows = self._found.reshape(3 * _QUANTITIES - 1, -1)
        self.bins, self.counts = rows[:_QUANTITIES], rows[_QUANTITIES : 2 * _QUANTITIES]
        self.bands = rows[2 * _QUANTITIES :]


_OF_THREAD = threading.local()


def _room() -> _Room:
    found: _Room | None = getattr(_OF_THREAD, "room", None)
    if found is None:
        found = _OF_THREAD.room = _Room()
    return found
