# SPDX-License-Identifier: MIT
"""The files a trace's tables are made of, wherever they lie."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from memsc.runtime.errors import MemscError
from memsc.runtime.printable import printable
from memsc.tracer.format.footer import Footer
from memsc.tracer.format.session_file import RoundKey

NAMES = ("arm", "case", "syscall", "kind", "name", "comm", "function", "module")
NAMES_OF = {"events/writeback": ("device",)}
"""Columns that hold names in one table only, and numbers in others."""
_ROUND = {"arm", "case", "round"}
_STAMPS = {"called", "posted", "picked", "executed", "completed"}
# Every figure comes from these columns: one of another type would give wrong ones in silence.
# Events and stacks hold whole numbers and names, and nothing else.
CHECKED = {
    "calls": _ROUND
    | _STAMPS
    | {"pid", "tid", "syscall", "number", "result", "flags"}
    | {"app_cpu", "service_cpu", "comm"},
    "timings": _ROUND | {"recording", "calls", "cycles"},
}

_EVENT = {"time", "cpu", "pid", "tid", "kind"}


@dataclass(frozen=True, slots=True)
class Part:
    """One whole Parquet file of a table: `table` as in "calls" or "events/sched"."""

    table: str
    path: Path
    rows: int


def part_name(index: int) -> str:
    """The file name of a table's part."""
    return f"part-{index:04d}.parquet"


def read_part(part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """One part's rows.

    Raises:
        MemscError: the file is damaged or lacks a column.
    """
    with _parquet(part.path) as file:
        return _read(part, file, Footer(file), columns)


def read_rounds(
    part: Part, columns: Sequence[str] | None, rounds: Collection[RoundKey]
) -> pa.Table | None:
    """The same of a table of rounds, unless its footer tells that it has none of some rounds.

    Raises:
        MemscError: the file is damaged or lacks a column.
    """
    with _parquet(part.path) as file:
        footer = Footer(file)
        return _read(part, file, footer, columns) if footer.may_have(rounds) else None


def _read(
    part: Part, file: pq.ParquetFile, footer: Footer, columns: Sequence[str] | None
) -> pa.Table:
    schema = file.schema_arrow
    every = _EVENT if part.table.startswith("events/") and columns is None else set[str]()
    missing = (every | set(columns or ())) - set(schema.names)
    if missing:
        raise _lacks(part, missing)
    wanted = list(schema.names if columns is None else columns)
    same = footer.same(wanted)
    table = file.read(columns=[name for name in wanted if name not in same])
    metadata: Any = schema.metadata
    whole = pa.schema([schema.field(name) for name in wanted], metadata)
    found: list[Any] = [same[name] if name in same else table[name] for name in wanted]
    table = pa.Table.from_arrays(found, schema=whole)
    _check(part, table)
    return _printable(table)  # in here: a damaged one names what its dictionary lacks


def _printable(table: pa.Table) -> pa.Table:
    """Names of programs and functions fit to be shown: the traced program chose them."""
    for i, field in enumerate(table.schema):
        kind = field.type
        named = pa.types.is_dictionary(kind)
        if not pa.types.is_string(kind.value_type if named else kind):
            continue
        column: Any = table.column(i)
        column.validate(full=True)
        texts = set[str | None]().union(
            *((chunk.dictionary if named else chunk).to_pylist() for chunk in column.chunks)
        )
        shown = {text: None if text is None else printable(text) for text in texts}
        if any(text != as_shown for text, as_shown in shown.items()):
            table = table.set_column(i, field, _replaced(column, shown))
    return table


def _replaced(column: pa.ChunkedArray[Any], by: dict[str | None, str | None]) -> Any:
    """Texts replaced, by way of the distinct ones; two that are alike afterwards are one name."""
    import pyarrow.compute as pc  # noqa: PLC0415 (slow to import, and seldom needed)

    named = pa.types.is_dictionary(column.type)
    at = pc.index_in(column.cast(pa.string()), value_set=pa.array(list(by), pa.string()))
    replaced = pc.take(pa.array(list(by.values()), pa.string()), at)
    return replaced.dictionary_encode() if named else replaced


def _check(part: Part, table: pa.Table) -> None:
    known = CHECKED.get(part.table)
    if known is None and not part.table.startswith(("events/", "stacks")):
        return
    for field in table.schema:
        named = pa.types.is_dictionary(field.type) and pa.types.is_string(field.type.value_type)
        texts = (*NAMES, *NAMES_OF.get(part.table, ()))
        right = named if field.name in texts else field.type == pa.int64()
        why = None
        if known is not None and field.name not in known:
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


def range_of(part: Part, column: str) -> tuple[int, int] | None:
    """The lowest and highest value of a column of whole numbers, if the part's footer tells.

    Raises:
        MemscError: the file is damaged or lacks the column.
    """
    with _parquet(part.path) as file:
        if column not in file.schema_arrow.names:
            raise _lacks(part, [column])
        return Footer(file).range(column)


def _lacks(part: Part, columns: Iterable[str]) -> MemscError:
    why = f"it has no column {', '.join(sorted(columns))}"
    return MemscError(f"cannot read {part.path}", why, "record again with this memsc")


MOST_ROWS = 1 << 22
"""Rows that a part may have: memory is bounded by a part, and a few bytes can claim any number."""


def check_regular(path: Path) -> None:
    """Refuses what is no file: one would wait for a pipe, or read a device, for ever.

    Raises:
        MemscError: a pipe, a device, a socket.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        what, remedy = f"cannot read {path}", "copy the trace again, without it"
        raise MemscError(what, "it is neither a file nor a folder", remedy)


@contextmanager
def _parquet(path: Path) -> Generator[pq.ParquetFile]:
    try:
        check_regular(path)
        # pyarrow opens local files itself, and faster; of others it fetches whole columns at once.
        with ExitStack() as stack:
            local = type(path).__module__.startswith("pathlib")
            source = path if local else stack.enter_context(path.open("rb"))
            file = stack.enter_context(pq.ParquetFile(source, pre_buffer=not local))
            if file.metadata.num_rows > MOST_ROWS:
                raise MemscError(
                    f"cannot read {path}",
                    f"it says that it has {file.metadata.num_rows} rows, more than memsc writes",
                    "copy the trace again, or remove that file to read the rest",
                )
            yield file
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(file: Path, error: Exception) -> MemscError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
    return MemscError(
        f"cannot read {file}",
        f"the part is cut short or damaged ({reason[:80]})",
        "copy the trace again, or remove that file to read the rest",
    )
