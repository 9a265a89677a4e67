# SPDX-License-Identifier: MIT
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Each export is read back by a reader someone else wrote."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hdrh.histogram import HdrHistogram
from tests import traces

from memsc import analysis as ma
from memsc.analysis.exports import Options, export
from memsc.commands import export as command
from memsc.commands.__main__ import main
from memsc.runtime.errors import MemscError


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> ma.Trace:
    folder = tmp_path_factory.mktemp("t") / "a.memsc"
    return ma.open(traces.fabricate(folder, rounds=4, calls=500))


def read_hgrm(text: str) -> pd.DataFrame:
    frame = pd.read_csv(io.StringIO(text), sep=r"\s+", comment="#")
    return frame.astype(float)


def test_hgrm_says_what_hdrhistogram_says(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.hgrm"
    export(trace, "hgrm", path)
    mine = read_hgrm(path.read_text())
    calls = trace.folder.read("calls").to_pandas().query("arm == 'memsc'")
    reference = HdrHistogram(1, 10**9, 3)
    for value in (calls["completed"] - calls["called"]).tolist():
        reference.record_value(value)
    for row in mine.itertuples():
        # Theirs rounds a rank to the nearest, ours up: ask at ranks both agree on.
        level = float(row.TotalCount) / len(calls)  # type: ignore[arg-type]
        theirs = reference.get_value_at_percentile(100 * level) * 0.5
        assert float(row.Value) == pytest.approx(theirs, rel=4e-3)  # type: ignore[arg-type]
    assert mine["TotalCount"].iloc[-1] == len(calls) == reference.get_total_count()
    theirs = io.BytesIO()
    reference.output_percentile_distribution(theirs, 2.0, 5)
    head = theirs.getvalue().decode().splitlines()[0].split()
    assert path.read_text().splitlines()[0].split() == head
    assert (np.diff(mine["Percentile"]) > 0).all()


@pytest.mark.parametrize("table", ["calls", "timings", "stages", "checks"])
def test_tables_are_read_by_pandas_and_pyarrow(trace: ma.Trace, tmp_path: Path, table: str) -> None:
    options = Options(table=table)
    for kind in ("csv", "arrow", "parquet"):
        export(trace, kind, tmp_path / f"a.{kind}", options)
    csv = pd.read_csv(tmp_path / "a.csv")
    arrow = pyarrow.ipc.open_file(str(tmp_path / "a.arrow")).read_all()
    parquet = pq.read_table(tmp_path / "a.parquet")
    assert len(csv) == arrow.num_rows == parquet.num_rows > 0
    assert list(csv) == arrow.column_names == parquet.column_names
    if table == "calls":
        assert csv["called"].tolist() == arrow["called"].to_pylist()
        assert arrow.schema.field("called").metadata == {b"unit": b"cycles"}
        assert csv["syscall"].unique().tolist() == ["getppid"]


def test_what_is_not_there_is_named(trace: ma.Trace, tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="no such table; it has stages"):
        export(trace, "csv", tmp_path / "a", Options(table="events/sched"))
    with pytest.raises(MemscError, match="memsc/sync/getppid"):
        export(trace, "hgrm", tmp_path / "a", Options(arm="uring"))
    with pytest.raises(MemscError, match="post, poll, execute"):
        export(trace, "hgrm", tmp_path / "a", Options(stage="wait"))
    assert not list(tmp_path.iterdir())


def test_the_command_replaces_a_file_only_by_force(
    trace: ma.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.hgrm"
    args = ["export", str(trace.folder.path), "--format", "hgrm", "-o", str(path)]
    assert main(args) == 0
    assert "total of 2000 calls of memsc/sync/all/sync" in capsys.readouterr().err
    assert main(args) == 2
    assert main([*args, "-f", "--arm", "ipi", "--stage", "poll"]) == 0


def test_the_command_knows_every_format() -> None:
    from memsc.analysis.exports import FORMATS

    assert set(command.FORMATS) == set(FORMATS)
