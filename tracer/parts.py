# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The files a trace's tables are made of, wherever they lie."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from memsc.runtime.errors import MemscError

NAMES = ("arm", "case", "syscall")
_ROUND = {"arm", "case", "round"}
_STAMPS = {"called", "posted", "picked", "executed", "completed"}
# Every figure comes from these columns: one of another type would give wrong ones in silence.
CHECKED = {
    "calls": _ROUND | _STAMPS | {"pid", "tid", "syscall", "number", "result", "flags"},
    "timings": _ROUND | {"recording", "calls", "cycles"},
}


@dataclass(frozen=True, slots=True)
class Part:
    """One whole Parquet file of a table: `table` as in "calls" or "events/sched"."""

    table: str
    path: Path
    rows: int


def read_part(part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """One part's rows.

    Raises:
        MemscError: the file is damaged or lacks a column.
    """
    with _parquet(part.path) as file:
        missing = set(columns or ()) - set(file.schema_arrow.names)
        if missing:
            raise MemscError(
                f"cannot read {part.path}",
                f"it has no column {', '.join(sorted(missing))}",
                "record again with this memsc",
            )
        table = file.read(columns=list(columns) if columns is not None else None)
    if part.table in CHECKED:
        _check(part, table)
    return table


def _check(part: Part, table: pa.Table) -> None:
    for field in table.schema:
        named = pa.types.is_dictionary(field.type) and pa.types.is_string(field.type.value_type)
        right = named if field.name in NAMES else field.type == pa.int64()
        why = None
        if field.name not in CHECKED[part.table]:
            continue  # another's column, or a later version's
        if not right:
            why = f"its column {field.name} has the type {field.type}"
        elif table[field.name].null_count:
            why = f"its column {field.name} has empty values"
        if why:
            remedy = "it was not written by memsc, or changed since: record again"
            raise MemscError(f"cannot read {part.path}", why, remedy)


def columns_of(part: Part) -> list[str]:
    """Names of a part's columns.

    Raises:
        MemscError: the file is damaged.
    """
    with _parquet(part.path) as file:
        return file.schema_arrow.names


def location(path: str | Path) -> Path:
    """A local path, or one of another file system that fsspec knows, as in `s3://bucket/a.memsc`.

    Raises:
        MemscError: no such file system, or what reads it is not installed.
    """
    if not isinstance(path, str) or "://" not in path:
        return Path(path) if isinstance(path, str) else path
    from upath import UPath  # noqa: PLC0415 (slow to import, and seldom needed)

    try:
        found = UPath(path)
        found.fs  # noqa: B018 (says now, not later, what is not installed)
    except (ImportError, ValueError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        remedy = "install what reads it (s3fs for s3://), or copy the trace here"
        raise MemscError(f"cannot open {path}", said, remedy) from error
    # It has all of Path that is used here.
    return cast("Path", found)


def rows_of(path: Path) -> int:
    """How many rows a part has: its footer tells.

    Raises:
        MemscError: the file is damaged.
    """
    with _parquet(path) as file:
        return file.metadata.num_rows


@contextmanager
def _parquet(path: Path) -> Generator[pq.ParquetFile]:
    try:
        # pyarrow opens local files itself, and faster; of others it fetches whole columns at once.
        with ExitStack() as stack:
            local = type(path).__module__.startswith("pathlib")
            source = path if local else stack.enter_context(path.open("rb"))
            yield stack.enter_context(pq.ParquetFile(source, pre_buffer=not local))
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(path, error) from error


def _damaged(file: Path, error: Exception) -> MemscError:
    reason = str(error).splitlines()[0].rstrip(". ")
    return MemscError(
        f"cannot read {file}",
        f"the part is cut short or damaged ({reason[:80]})",
        "copy the trace again, or remove that file to read the rest",
    )
