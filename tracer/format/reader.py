# SPDX-License-Identifier: MIT
"""Opens a trace: reads its `session.json`, and looks at its parts. Pure: it opens files alone.

A trace is a folder `NAME.memsc/` with a `session.json` and tables, each a folder of Parquet files
`part-NNNN.parquet`. A part is one row group, closed and renamed when complete, so that whatever
stands under its final name is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa

from memsc.runtime.errors import MemscError
from memsc.tracer.format.ahead import ahead
from memsc.tracer.format.damage import contradiction, every_printable
from memsc.tracer.format.parts import (
    Part,
    check_regular,
    location,
    read_part,
    read_rounds,
    rows_of,
)
from memsc.tracer.format.session_file import SESSION, RoundKey, Session
from memsc.tracer.format.tables import CALLS, COUNTERS, EVENTS, SCHEMA, STACKS, TIMINGS

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Makes of a session of a schema one of the next: none yet, for 1 is the first."""
SUFFIX = ".memsc"


def decode_session(data: bytes, path: Path) -> Session:
    """Parses `session.json`, of this schema or an older one.

    Raises:
        MemscError: not JSON, no schema number, a schema newer than this memsc or none of memsc's,
            or a field of the wrong type (named by its JSON path).
    """
    what = f"cannot read {path}"
    try:
        content = every_printable(msgspec.json.decode(data, type=dict[str, Any]))
        schema = msgspec.convert(content, _Versioned).schema
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise MemscError(what, f"not a memsc session ({error})", "name a trace folder") from error
    if not 1 <= schema <= SCHEMA:
        why = f"it has trace schema {schema}, this memsc reads 1 to {SCHEMA}"
        raise MemscError(what, why, "upgrade memsc" if schema > SCHEMA else "record it again")
    try:
        for step in range(schema, SCHEMA):
            content = UPGRADES[step](content)
        _number_turns(content.get("rounds"))
        session = msgspec.convert(content, Session, str_keys=True)
    except msgspec.ValidationError as error:
        raise MemscError(what, f"damaged session ({error})", "record it again") from error
    wrong = contradiction(session)
    if wrong:
        raise MemscError(what, f"damaged session ({wrong})", "record it again")
    return session


def _number_turns(rounds: object) -> None:
    """Traces of memsc 0.1 tell turns by the rounds' numbers: each had two, recorded and not."""
    for one in cast("list[object]", rounds) if isinstance(rounds, list) else ():
        if isinstance(one, dict) and isinstance(number := one.get("round"), int):
            one.setdefault("turn", number // 2)


class _Versioned(msgspec.Struct):
    schema: int


@dataclass(frozen=True, slots=True)
class TraceFolder:
    """An opened trace: its session and the whole parts of its tables, nothing read yet."""

    path: Path
    session: Session
    parts: dict[str, list[Part]]

    def rows(self, table: str) -> int:
        """Rows of a table; 0 if the trace has no such table."""
        return sum(part.rows for part in self.parts.get(table, []))

    def batches(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        rounds: Collection[RoundKey] | None = None,
    ) -> Iterator[pa.Table]:
        """A table's rows, one part at a time, in the order they were recorded.

        Args:
            table: which; one that the trace does not have has no rows.
            columns: which of it; None for all.
            rounds: parts that have no rows of these are passed over; others come whole.
        """
        parts = self.parts.get(table, [])
        if rounds is None:
            return ahead(partial(read_part, part, columns) for part in parts)
        found = ahead(partial(read_rounds, part, columns, rounds) for part in parts if rounds)
        return (rows for rows in found if rows is not None)

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole table in memory: for small ones (`timings`, events of one probe).

        Raises:
            MemscError: the trace has no such table.
        """
        found = list(self.batches(table, columns))
        if not found:
            raise MemscError(
                f"cannot read {table} of {self.path}", "not recorded", self._remedy(table)
            )
        return pa.concat_tables(found, promote_options="permissive").unify_dictionaries()

    def _remedy(self, table: str) -> str:
        if table.startswith(f"{EVENTS}/"):
            return f"record again with --probes {table.removeprefix(f'{EVENTS}/')}"
        return f"this trace has {', '.join(sorted(self.parts)) or 'no tables'}"


def open_trace(path: str | Path) -> TraceFolder:
    """Opens a trace folder and looks at the footer of every part, which is cheap.

    Raises:
        MemscError: nothing there, not a trace, `session.json` missing or newer than this memsc, a
            part cut short (named).

    Example:
        >>> open_trace("demo.memsc").rows("calls")  # doctest: +SKIP
        4000000
    """
    folder = location(path)
    what = f"cannot open {folder}"
    if not folder.exists():
        raise MemscError(what, "no such folder", "record one with memsc trace -o FOLDER")
    if not folder.is_dir():
        raise MemscError(what, "not a folder", "a trace is a folder NAME.memsc")
    check_regular(folder / SESSION)
    try:
        data = (folder / SESSION).read_bytes()
    except FileNotFoundError as error:
        if (folder / CALLS).is_dir():
            raise MemscError(what, f"its {SESSION} is missing", "copy the whole folder") from error
        raise MemscError(
            what, "not a memsc trace", "name a folder that memsc trace wrote"
        ) from error
    except OSError as error:
        raise MemscError(what, error.strerror or str(error), "check its permissions") from error
    session = decode_session(data, folder / SESSION)
    tables = [folder / CALLS, folder / TIMINGS, *_children(folder / EVENTS)]
    tables += [folder / COUNTERS, folder / STACKS]
    parts = {str(table.relative_to(folder)): _parts(folder, table) for table in tables}
    return TraceFolder(folder, session, {name: found for name, found in parts.items() if found})


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _parts(folder: Path, table: Path) -> list[Part]:
    # Past part 9999 the names get longer, so length comes before letters.
    files = sorted(table.glob("part-*.parquet"), key=lambda file: (len(file.name), file.name))
    return [Part(str(table.relative_to(folder)), file, rows_of(file)) for file in files]
