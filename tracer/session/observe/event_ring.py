# SPDX-License-Identifier: MIT
"""Drains a BPF ring buffer from its descriptor: without privilege, without a loop over events.

The kernel's ring buffer is a page the consumer writes (its position), a page the producer writes
(its position), and the data, mapped twice in a row so that no record is ever cut at the end. Each
record is an 8-byte header (length and two state bits, then a page offset) and the event, rounded up
to 8 bytes. A probe's events all have one size, so all records lie one stride apart and a drain is a
strided view and one copy.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel.bpf import RECORD_BUSY, RECORD_DISCARDED, RECORD_HEADER

_BUSY = np.uint32(RECORD_BUSY)
_DISCARDED = np.uint32(RECORD_DISCARDED)

Events = NDArray[np.void]


class EventRing:
    """The consumer's end of one ring buffer whose records all have one size.

    Args:
        consumer: u64[1], bytes consumed since the beginning; written here.
        producer: u64[1], bytes produced since the beginning; written by the kernel.
        data: u8[2 * size], the ring's bytes twice in a row.
        event: dtype of one event.
    """

    def __init__(
        self,
        consumer: NDArray[np.uint64],
        producer: NDArray[np.uint64],
        data: NDArray[np.uint8],
        event: np.dtype[Any],
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._data = data
        self._size = len(data) // 2
        self._event = event
        self._stride = RECORD_HEADER + (event.itemsize + 7) // 8 * 8
        self._record = np.dtype(
            {
                "names": ["length", "event"],
                "formats": ["<u4", event],
                "offsets": [0, RECORD_HEADER],
                "itemsize": self._stride,
            }
        )
        self._fence = threading.Lock()
        self._maps: list[mmap.mmap] = []

    @classmethod
    def from_descriptor(cls, descriptor: int, size: int, event: np.dtype[Any]) -> EventRing:
        """Map a ring buffer.

        Args:
            descriptor: the map's; may be closed afterwards.
            size: bytes of its data, a power of two.
            event: dtype of one event.

        Raises:
            OSError: it cannot be mapped.
        """
        page = mmap.PAGESIZE
        writable = mmap.mmap(descriptor, page)
        readable = mmap.mmap(descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        ring = cls(
            np.frombuffer(writable, np.uint64, 1),
            np.frombuffer(readable, np.uint64, 1),
            np.frombuffer(readable, np.uint8, 2 * size, page),
            event,
        )
        ring._maps = [writable, readable]
        return ring

    @property
    def capacity(self) -> int:
        """Events the ring can hold."""
        # The kernel keeps producer - consumer below size, never equal to it.
        return (self._size - 1) // self._stride

    @property
    def pending(self) -> int:
        """Records reserved and not yet drained; the last of them may still be written."""
        return (int(self._producer[0]) - int(self._consumer[0])) // self._stride

    def drain(self, limit: int | None = None) -> Events:
        """Take the events that are complete, oldest first, and free their space.

        A record still being written ends the drain, since later ones must not overtake it.

        Args:
            limit: at most so many records; default all.

        Returns:
            Structured array of the event's dtype, a copy, shape (events,); in the order of
            reservation, which across CPUs is not strictly that of `time`.

        Raises:
            MemscError: a record has another size than the declaration says.
        """
        start = int(self._consumer[0])
        count = (int(self._producer[0]) - start) // self._stride
        if limit is not None:
            count = min(count, limit)
        # The kernel clears BUSY with a full barrier after it wrote the event. What is needed here
        # is that the lengths are read before the events, and the events before the position is
        # given back. x86 keeps loads in order and stores behind loads; Arm does not, and NumPy has
        # no barrier, so a lock, whose taking and giving back order memory, stands for one.
        records = np.ndarray(
            (count,), self._record, buffer=self._data, offset=start & (self._size - 1)
        )
        lengths: NDArray[np.uint32] = records["length"].copy()
        self._order()
        busy = (lengths & _BUSY) != 0
        if busy.any():
            count = int(busy.argmax())
            lengths = lengths[:count]
        if count == 0:
            return np.empty(0, self._event)
        if np.any((lengths & ~_DISCARDED) != self._event.itemsize):
            raise MemscError(
                "draining a probe",
                "its events have another size than declared",
                "reinstall memsc: its parts are of different versions",
            )
        events: Events = records["event"][:count].copy()
        self._order()
        self._consumer[0] = start + count * self._stride
        discarded = (lengths & _DISCARDED) != 0
        return events[~discarded] if discarded.any() else events

    def _order(self) -> None:
        with self._fence:
            pass

    def close(self) -> None:
        """Unmap; the ring may not be used afterwards."""
        empty = np.zeros(1, np.uint64)
        self._consumer = self._producer = empty
        self._data = np.zeros(0, np.uint8)
        for mapped in self._maps:
            mapped.close()
        self._maps = []


class Counters:
    """A memory-mapped BPF array of 64-bit words, read (or written) without a system call.

    Args:
        descriptor: the map's; may be closed afterwards.
        words: its length in 64-bit words.
        writable: map it for writing too.
    """

    def __init__(self, descriptor: int, words: int, writable: bool = False) -> None:
        size = -(-words * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(descriptor, size, prot=protection)
        self.words: NDArray[np.uint64] = np.frombuffer(self._map, np.uint64, words)

    def close(self) -> None:
        """Unmap; the words may not be used afterwards."""
        self.words = np.zeros(0, np.uint64)
        self._map.close()
