# SPDX-License-Identifier: MIT
"""A part is read as Arrow reads it, whatever its footer spares, and passed over for a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memsc.runtime.printable import printable
from memsc.tracer.format import TIMINGS_SCHEMA, Part, RoundKey, read_part, read_rounds

REST: dict[str, list[Any]] = {"recording": [1], "calls": [1], "cycles": [1]}
WHOLE = ("round", "recording", "calls", "cycles")
values = st.one_of(st.just([7]), st.just([-(2**63), 2**63 - 1]), st.just([0, 0, 5]))
texts = st.sampled_from([["direct"], ["direct", "memsc"], ["é\x1b[31m"], [""]])


def written(path: Path, columns: dict[str, list[Any]], rows: int, **options: Any) -> Part:
    made: list[Any] = []
    for field in TIMINGS_SCHEMA:
        some = np.resize(np.array(columns[field.name], object), rows).tolist()
        made.append(pa.array(some, pa.string() if field.name in ("arm", "case") else pa.int64()))
    table = pa.table(made, TIMINGS_SCHEMA.names).cast(TIMINGS_SCHEMA)
    chosen: Any = {"use_dictionary": ["arm", "case"], **options}
    pq.write_table(table, path, **chosen)
    return Part("timings", path, rows)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {"arm": texts, "case": texts} | dict.fromkeys(WHOLE, values),
    ),
    st.integers(0, 7),
    st.sampled_from([{}, {"row_group_size": 2}, {"write_statistics": False}]),
    st.sets(st.sampled_from(TIMINGS_SCHEMA.names), min_size=1),
)
def test_the_footer_changes_no_row(
    tmp_path: Path, columns: dict[str, Any], rows: int, options: dict[str, Any], wanted: set[str]
) -> None:
    part = written(tmp_path / "part.parquet", columns, rows, **options)
    plain = pq.read_table(part.path, columns=sorted(wanted))
    found = read_part(part, sorted(wanted))
    assert found.schema.names == plain.schema.names
    assert [field.type for field in found.schema] == [field.type for field in plain.schema]
    assert found.schema.field(0).metadata == plain.schema.field(0).metadata
    shown = [
        {k: v.replace("\x1b", "\\x1b") if isinstance(v, str) else v for k, v in row.items()}
        for row in plain.to_pylist()
    ]
    assert found.to_pylist() == shown


ROUNDS = {
    ("memsc", "sync", 3): True,
    ("memsc", "sync", 4): False,
    ("direct", "sync", 3): False,
    ("memsc", "dd", 3): False,
}


@pytest.mark.parametrize("key", ROUNDS)
def test_a_part_of_one_round_is_passed_over_for_all_others(tmp_path: Path, key: Any) -> None:
    columns = {"arm": ["memsc"], "case": ["sync"], "round": [3]}
    part = written(tmp_path / "part.parquet", columns | REST, 5)
    assert (read_rounds(part, ["cycles"], {RoundKey(*key)}) is not None) is ROUNDS[key]


@pytest.mark.parametrize("case", ["new\nline", "\x1b[31m", "</title>", "\u202eabc"])
def test_rounds_are_found_by_names_as_they_are_shown(tmp_path: Path, case: str) -> None:
    columns = {"arm": ["memsc"], "case": [case], "round": [3]}
    part = written(tmp_path / "part.parquet", columns | REST, 5)
    shown = read_rounds(part, None, {RoundKey("memsc", printable(case), 3)})
    assert shown is not None
    assert set(shown["case"].to_pylist()) == {printable(case)}
    assert read_rounds(part, None, {RoundKey("memsc", "sync", 3)}) is None


def test_a_part_of_several_rounds_is_read_for_any_that_it_may_have(tmp_path: Path) -> None:
    columns = {"arm": ["direct", "memsc"], "case": ["sync"], "round": [3, 9]}
    part = written(tmp_path / "part.parquet", columns | REST, 6)
    every = {
        RoundKey(arm, case, n)
        for arm in ("direct", "ipi", "memsc", "z")
        for case in ("sync", "dd")
        for n in range(12)
    }
    read = {key for key in every if read_rounds(part, ["cycles"], {key}) is not None}
    # Of several names, which are shown as they are not ordered, none is ruled out.
    assert read == {
        RoundKey(arm, "sync", n) for arm in ("direct", "ipi", "memsc", "z") for n in range(3, 10)
    }
    assert read_rounds(part, ["cycles"], set()) is None
    silent = written(tmp_path / "silent.parquet", columns | REST, 6, write_statistics=False)
    assert read_rounds(silent, ["cycles"], {RoundKey("z", "z", 99)}) is not None
