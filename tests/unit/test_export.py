# SPDX-License-Identifier: MIT
"""Each export is read back by a reader someone else wrote."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.data.histogram import Histogram
from memsc.analysis.data.order import few
from memsc.analysis.export.formats import Options, export
from memsc.analysis.export.hlog import encode
from memsc.commands import export as command
from memsc.commands.__main__ import main
from memsc.runtime.errors import MemscError
from memsc.tracer.format import STAMPS


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
        for path in (tmp_path / "a.parquet", trace.folder.parts["calls"][0].path):
            units = json.loads((pq.read_metadata(path).metadata or {})[b"memsc_units"])
            assert units == {**dict.fromkeys(STAMPS, "cycles"), "flags": "bits"}
        assert csv["syscall"].unique().tolist() == ["getppid"]


def test_hlog_is_read_by_hdrhistogram(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    assert export(trace, "hlog", path) == "12 rounds, nanoseconds"
    reader = HistogramLogReader(str(path), HdrHistogram(1, 1 << 62, 3))
    calls = trace.folder.read("calls").to_pandas()
    found = 0
    first = trace.session.rounds[0].start_ns
    assert first is not None
    offset = trace.session.clock.realtime_offset_ns
    assert offset is not None
    earliest = float("inf")
    while (histogram := reader.get_next_interval_histogram()) is not None:
        arm = str(histogram.get_tag()).split(".")[0]
        mine = calls[calls["arm"] == arm]
        total = np.sort((mine["completed"] - mine["called"]).to_numpy()) * 0.5
        assert histogram.get_total_count() == 500
        earliest = min(earliest, histogram.get_start_time_stamp())
        assert total[0] * 0.99 <= histogram.get_value_at_percentile(50) <= total[-1] * 1.01
        found += 1
    reader.close()
    assert found == 12
    assert earliest == pytest.approx((first + offset) * 1e-6, abs=1.5)  # ms since the epoch


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=100))
def test_hlog_keeps_every_count(values: list[int]) -> None:
    theirs = HdrHistogram.decode(encode(Histogram.of(np.array(values)), 1.0))
    assert theirs.get_total_count() == len(values)
    exact = sorted(values)
    for q in (1, 50, 90, 100):
        mine = exact[max(int(q * len(values) / 100 + 0.5), 1) - 1]
        assert theirs.get_value_at_percentile(q) == pytest.approx(mine, rel=4e-3)


def test_folded_and_speedscope_hold_all_time(trace: ma.Trace, tmp_path: Path) -> None:
    export(trace, "folded", tmp_path / "a.folded")
    lines = [line.rsplit(" ", 1) for line in (tmp_path / "a.folded").read_text().splitlines()]
    weights = {tuple(stack.split(";")): int(weight) for stack, weight in lines}
    calls = trace.folder.read("calls").to_pandas()
    spent = (calls["completed"] - calls["called"]).sum() * 0.5
    assert sum(weights.values()) == pytest.approx(spent, abs=len(weights))
    export(trace, "speedscope", tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    frames = [frame["name"] for frame in content["shared"]["frames"]]
    read = {
        (profile["name"], *(frames[i] for i in sample)): weight
        for profile in content["profiles"]
        for sample, weight in zip(profile["samples"], profile["weights"], strict=True)
    }
    assert read == weights
    for profile in content["profiles"]:
        assert profile["endValue"] == sum(profile["weights"])


def test_the_timeline_holds_each_call_with_its_stages_inside(
    trace: ma.Trace, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    assert export(trace, "chrome", path).startswith("6000 calls")
    content = json.loads(path.read_text())
    assert content["otherData"]["clock"] == "CLOCK_MONOTONIC"
    events = pd.DataFrame(content["traceEvents"])
    assert (events["ph"] == "f").sum() == (events["ph"] == "s").sum() == 6000
    mine = events[(events["cat"] == "call") & events["ph"].isin(["B", "E"])]
    lasts = {"whole": 0.0, "stages": 0.0}
    for _, track in mine.groupby(["pid", "tid"]):
        open_: list[tuple[str, float]] = []
        for phase, name, time in zip(track["ph"], track["name"], track["ts"], strict=True):
            if phase == "B":
                open_.append((name, time))
                continue
            begun, since = open_.pop()
            assert begun == name
            lasts["stages" if open_ else "whole"] += time - since
        assert not open_
    # Only stages that took no time at all are left out.
    assert 2 * 4 * 6000 <= len(mine) <= 2 * 5 * 6000
    assert lasts["stages"] == pytest.approx(lasts["whole"])
    calls = trace.folder.read("calls").to_pandas()
    spent = (calls["completed"] - calls["called"]).sum() * 0.5
    assert lasts["whole"] * 1000 == pytest.approx(spent, rel=1e-3)


def test_openmetrics_is_read_by_prometheus(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    export(trace, "openmetrics", path)
    families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
    means = families["memsc_stage_mean_seconds"]
    assert means.unit == "seconds"
    assert len(means.samples) == 3 * 5
    quantiles = families["memsc_stage_quantile_seconds"].samples
    # Two calls lie above p99.9 in 2 000: it is left out.
    assert {sample.labels["quantile"] for sample in quantiles} == {"0.5", "0.9", "0.99"}


def test_openmetrics_has_the_intervals(trace: ma.Trace, tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    export(trace, "openmetrics", path)
    families = {f.name: f.samples for f in text_string_to_metric_families(path.read_text())}
    for kind in ("mean", "quantile"):
        bounds: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
        for sample in families[f"memsc_stage_{kind}_bound_seconds"]:
            labels = {name: text for name, text in sample.labels.items() if name != "bound"}
            assert labels.pop("interval") in ("rounds", "blocks")
            bounds.setdefault(tuple(sorted(labels.items())), {})[sample.labels["bound"]] = (
                sample.value
            )
        values = families[f"memsc_stage_{kind}_seconds"]
        assert len(values) == len(bounds) > 10
        for sample in values:
            ends = bounds[tuple(sorted(sample.labels.items()))]
            assert 0 < ends["low"] <= sample.value <= ends["high"]


def test_what_is_not_there_is_named(trace: ma.Trace, tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="no such table; it has stages"):
        export(trace, "csv", tmp_path / "a", Options(table="events/sched"))
    with pytest.raises(MemscError, match="its arms are direct, ipi, memsc"):
        export(trace, "hgrm", tmp_path / "a", Options(arm="uring"))
    with pytest.raises(MemscError, match="its cases are sync"):
        export(trace, "hgrm", tmp_path / "a", Options(case="unknown"))
    with pytest.raises(MemscError, match="its syscalls are all, getppid"):
        export(trace, "hgrm", tmp_path / "a", Options(arm="memsc", syscall="read"))
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


def test_few_names_stand_for_many() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few(list("abcdef")) == "a, b, c, d and 2 more"


def test_the_command_knows_every_format() -> None:
    from memsc.analysis.export.formats import FORMATS

    assert set(command.FORMATS) == set(FORMATS)
