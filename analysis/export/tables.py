# SPDX-License-Identifier: MIT
"""Tables of a trace as files: recorded ones streamed part by part, derived ones as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq

from memsc.analysis.report.tables import DERIVED, defused, undictioned
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import CALLS


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
    now = trace.selection
    if name != CALLS:
        why = "the table is not of single calls"
        now.only(what=f"the table {name}", why=why)
    for part in trace.folder.batches(name):
        mask = now.mask(part)
        yield part if mask is None else part.filter(pa.array(mask))


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


def _parquet(path: Path, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(path, schema, compression="zstd")


_SHAPES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "csv": lambda table: defused(undictioned(table)),
    "arrow": undictioned,
    "parquet": lambda table: table,
}
_WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {
    "csv": pyarrow.csv.CSVWriter,
    "arrow": lambda path, schema: pyarrow.ipc.new_file(str(path), schema),
    "parquet": _parquet,
}
