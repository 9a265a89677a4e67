# SPDX-License-Identifier: MIT
"""The tables that an analysis makes, as small files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from memsc.analysis.trace import Trace

DERIVED: dict[str, Callable[[Trace], pd.DataFrame]] = {
    "stages": lambda trace: trace.stages.df_stages(),
    "syscalls": lambda trace: _flat(trace.totals.df_syscalls()),
    "threads": lambda trace: trace.totals.df_threads(),
    "ratios": lambda trace: trace.ratios.df_ratios(),
    "perturbation": lambda trace: trace.timings.df_perturbation(),
    "checks": lambda trace: trace.checks.df_checks(),
    "counters-per-call": lambda trace: trace.counters.df_counters(),
}
"""Tables an analysis makes; the others are those of the trace."""


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """With errors by name as text: a file's column has one kind of value."""
    words = [" ".join(f"{name}={count}" for name, count in one.items()) for one in frame["errnos"]]
    return frame.assign(errnos=pd.Series(words, frame.index, dtype=object))


_FORMULA = r"\A(\s*[=+\-@\t\r])"


def to_csv(frame: pd.DataFrame) -> bytes:
    """A small table as CSV, whole."""
    table = defused(undictioned(pa.Table.from_pandas(frame, preserve_index=False)))
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def defused(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text that a spreadsheet would run as a formula.

    Names of programs and functions come from the program that was traced.
    """
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            safe = pc.replace_substring_regex(table.column(i), _FORMULA, r"'\1")
            table = table.set_column(i, field, safe)
    return table


def undictioned(table: pa.Table) -> pa.Table:
    """The table with its words written out."""
    # Every part has its own dictionary; a file of these formats has but one.
    fields = [
        pa.field(field.name, pa.string(), metadata=field.metadata)
        if pa.types.is_dictionary(field.type)
        else field
        for field in table.schema
    ]
    metadata: Any = table.schema.metadata
    return table.cast(pa.schema(fields, metadata))
