# SPDX-License-Identifier: MIT
"""Columns of numbers and names for Arrow, made from their bytes.

`pyarrow.array` would look at pandas first, and a session's start is faster without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def integers(values: NDArray[Any], kind: pa.DataType | None = None) -> pa.Array[Any]:
    """A column of whole numbers, int64 unless a kind is given; shares the memory of such values."""
    chosen = kind if kind is not None else pa.int64()
    data = np.ascontiguousarray(values, chosen.to_pandas_dtype())
    return pa.Array.from_buffers(chosen, len(data), [None, pa.py_buffer(data.data)])


def strings(texts: Sequence[str]) -> pa.Array[Any]:
    """Texts, as an array of Arrow's."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(ends.data), pa.py_buffer(b"".join(encoded))
    )


def names(places: NDArray[Any], labels: Sequence[str]) -> pa.DictionaryArray[Any, Any]:
    """A column of names.

    Args:
        places: of each row, the place of its name among the labels.
        labels: names, each once.
    """
    return pa.DictionaryArray.from_arrays(integers(places, pa.int32()), strings(labels))


def of_rows(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """A column of few values, numbers or names, as its kind says."""
    if not pa.types.is_dictionary(kind):
        return integers(np.array(values, np.int64))
    places = {label: place for place, label in enumerate(dict.fromkeys(values))}
    return names(np.array([places[value] for value in values], np.int32), list(places))


def numbers(column: pa.ChunkedArray[Any] | pa.Array[Any]) -> NDArray[Any]:
    """The values of a column of whole numbers without empty ones: shares its memory if it can."""
    if isinstance(column, pa.ChunkedArray):
        chunks = [numbers(chunk) for chunk in column.chunks]
        return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.int64), *chunks])
    kind = column.type.to_pandas_dtype()
    data: Any = column.buffers()[1]
    if data is None or not len(column):
        return np.empty(0, kind)
    return np.frombuffer(data, kind)[column.offset : column.offset + len(column)]
