# SPDX-License-Identifier: MIT
"""The ring's drain on fabricated rings, laid out as the kernel lays them out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.tracer.session.observe.event_ring import EventRing

EVENT = np.dtype([("time", "<u8"), ("value", "<u4")])  # 12 bytes: the record is padded to 24
STRIDE = 24
SIZE = 4096
BUSY, DISCARDED = 1 << 31, 1 << 30


class Fabricated:
    """The producer's side of a ring, record by record."""

    def __init__(self, start: int = 0) -> None:
        self.consumer = np.array([start], np.uint64)
        self.producer = np.array([start], np.uint64)
        self.data: NDArray[np.uint8] = np.zeros(2 * SIZE, np.uint8)
        self.ring = EventRing(self.consumer, self.producer, self.data, EVENT)
        self.made = 0

    def _store(self, position: int, payload: bytes) -> None:
        for i, byte in enumerate(payload):
            place = (position + i) % SIZE
            self.data[place] = self.data[place + SIZE] = byte

    def add(self, state: int = 0, length: int = EVENT.itemsize) -> bool:
        """Reserve and write a record; False if it does not fit."""
        position = int(self.producer[0])
        if position + STRIDE - int(self.consumer[0]) > SIZE - 1:
            return False
        self._store(position, np.array([length | state, 7], "<u4").tobytes())
        self._store(position + 8, np.array([(self.made * 3, self.made)], EVENT).tobytes())
        self.producer[0] = position + STRIDE
        self.made += 1
        return True

    def finish(self, record: int, state: int = 0) -> None:
        """Clear the busy bit of the record at this index from the beginning of time."""
        self._store(record, np.array([EVENT.itemsize | state], "<u4").tobytes())


def values(ring: EventRing, limit: int | None = None) -> list[int]:
    return ring.drain(limit)["value"].tolist()


def test_an_empty_ring_gives_an_empty_array() -> None:
    made = Fabricated()
    events = made.ring.drain()
    assert events.shape == (0,)
    assert events.dtype == EVENT


def test_a_busy_record_holds_back_what_comes_after_it() -> None:
    made = Fabricated()
    for state in (0, 0, BUSY, 0):
        made.add(state)
    assert values(made.ring) == [0, 1]
    assert values(made.ring) == []
    assert int(made.consumer[0]) == 2 * STRIDE
    made.finish(2 * STRIDE)
    assert values(made.ring) == [2, 3]
    assert made.ring.pending == 0


def test_discarded_records_are_skipped_and_freed() -> None:
    made = Fabricated()
    for state in (DISCARDED, 0, DISCARDED, 0, DISCARDED):
        made.add(state)
    assert values(made.ring) == [1, 3]
    assert int(made.consumer[0]) == 5 * STRIDE


def test_a_drain_is_a_copy() -> None:
    made = Fabricated()
    made.add()
    events = made.ring.drain()
    made.data[:] = 255
    assert events.tolist() == [(0, 0)]


def test_a_foreign_size_is_an_error_and_frees_nothing() -> None:
    made = Fabricated()
    made.add(length=16)
    with pytest.raises(MemscError, match="another size"):
        made.ring.drain()
    assert int(made.consumer[0]) == 0


def test_capacity_is_what_the_kernel_lets_in() -> None:
    made = Fabricated()
    while made.add():
        pass
    assert made.made == made.ring.capacity == made.ring.pending


@given(
    start=st.integers(0, 1 << 40).map(lambda n: n * 8),
    steps=st.lists(
        st.one_of(st.sampled_from(["add", "discard"]), st.integers(0, 40), st.just("drain")),
        max_size=400,
    ),
)
def test_what_goes_in_comes_out_once_and_in_order(start: int, steps: list[str | int]) -> None:
    made = Fabricated(start)
    expected: list[int] = []
    seen: list[int] = []
    for step in steps:
        if isinstance(step, int):
            seen += values(made.ring, step)
        elif step == "drain":
            seen += values(made.ring)
            assert seen == expected
        elif made.add(DISCARDED if step == "discard" else 0) and step == "add":
            expected.append(made.made - 1)
    seen += values(made.ring)
    assert seen == expected
    assert made.consumer[0] == made.producer[0]
