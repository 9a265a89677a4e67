# SPDX-License-Identifier: MIT
"""Spans of time as columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def union(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Spans in order, those that overlap or touch made one.

    Args:
        start: begin of each, in any order.
        end: of each, not before its begin.

    Returns:
        Begin and end of each of the disjoint spans, ascending.
    """
    if not len(start):
        return start, end
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    end = np.maximum.accumulate(end)
    first = np.append(True, start[1:] > end[:-1])
    return start[first], end[np.append(first[1:], True)]
