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
import pyarrow.compute as pc
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
    "counters-per-call": lambda trace: trace.counters.df_counters(),
}
"""Tables an analysis makes; the others are those of the trace."""

_FORMULA = r"\A(\s*[=+\-@\t\r])"


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
    shape = _SHAPES[kind]
    first = shape(first)
    with _WRITERS[kind](path, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            shaped = shape(piece)
            if not shaped.schema.equals(first.schema):
                why, remedy = "its parts have different columns", "copy the trace again"
                raise MemscError(f"cannot export {name}", why, remedy)
            writer.write_table(shaped)


def to_csv(frame: pd.DataFrame) -> bytes:
    """A small table as CSV, whole."""
    table = defused(_plain(pa.Table.from_pandas(frame, preserve_index=False)))
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def defused(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula.

    Names of programs and functions come from whoever was traced.
    """
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            safe = pc.replace_substring_regex(table.column(i), _FORMULA, r"'\1")
            table = table.set_column(i, field, safe)
    return table


def _plain(table: pa.Table) -> pa.Table:
    # Every part has its own dictionary; a file of these formats has but one.
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


_SHAPES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "csv": lambda table: defused(_plain(table)),
    "arrow": _plain,
    "parquet": lambda table: table,
}
_WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {
    "csv": pyarrow.csv.CSVWriter,
    "arrow": lambda path, schema: pyarrow.ipc.new_file(str(path), schema),
    "parquet": _parquet,
}
