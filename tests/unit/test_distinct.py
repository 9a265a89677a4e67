# SPDX-License-Identifier: MIT
"""Each value once, ascending: as numpy says, however far apart values lie."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memsc.analysis.data.distinct import distinct

NEAR = st.integers(-100, 100)
FAR = st.integers(-(2**63), 2**63 - 1)


@given(st.one_of(st.lists(NEAR), st.lists(FAR)))
def test_as_numpy_says(values: list[int]) -> None:
    """Near ones are counted, far ones sorted."""
    column = np.array(values, np.int64)
    found = distinct(column)
    assert found.dtype == np.int64
    assert found.tolist() == np.unique(column).tolist()
