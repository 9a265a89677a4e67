# SPDX-License-Identifier: MIT
"""Interval arithmetic against a clock that ticks once per nanosecond."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memsc.analysis.data.overlap import covered_until, expand, flatten, overlaps

SPAN = 60
interval = st.tuples(st.integers(0, SPAN), st.integers(0, SPAN)).map(sorted)


def columns(rows: list[list[int]]) -> list[np.ndarray]:
    array = np.array(rows, np.int64).reshape(len(rows), 2)
    return [array[:, 0], array[:, 1]]


def painted(start: np.ndarray, end: np.ndarray, level: np.ndarray) -> list[int]:
    """The owner of each nanosecond: the last begun of the highest level, -1 for none."""
    clock = np.full(SPAN, -1)
    for one in sorted(set(level.tolist())):
        mine = [i for i in np.argsort(start, kind="stable") if level[i] == one]
        for t in range(SPAN):
            begun = [i for i in mine if start[i] <= t]
            if begun and t < end[begun[-1]]:
                clock[t] = begun[-1]
    return clock.tolist()


@given(st.lists(st.tuples(interval, st.integers(0, 2)), max_size=8))
def test_flattened_time_has_one_owner(rows: list[tuple[list[int], int]]) -> None:
    start, end = columns([list(pair) for pair, _ in rows])
    level = np.array([one for _, one in rows], np.int64)
    segments = flatten(start, end, level)
    assert np.all(segments.start < segments.end)
    assert np.all(segments.end[:-1] <= segments.start[1:])
    clock = np.full(SPAN, -1)
    for a, b, owner in zip(*segments, strict=True):
        clock[a:b] = owner
    assert clock.tolist() == painted(start, end, level)


@given(st.lists(interval, max_size=6), st.lists(interval, max_size=6))
def test_overlaps_are_what_both_cover(queries: list[list[int]], events: list[list[int]]) -> None:
    start, end = columns(events)
    segments = flatten(start, end, np.zeros(len(start), np.int64))
    a, b = columns(queries)
    pairs = overlaps(a, b, segments)
    found = np.zeros(len(a), np.int64)
    np.add.at(found, pairs.query, pairs.ns)
    clock = np.zeros(SPAN, np.int64)
    for s, e, _ in zip(*segments, strict=True):
        clock[s:e] = 1
    assert found.tolist() == [int(clock[x:y].sum()) for x, y in zip(a, b, strict=True)]
    assert np.all(pairs.ns > 0)


def test_ranges_are_written_out() -> None:
    which, element = expand(np.array([3, 5, 7]), np.array([5, 5, 8]))
    assert which.tolist() == [0, 0, 2]
    assert element.tolist() == [3, 4, 7]


@given(st.lists(st.integers(1, 5), max_size=12), st.lists(st.integers(-2, SPAN), max_size=6))
def test_covered_time_adds_up(lengths: list[int], times: list[int]) -> None:
    edges = np.cumsum([0, *lengths]).astype(np.int64)
    start, end = edges[:-1][::2], edges[1:][::2]
    clock = np.zeros(SPAN + 1, np.int64)
    for a, b in zip(start, end, strict=True):
        clock[a:b] = 1
    wanted = [int(clock[: max(t, 0)].sum()) for t in times]
    assert covered_until(np.array(times, np.int64), start, end).tolist() == wanted
