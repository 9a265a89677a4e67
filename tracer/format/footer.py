# SPDX-License-Identifier: MIT
"""What a part's footer tells of its columns: of one that holds a single value nothing is read.

Calls of a round mostly share their arm, thread and system call, and such a column is a third as
dear to decode as one of stamps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memsc.runtime.printable import printable
from memsc.tracer.format.arrays import names
from memsc.tracer.format.session_file import RoundKey


class Footer:
    """The footer of an opened part.

    Args:
        file: the part.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        self._schema = file.schema_arrow
        self._rows = file.metadata.num_rows
        self._groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]

    def range(self, column: str) -> tuple[Any, Any] | None:
        """The lowest and highest value of a column of whole numbers or names; None: not told."""
        at = self._schema.get_field_index(column)
        found: list[Any] = [group.column(at) for group in self._groups] if at >= 0 else []
        # Columns in columns, as others may add, would shift its place.
        if not found or any(one.path_in_schema != column for one in found):
            return None
        known = [one.statistics for one in found]
        if not all(s and s.has_min_max and s.has_null_count and not s.null_count for s in known):
            return None
        kind = str if _named(self._schema.field(at)) else int
        bounds = [bound for s in known for bound in (s.min, s.max)]
        if not all(isinstance(bound, kind) for bound in bounds):
            return None
        return min(bounds), max(bounds)

    def may_have(self, rounds: Collection[RoundKey]) -> bool:
        """Whether the part may hold calls of some rounds; true where it does not tell."""
        arm, case = self._shown("arm"), self._shown("case")
        span = self.range("round")
        return any(
            arm in (None, key.arm)
            and case in (None, key.case)
            and (span is None or span[0] <= key.round <= span[1])
            for key in rounds
        )

    def _shown(self, column: str) -> str | None:
        # Rounds have their names fit to be shown, which keeps no order: only a single one tells.
        span = self.range(column)
        return printable(span[0]) if span and span[0] == span[1] else None

    def same(self, columns: Sequence[str]) -> dict[str, pa.Array[Any]]:
        """Those of some columns that hold a single value, made of it."""
        found: dict[str, pa.Array[Any]] = {}
        for name in columns:
            field = self._schema.field(name)
            if not _named(field) and field.type != pa.int64():
                continue
            span = self.range(name)
            if span and span[0] == span[1]:
                found[name] = _repeated(span[0], self._rows)
        return found


def _named(field: pa.Field[Any]) -> bool:
    return field.type == pa.dictionary(pa.int32(), pa.string())


def _repeated(value: int | str, rows: int) -> pa.Array[Any]:
    if isinstance(value, str):
        return names(np.zeros(rows, np.int32), [value])
    # From Arrow's memory, which is given back to be used again: fresh pages cost as much.
    data: Any = pa.allocate_buffer(8 * rows)
    np.frombuffer(data, np.int64).fill(value)
    return pa.Array.from_buffers(pa.int64(), rows, [None, data])
