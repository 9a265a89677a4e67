# SPDX-License-Identifier: MIT
"""What `runtime/sketch` counts is what numpy would, whatever stamps hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memsc.analysis.data.counting import count_calls, count_times
from memsc.analysis.data.histogram import Histogram, bins_of

Ints = NDArray[np.int64]

STAMPS = {
    "any number": st.integers(-(2**63), 2**63 - 1),
    "a clock": st.integers(0, 2**44),
    "few": st.integers(0, 3),
}


def rows_of(kind: str) -> st.SearchStrategy[Ints]:
    rows = st.lists(st.tuples(*[STAMPS[kind]] * 5), min_size=1, max_size=50)
    return rows.map(lambda some: np.array(some, np.int64))


def check(rows: Ints, flags: Ints, chosen: slice | Ints) -> None:
    found = count_calls(list(rows.T), flags, chosen)
    stages = np.diff(rows, axis=1).T[:, chosen]
    total = (rows[:, -1] - rows[:, 0])[chosen]
    spent = np.vstack([stages, total])
    assert found.mins.tolist() == spent.min(axis=1).tolist()
    assert found.maxs.tolist() == spent.max(axis=1).tolist()
    assert found.sums.tolist() == spent.sum(axis=1).tolist()
    assert found.negative.tolist() == (spent < 0).sum(axis=1).tolist()
    assert found.flags.tolist() == np.bincount(flags[chosen] & 0xFF, minlength=256).tolist()
    for values, bins, counts in zip(spent, found.bins, found.counts, strict=True):
        wanted = Histogram.of(values)
        assert (bins.tolist(), counts.tolist()) == (wanted.bins.tolist(), wanted.counts.tolist())
    at = np.searchsorted(found.bins[-1], bins_of(total))
    bands = np.zeros((4, len(found.bins[-1])), np.int64)
    for row, stage in zip(bands, stages, strict=True):
        np.add.at(row, at, stage)
    assert found.bands.tolist() == bands.tolist()


@pytest.mark.parametrize("kind", STAMPS)
def test_calls_are_counted_as_numpy_would(kind: str) -> None:
    @settings(deadline=None)
    @given(rows_of(kind), st.data())
    def tried(rows: Ints, data: st.DataObject) -> None:
        flags = np.array(
            data.draw(st.lists(STAMPS["any number"], min_size=len(rows), max_size=len(rows)))
        )
        first = data.draw(st.integers(0, len(rows) - 1))
        last = data.draw(st.integers(first + 1, len(rows)))
        check(rows, flags, slice(None))
        check(rows, flags, slice(first, last))
        some = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
        check(rows, flags, np.array(some))

    with np.errstate(over="ignore"):
        tried()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**58), 2**58), st.integers(1, 2**40))),
    st.sampled_from([1, 16]),
)
def test_times_per_call_are_counted_as_numpy_would(rows: list[tuple[int, int]], fine: int) -> None:
    cycles, calls = np.array(rows, np.int64).reshape(-1, 2).T.copy()
    wanted = Histogram.of(cycles * fine // calls)
    bins, counts = count_times(cycles, calls, fine)
    assert (bins.tolist(), counts.tolist()) == (wanted.bins.tolist(), wanted.counts.tolist())
    each = Histogram.of(cycles * fine)
    bins, counts = count_times(cycles, None, fine)
    assert (bins.tolist(), counts.tolist()) == (each.bins.tolist(), each.counts.tolist())
