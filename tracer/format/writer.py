# SPDX-License-Identifier: MIT
"""Writes a trace folder, part by part, so that kill -9 costs at most the part in memory."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from memsc.runtime.errors import REMEDIES, MemscError, reason
from memsc.tracer.format import arrays
from memsc.tracer.format.output import Earlier, unfinished
from memsc.tracer.format.parts import part_name, rows_of
from memsc.tracer.format.session_file import SESSION, RoundKey, Session
from memsc.tracer.format.tables import (
    CALLS,
    CALLS_SCHEMA,
    EVENT_UNITS,
    EVENTS,
    SCHEMA,
    TIMINGS,
    TIMINGS_SCHEMA,
    field,
    with_units,
)

# Rows of one part. A quarter of a million calls are 27 MB before compression: small enough that
# little is lost by kill -9, large enough that reading a part costs more than opening it.
PART_ROWS = 1 << 18
_ENCODER = 64 << 20  # bytes that encoding a part takes beside as many as the part has

Names = Mapping[int, str] | Sequence[str] | Callable[[int], str]


class TraceWriter:
    """Streams one session's tables into a folder that `prepare_output` has looked at.

    Use it as a context manager; leaving it flushes. `session` writes `session.json` and may be
    called as often as there is news; the last call says `complete=True`.

    Args:
        folder: the trace's.
        replace: a trace that is there gives way, once the new one has rows or is complete.

    Raises:
        MemscError: a write failed (a full disk); what had been written stays readable.
    """

    def __init__(self, folder: Path, *, replace: bool = False) -> None:
        self.folder = folder
        self._pending: dict[str, list[pa.RecordBatch]] = {}
        self._written: dict[str, int] = {}
        self._told = (folder / SESSION).exists()
        self._waiting = Earlier(folder) if replace and self._told else None
        self._aside: Earlier | None = None
        self._next, self._before = ({}, {}) if self._waiting else _after(folder)
        self._founded = False

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # After a failed write a second one would fail again and hide the first.
            if not isinstance(error, MemscError):
                self.flush()
        finally:
            if error is not None and self._aside:
                self.withdraw()

    @property
    def begun(self) -> bool:
        """Whether its session stands in the folder."""
        return self._told and not self._waiting

    def session(self, session: Session) -> None:
        """Writes `session.json`, whole or not at all; a new folder comes with it."""
        self._make_room()
        if self._told or self.folder.exists():
            self._save(self.folder / SESSION, session.encode())
        else:
            self._found(session.encode())
        self._told = True
        if session.complete:
            self._replaced()

    def withdraw(self) -> None:
        """Take back a session in which nothing was recorded, as one that could not even begin."""
        if not self._next and self.begun:
            (self.folder / SESSION).unlink(missing_ok=True)
            self._told = False
            if self._founded:
                with suppress(OSError):
                    self.folder.rmdir()
            if self._aside:
                self._aside.bring_back()
                self._aside = None

    def calls(
        self,
        key: RoundKey,
        pid: int,
        records: NDArray[np.void],
        names: Names,
        comm: str = "",
    ) -> None:
        """Appends drained call records.

        Args:
            key: the round they belong to.
            pid: the process that made them.
            records: structured array with the fields of `struct memsc_call`.
            names: system call number to name.
            comm: what the process is called; empty if nobody knows.
        """
        if not len(records):
            return
        columns: dict[str, Any] = {
            "arm": _constant(key.arm, len(records)),
            "case": _constant(key.case, len(records)),
            "round": _number(key.round, len(records)),
            "pid": _number(pid, len(records)),
            "syscall": _named(records["number"], names),
            "comm": _constant(comm, len(records)),
        }
        for name in CALLS_SCHEMA.names:
            if name not in columns:
                columns[name] = arrays.integers(records[name])
        self._append(CALLS, CALLS_SCHEMA, columns)

    def timings(
        self,
        key: RoundKey,
        recording: bool,
        calls: NDArray[np.int64] | int,
        cycles: NDArray[np.int64],
    ) -> None:
        """Appends intervals the workload measured from outside: calls covered and cycles taken."""
        rows = len(cycles)
        if not rows:
            return
        columns = {
            "arm": _constant(key.arm, rows),
            "case": _constant(key.case, rows),
            "round": _number(key.round, rows),
            "recording": _number(int(recording), rows),
            "calls": arrays.integers(np.broadcast_to(np.asarray(calls, np.int64), rows)),
            "cycles": arrays.integers(cycles),
        }
        self._append(TIMINGS, TIMINGS_SCHEMA, columns)

    def events(
        self,
        probe: str,
        events: NDArray[np.void],
        names: Mapping[str, Names],
        units: Mapping[str, str] | None = None,
    ) -> None:
        """Appends a probe's events.

        Args:
            probe: table `events/<probe>`.
            events: structured array with time, cpu, pid, tid, kind and the probe's own columns;
                fields named with a leading underscore are padding and left out.
            names: columns that hold codes, `kind` among them, and what each code is called.
            units: units of the probe's own columns.
        """
        if not len(events):
            return
        known = {**EVENT_UNITS, **(units or {})}
        fields: list[pa.Field[Any]] = []
        columns: dict[str, Any] = {}
        for name in events.dtype.names or ():
            if name.startswith("_"):
                continue
            values = events[name]
            if name in names:
                columns[name] = _named(values, names[name])
            elif values.dtype.kind in "SU":
                columns[name] = _text(values)
            else:
                columns[name] = arrays.integers(values)
            fields.append(field(name, known.get(name), columns[name].type))
        schema = pa.schema(fields, metadata={"memsc_schema": str(SCHEMA)})
        self._append(f"{EVENTS}/{probe}", schema, columns)

    def add_rows(self, table: str, schema: pa.Schema, rows: Sequence[Sequence[object]]) -> None:
        """Appends rows of a small table, each with a value for every column of its schema."""
        if rows:
            kinds = [one.type for one in schema]
            columns = [
                arrays.of_rows(values, kind)
                for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)
            ]
            self._append(table, schema, dict(zip(schema.names, columns, strict=True)))

    def append(self, table: str, rows: pa.Table) -> None:
        """Appends rows that have the table's columns already, as read from another trace."""
        self._pending.setdefault(table, []).extend(rows.to_batches())
        self._write(table, everything=False)

    def flush(self) -> bool:
        """Writes what is pending as parts: call it at each round's end. Whether there was any."""
        before = sum(self._written.values())
        for table in list(self._pending):
            self._write(table, everything=True)
        return sum(self._written.values()) > before

    def saved(self, table: str) -> int:
        """Rows of a table that are safe on disk."""
        return self._written.get(table, 0)

    def on_disk(self, table: str) -> int:
        """The same, with those that were there before."""
        return self._before.get(table, 0) + self.saved(table)

    def _append(self, table: str, schema: pa.Schema, columns: Mapping[str, Any]) -> None:
        batch = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
        self._pending.setdefault(table, []).append(batch)
        self._write(table, everything=False)

    def _write(self, table: str, everything: bool) -> None:
        batches = self._pending[table]
        rows = sum(batch.num_rows for batch in batches)
        if rows < (1 if everything else PART_ROWS):
            return
        parts = max(rows // PART_ROWS, 1)
        _require_memory(sum(batch.nbytes for batch in batches) // parts + _ENCODER)
        whole = pa.Table.from_batches(batches).unify_dictionaries()
        start = 0
        while rows - start >= PART_ROWS or (everything and start < rows):
            part = whole.slice(start, PART_ROWS)
            self._write_part(table, part)
            start += part.num_rows
        self._pending[table] = whole.slice(start).to_batches() if start < rows else []

    def _write_part(self, table: str, part: pa.Table) -> None:
        names = [one.name for one in part.schema if pa.types.is_dictionary(one.type)]
        _require_memory(part.nbytes + _ENCODER)
        stream = pa.BufferOutputStream()
        part = part.replace_schema_metadata(with_units(part.schema).metadata)
        options: dict[str, Any] = {"use_dictionary": names, "row_group_size": PART_ROWS}
        pq.write_table(part, stream, compression="zstd", compression_level=1, **options)
        index = self._next.get(table, 0)
        self._make_room()
        self._save(self.folder / table / part_name(index), stream.getvalue())
        self._replaced()
        self._next[table] = index + 1
        self._written[table] = self._written.get(table, 0) + part.num_rows

    def _make_room(self) -> None:
        """Before the first write: the trace that is there steps aside."""
        if self._waiting:
            try:
                self._waiting.put_aside()
            except OSError as error:
                self._failed(self.folder, error)
            self._aside, self._waiting, self._told = self._waiting, None, False

    def _replaced(self) -> None:
        """The new trace is one; the earlier is not needed any more."""
        if self._aside:
            self._aside.remove()
            self._aside = None

    def _require_session(self) -> None:
        """A folder made anew would look like a whole trace. Parts may be taken from one.

        Raises:
            MemscError: what had been written has gone with its folder.
        """
        if self._next and self._told and not (self.folder / SESSION).exists():
            why = "the folder has vanished, and what was recorded with it"
            raise MemscError(f"cannot write to {self.folder}", why, "record again")

    def _found(self, data: bytes) -> None:
        """Make the folder, its session in it."""
        partial = None
        try:
            partial = unfinished(self.folder)
            _write(partial / SESSION, data)
            partial.rename(self.folder)
        except OSError as error:
            if partial:
                shutil.rmtree(partial, ignore_errors=True)
            self._failed(self.folder, error)
        self._founded = True

    def _save(self, path: Path, data: bytes | pa.Buffer) -> None:
        self._require_session()
        temporary = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, data, lasting=path.name == SESSION)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            self._failed(path, error)

    def _failed(self, path: Path, error: OSError) -> NoReturn:
        kept = f"{self.saved(CALLS)} calls are kept in {self.folder} and readable"
        remedy = REMEDIES.get(error.errno or 0, "choose another place")
        raise MemscError(
            f"cannot write {path}", reason(error), f"{kept}; {remedy}, and record again"
        ) from error


def _write(path: Path, data: bytes | pa.Buffer, *, lasting: bool = True) -> None:
    with path.open("wb") as file:
        file.write(data)
        if lasting:
            file.flush()
            os.fsync(file.fileno())


def _require_memory(size: int) -> None:
    """Find out beforehand: Arrow ends the process where memory runs out in its midst.

    Raises:
        MemoryError: there is not so much.
    """
    try:
        mmap.mmap(-1, size).close()
    except OSError as error:
        raise MemoryError(f"encoding takes {size} bytes") from error


def _after(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Of each table that is there already: the number of its next part, and its rows."""
    numbers: dict[str, int] = {}
    rows: dict[str, int] = {}
    for part in folder.glob("**/part-*.parquet"):
        table = str(part.parent.relative_to(folder))
        numbers[table] = max(numbers.get(table, 0), int(part.stem.partition("-")[2]) + 1)
        rows[table] = rows.get(table, 0) + rows_of(part)
    return numbers, rows


def _constant(value: str, rows: int) -> pa.Array[Any]:
    return arrays.names(np.zeros(rows, np.int32), [value])


def _number(value: int, rows: int) -> pa.Array[Any]:
    return arrays.integers(np.full(rows, value, np.int64))


def _named(codes: NDArray[Any], names: Names) -> pa.Array[Any]:
    found, places = np.unique(codes, return_inverse=True)
    return arrays.names(places, [_name(int(code), names) for code in found])


def _text(values: NDArray[Any]) -> pa.Array[Any]:
    """Short byte strings as names; a thread may be called anything."""
    found, places = np.unique(values, return_inverse=True)
    labels = [
        value if isinstance(value, str) else value.decode(errors="replace")
        for value in found.tolist()
    ]
    # Two names that are no text may look alike when decoded; a dictionary may hold both.
    return arrays.names(places, labels)


def _name(code: int, names: Names) -> str:
    if callable(names):
        return names(code)
    if isinstance(names, Mapping):
        return names.get(code, f"#{code}")
    return names[code] if 0 <= code < len(names) else f"#{code}"
