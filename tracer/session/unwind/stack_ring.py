# SPDX-License-Identifier: MIT
"""What BPF programs say of stacks (`probes/stacks.h`): frames of new ones, copies of others."""

from __future__ import annotations

import ctypes
import mmap
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.tracer.helper.kernel.bpf import RECORD_BUSY, RECORD_DISCARDED, RECORD_HEADER
from memsc.tracer.session.unwind.rules import constants, library
from memsc.tracer.session.unwind.tables import Tables

NAME = "walk_records"
_HEAD = struct.Struct("<QQIIII")  # struct walk_head
_REGISTERS = struct.Struct("<17Q")
_COPIED = 64
_PAGE = 4096


_UNCHANGING = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)


class _Copy(ctypes.Structure):  # struct memsc_unwind_copy
    _fields_ = (
        ("rip", ctypes.c_uint64),
        ("registers", ctypes.c_uint64 * 16),
        ("begin", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("bytes", ctypes.c_char_p),
        ("unchanging", _UNCHANGING),
    )


@dataclass(frozen=True)
class Walked:
    """A stack.

    Args:
        stack: its number, as events have it.
        time: ns, CLOCK_MONOTONIC.
        pid: the process.
        end: how the walk ended, one of MEMSC_WALK_… .
        frames: addresses of instructions, the innermost first.
    """

    stack: int
    time: int
    pid: int
    end: int
    frames: list[int]


@dataclass(frozen=True)
class Copied:
    """A stack that has yet to be walked.

    Args:
        stack, time, pid: see `Walked`.
        rip: instruction pointer.
        registers: the other ones, as DWARF numbers them.
        bytes: the stack, from the page on that the stack pointer is in.
    """

    stack: int
    time: int
    pid: int
    rip: int
    registers: tuple[int, ...]
    bytes: bytes

    def walk(
        self, tables: Tables, places: NDArray[np.void], unchanging: Callable[[int], int]
    ) -> Walked:
        """Its frames.

        Args:
            tables: the rules.
            places: of `Tables.encode`.
            unchanging: what stands at an address outside of it; 0 if that is not known.
        """
        begin = self.registers[7] // _PAGE * _PAGE
        registers = (ctypes.c_uint64 * 16)(*self.registers)
        callback = _UNCHANGING(unchanging)
        copy = _Copy(self.rip, registers, begin, len(self.bytes), self.bytes, callback)
        frames = (ctypes.c_uint64 * (constants()["MEMSC_WALK_FRAMES"] + 1))()
        count = ctypes.c_uint32()
        end = library().memsc_unwind_walk(
            tables.pages.ctypes.data,
            tables.rows.ctypes.data,
            places.ctypes.data,
            ctypes.byref(copy),
            frames,
            ctypes.byref(count),
        )
        return Walked(self.stack, self.time, self.pid, end, list(frames[: count.value]))


class StackRing:
    """The consumer's end of the ring.

    Args:
        descriptor: of the BPF map; may be closed afterwards.
        size: bytes of its data.

    Raises:
        OSError: it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(descriptor, page)
        self._data = mmap.mmap(descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._fence = threading.Lock()

    def take(self, most: int | None = None) -> Iterator[Walked | Copied]:
        """What has come since the last time, oldest first.

        Args:
            most: copies; what comes after so many stays for the next time.
        """
        copies = 0
        (at,) = struct.unpack_from("<Q", self._consumer, 0)
        (end,) = struct.unpack_from("<Q", self._data, 0)
        while at < end and (most is None or copies < most):
            begin = mmap.PAGESIZE + (at & (self._size - 1))
            (length,) = struct.unpack_from("<I", self._data, begin)
            with self._fence:  # the record after its length; see observe/event_ring.py
                pass
            if length & RECORD_BUSY:
                return
            size = length & ~(RECORD_BUSY | RECORD_DISCARDED)
            body = self._data[begin + RECORD_HEADER : begin + RECORD_HEADER + size]
            at += RECORD_HEADER + -(-size // 8) * 8
            with self._fence:
                pass
            struct.pack_into("<Q", self._consumer, 0, at)
            if not length & RECORD_DISCARDED:
                parsed = _parsed(body)
                copies += isinstance(parsed, Copied)
                yield parsed

    def close(self) -> None:
        """Unmap."""
        self._consumer.close()
        self._data.close()


def _parsed(body: bytes) -> Walked | Copied:
    stack, time, pid, _, end, count = _HEAD.unpack_from(body)
    at = _HEAD.size
    if end != _COPIED:
        return Walked(stack, time, pid, end, list(struct.unpack_from(f"<{count}Q", body, at)))
    rip, *registers = _REGISTERS.unpack_from(body, at)
    at += _REGISTERS.size
    return Copied(stack, time, pid, rip, tuple(registers), body[at : at + count])
