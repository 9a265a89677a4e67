# SPDX-License-Identifier: MIT
"""Readers of tables."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tests.helpers.readers.seen import Seen

from memsc.tracer.format.tables import UNITS


@dataclass(frozen=True)
class Read:
    """What a reader made of a table.

    Args:
        names: of its columns.
        rows: how many.
        total: the sum of all `completed`, which 64 bits do not hold.
        units: whether it shows those in the fields.
        whole: whether it shows those of the file.
        kept: whether what it writes again has any.
    """

    names: list[str]
    rows: int
    total: int
    units: bool
    whole: bool
    kept: bool


def table(kind: str, file: Path, trace: Path, read: Callable[[str, Path], Read]) -> Seen:
    """What a reader shows of the table `calls`."""
    known = pa.concat_tables(pq.read_table(p) for p in sorted((trace / "calls").glob("*.parquet")))
    if file.parent == trace / "calls":
        known = pq.read_table(file)
    found = read(kind, file)
    seen = {
        "columns": found.names == known.column_names,
        "rows": found.rows == known.num_rows,
        "stamps to the last cycle": found.total == sum(known["completed"].to_numpy().tolist()),
        "units of the fields": found.units,
    }
    if kind == "parquet":
        seen["units of the file"] = found.whole
        seen["units once rewritten"] = found.kept
    return seen


def _of_arrow(made: Any, again: Path | None) -> Read:
    said = made.schema.field("called").metadata or {}
    whole = UNITS.encode() in (made.schema.metadata or {})
    return Read(
        made.column_names,
        made.num_rows,
        sum(made["completed"].to_pylist()),
        said.get(b"unit") == b"cycles",
        whole,
        again is not None and _has_units(again),
    )


def _has_units(file: Path) -> bool:
    schema = pq.read_schema(file)
    return UNITS.encode() in (schema.metadata or {}) or bool(schema.field("called").metadata)


def by_pyarrow(kind: str, file: Path) -> Read:
    """Arrow's own."""
    if kind == "arrow":
        return _of_arrow(pa.ipc.open_file(str(file)).read_all(), None)
    if kind == "csv":
        return _of_arrow(importlib.import_module("pyarrow.csv").read_csv(str(file)), None)
    again = file.parent.parent / "again-pyarrow.parquet"
    made = pq.read_table(file)
    pq.write_table(made, again)
    return _of_arrow(made, again)


def by_pandas(kind: str, file: Path) -> Read:
    """pandas."""
    ways = {"csv": pd.read_csv, "arrow": pd.read_feather, "parquet": pd.read_parquet}
    frame: Any = ways[kind](file)
    again = file.parent.parent / "again-pandas.parquet"
    frame.to_parquet(again)
    shown = "cycles" in str(frame["called"].attrs)
    whole = UNITS in frame.attrs
    total = sum(frame["completed"].tolist())
    return Read(list(frame), len(frame), total, shown, whole, _has_units(again))


def by_duckdb(kind: str, file: Path) -> Read:
    """DuckDB."""
    duckdb = importlib.import_module("duckdb")
    source = f"read_{kind}('{file}')"
    names = [line[0] for line in duckdb.sql(f"describe from {source}").fetchall()]
    ((rows, total),) = duckdb.sql(f"select count(*), sum(completed) from {source}").fetchall()
    again = file.parent.parent / "again-duckdb.parquet"
    duckdb.sql(f"copy (from {source}) to '{again}' (format parquet)")
    shown = whole = False
    if kind == "parquet":
        shown = "cycles" in str(duckdb.sql(f"from parquet_schema('{file}')").fetchall())
        whole = UNITS in str(duckdb.sql(f"from parquet_kv_metadata('{file}')").fetchall())
    return Read(names, rows, int(total), shown, whole, _has_units(again))


def by_polars(kind: str, file: Path) -> Read:
    """Polars."""
    pl = importlib.import_module("polars")
    ways = {"csv": pl.read_csv, "arrow": pl.read_ipc, "parquet": pl.read_parquet}
    frame = ways[kind](file)
    again = file.parent.parent / "again-polars.parquet"
    frame.write_parquet(again)
    shown = "cycles" in str(frame.schema)
    whole = kind == "parquet" and UNITS in pl.read_parquet_metadata(file)
    total = sum(frame["completed"].to_list())
    return Read(frame.columns, frame.height, total, shown, whole, _has_units(again))


READERS: dict[str, dict[str, Callable[[str, Path], Read]]] = {
    "csv": {"pandas": by_pandas, "duckdb": by_duckdb, "polars": by_polars},
    "arrow": {"pyarrow": by_pyarrow, "pandas": by_pandas, "polars": by_polars},
    "parquet": {
        "pyarrow": by_pyarrow,
        "pandas": by_pandas,
        "duckdb": by_duckdb,
        "polars": by_polars,
    },
}
