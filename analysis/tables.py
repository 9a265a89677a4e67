# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Tables of a trace as files: recorded ones streamed part by part, derived ones as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq

from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError

DERIVED: dict[str, Callable[[Trace], pd.DataFrame]] = {
    "stages": lambda trace: trace.stages.df_stages(),
    "ratios": lambda trace: trace.ratios.df_ratios(),
    "perturbation": lambda trace: trace.timings.df_perturbation(),
    "checks": lambda trace: trace.checks.df_checks(),
}
"""Tables an analysis makes; the others are those of the trace."""


def tables_of(trace: Trace, name: str) -> Iterator[pa.Table]:
    """A table in pieces.

    Raises:
        MemscError: the trace has no such table.
    """
    if name in DERIVED:
        yield pa.Table.from_pandas(DERIVED[name](trace), preserve_index=False)
        return
    if name not in trace.folder.parts:
        known = ", ".join([*DERIVED, *sorted(trace.folder.parts)])
        why = "the trace has no such table"
        raise MemscError(f"cannot export {name}", why, f"it has {known}", USAGE)
    yield from trace.folder.batches(name)


def write_table(trace: Trace, name: str, kind: str, path: Path) -> None:
    """Writes a table as "csv", "arrow" (IPC file) or "parquet", a part in memory at a time."""
    pieces = tables_of(trace, name)
    first = next(pieces, None)
    if first is None:
        raise MemscError(f"cannot export {name}", "the table is empty", "name another")
    if kind != "parquet":
        # Every part has its own dictionary; a file of these formats has but one.
        first = _plain(first)
    with _WRITERS[kind](path, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece if kind == "parquet" else _plain(piece))


def _plain(table: pa.Table) -> pa.Table:
    fields = [
        pa.field(field.name, pa.string(), metadata=field.metadata)
        if pa.types.is_dictionary(field.type)
        else field
        for field in table.schema
    ]
    metadata: Any = table.schema.metadata
    return table.cast(pa.schema(fields, metadata))


def _parquet(path: Path, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(path, schema, compression="zstd")


_WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {
    "csv": pyarrow.csv.CSVWriter,
    "arrow": lambda path, schema: pyarrow.ipc.new_file(str(path), schema),
    "parquet": _parquet,
}
