# SPDX-License-Identifier: MIT
"""The values of a long column, each once.

`numpy.unique` has hashed whole numbers since its version 2.3, which takes many times as long as a
sort where most of a million values differ, and where few do, as looking at all of them once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DENSE = 1 << 16


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending.

    Args:
        values: shape (n,), in any order.

    Returns:
        Shape (m,), m ≤ n.
    """
    if not len(values):
        return values
    low, high = values.min(), values.max()
    if int(high) - int(low) < _DENSE:
        return np.flatnonzero(np.bincount(values - low)) + low
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
