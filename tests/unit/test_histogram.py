# SPDX-License-Identifier: MIT
"""The two promises of a histogram: a bounded relative error, and merges that change nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memsc.analysis.data.histogram import (
    PRECISION,
    RELATIVE_ERROR,
    Histogram,
    bins_of,
    lowest,
    middle,
)

values = st.lists(st.integers(0, 2**62), min_size=1, max_size=200).map(
    lambda numbers: np.array(numbers, np.int64)
)


def same(a: Histogram, b: Histogram) -> bool:
    return np.array_equal(a.bins, b.bins) and np.array_equal(a.counts, b.counts)


@given(values)
def test_a_bin_stands_for_its_values_within_the_relative_error(numbers: np.ndarray) -> None:
    error = np.abs(middle(bins_of(numbers)) - numbers)
    # Past 2**53 the conversion to float rounds too.
    assert (error <= numbers * (RELATIVE_ERROR + 2.0**-52)).all()


def test_small_values_are_exact() -> None:
    numbers = np.arange(2 ** (PRECISION + 1))
    assert np.array_equal(middle(bins_of(numbers)), numbers)


def test_bins_are_in_order_and_begin_at_their_lowest_value() -> None:
    bins = np.arange(1, 40 << PRECISION)
    edges = lowest(bins)
    assert (np.diff(edges) > 0).all()
    whole = edges[edges == np.rint(edges)].astype(np.int64)
    assert np.array_equal(lowest(bins_of(whole)), whole)


@given(values, values, values)
def test_merging_is_associative_and_loses_nothing(
    a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> None:
    x, y, z = (Histogram.of(numbers) for numbers in (a, b, c))
    left = Histogram.merge([Histogram.merge([x, y]), z])
    right = Histogram.merge([x, Histogram.merge([y, z])])
    assert same(left, right)
    assert same(left, Histogram.of(np.concatenate([a, b, c])))
    assert same(left, Histogram.merge([z, y, x]))


@given(values, st.floats(0, 1))
def test_a_quantile_is_the_exact_one_within_the_relative_error(
    numbers: np.ndarray, q: float
) -> None:
    rank = min(max(int(np.ceil(q * len(numbers))), 1), len(numbers))
    exact = np.sort(numbers)[rank - 1]
    assert abs(Histogram.of(numbers).quantile(q) - exact) <= exact * (RELATIVE_ERROR + 2.0**-52)


def test_negative_values_share_the_lowest_bin() -> None:
    assert bins_of(np.array([-5, 0, 1])).tolist() == [0, 0, 1]


def test_an_empty_histogram_has_no_quantile() -> None:
    assert np.isnan(Histogram.merge([]).quantile(0.5))
