# SPDX-License-Identifier: MIT
"""The rounds of a trace, and the rows of each in a part of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.selection import Selection
from memsc.tracer.format import RoundKey, TraceFolder
from memsc.tracer.format.arrays import numbers

Rows = slice | NDArray[np.int64]


def chosen_rounds(trace: TraceFolder, selection: Selection) -> frozenset[RoundKey] | None:
    """The rounds that are looked at, or None where the session does not know of any."""
    if not trace.session.rounds:
        return None
    return frozenset(
        r.key
        for r in trace.session.rounds
        if r.check == selection.checks and selection.has(r.arm, r.case)
    )


def rounds_in(table: pa.Table) -> Iterator[tuple[RoundKey, Rows]]:
    """The rows of each round in a table; a slice where it is all of them."""
    if not table.num_rows:
        return
    # A part mostly lies in one round; a sort would cost more than all the rest.
    arm, arms = coded(table, "arm")
    case, cases = coded(table, "case")
    number = numbers(table["round"])
    if all(int(some.min()) == int(some.max()) for some in (arm, case, number)):
        yield RoundKey(arms[arm[0]], cases[case[0]], int(number[0])), slice(None)
        return
    found, index = np.unique(number, return_inverse=True)
    codes = (arm.astype(np.int64) * len(cases) + case) * len(found) + index
    for code, rows in split(codes):
        rest, r = divmod(code, len(found))
        a, c = divmod(rest, len(cases))
        yield RoundKey(arms[a], cases[c], int(found[r])), rows


def coded(table: pa.Table, column: str) -> tuple[NDArray[np.int32], list[str]]:
    """A column of names as codes and the names they stand for."""
    whole: Any = table[column]
    if whole.num_chunks != 1:
        whole = whole.unify_dictionaries().combine_chunks()
    array: Any = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    return numbers(array.indices), array.dictionary.to_pylist()


def split(codes: NDArray[np.int64]) -> Iterator[tuple[int, Rows]]:
    """Which rows have each code; a slice where they all have the same."""
    low, high = int(codes.min()), int(codes.max())
    if low == high:
        yield low, slice(None)
        return
    # Sixteen bits are sorted by radix, in linear time.
    narrow = (codes - low).astype(np.uint16) if high - low < 1 << 16 else codes - low
    order = np.argsort(narrow, kind="stable")
    edges = np.flatnonzero(np.diff(narrow[order])) + 1
    for rows in np.split(order, edges):
        yield int(codes[rows[0]]), rows
