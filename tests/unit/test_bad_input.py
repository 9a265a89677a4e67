# SPDX-License-Identifier: MIT
"""Whatever a trace holds, there is a clear error or "insufficient", never a wrong number."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.report.page import to_html
from memsc.analysis.report.summary import summarise
from memsc.commands.__main__ import main
from memsc.runtime.errors import WITHHELD, MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format import reader
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

CELL = Cell("memsc", "sync", ALL, "sync")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=300)


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes every part of the table `calls`."""
    for path in sorted((folder / fmt.CALLS).iterdir()):
        pq.write_table(change(pq.ParquetFile(path).read()), path)


def column(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].cast(pa.string()) if kind == pa.string() else table[name].cast(kind)
        return table.set_column(table.schema.get_field_index(name), name, values)

    return change


def with_nulls(table: pa.Table) -> pa.Table:
    values = pa.array([None, *table["picked"].to_pylist()[1:]], pa.int64())
    return table.set_column(table.schema.get_field_index("picked"), "picked", values)


def jumped(table: pa.Table) -> pa.Table:
    values = table["completed"].to_numpy().copy()
    values[3] = 2**62
    index = table.schema.get_field_index("completed")
    return table.set_column(index, "completed", pa.array(values))


def backwards(cycles: int) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table["picked"].to_numpy().copy()
        values[3] = table["posted"][3].as_py() - cycles
        return table.set_column(table.schema.get_field_index("picked"), "picked", pa.array(values))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (column("picked", pa.float64()), "its column picked has the type double"),
        (column("called", pa.string()), "its column called has the type string"),
        (column("flags", pa.int32()), "its column flags has the type int32"),
        (column("arm", pa.string()), "its column arm has the type string"),
        (with_nulls, "its column picked has empty values"),
        (lambda table: table.drop_columns(["executed"]), "it has no column executed"),
        (jumped, "the stamps of one are months apart"),
        (backwards(1 << 33), "the stamps of one are seconds back in time"),
    ],
)
def test_a_column_that_is_wrong_is_refused_by_name(
    folder: Path,
    change: Callable[[pa.Table], pa.Table],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewrite(folder, change)
    assert main(["report", str(folder)]) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_a_column_that_is_not_known_is_left_alone(folder: Path) -> None:
    before = ma.open(folder).stages.df_stages()
    rewrite(folder, lambda table: table.append_column("mood", pa.array(["x"] * table.num_rows)))
    pd.testing.assert_frame_equal(before, ma.open(folder).stages.df_stages())


def session_of(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / fmt.SESSION).read_text())
    change(content)
    (folder / fmt.SESSION).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s["clock"].update(ns_per_cycle=0), "a cycle of 0"),
        (lambda s: s["clock"].update(ns_per_cycle=-1.5), "a cycle of -1.5 ns"),
        (lambda s: s["clock"].update(residual_ns=1e38), "clocks that are 1e.38 ns apart"),
        (lambda s: s["clock"].update(skew_bound_ns=-1), "clocks that are -1.0 ns apart"),
        (lambda s: s["arms"].pop("memsc"), "rounds of memsc, an arm it does not describe"),
        (lambda s: s["rounds"].append(s["rounds"][0]), "round 0 of direct/sync twice"),
        (lambda s: s.update(schema=2), "reads 1 to 1; upgrade memsc"),
        (lambda s: s.update(schema=0), "reads 1 to 1; record it again"),
        (lambda s: s.update(clock=None), r"\$\.clock"),
    ],
)
def test_a_session_that_contradicts_itself_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    session_of(folder, change)
    with pytest.raises(MemscError, match=says):
        ma.open(folder)


def test_a_trace_of_an_older_schema_is_brought_up_to_this_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ma.open(folder)

    def renamed(content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "memsc": content["maker"]}

    session_of(folder, lambda s: s.update(maker=s.pop("memsc")))
    with pytest.raises(MemscError, match="damaged session"):
        ma.open(folder)
    monkeypatch.setattr(reader, "SCHEMA", 3)
    monkeypatch.setattr(reader, "UPGRADES", {1: lambda content: content, 2: renamed})
    after = ma.open(folder)
    assert after.session == before.session
    pd.testing.assert_frame_equal(after.stages.df_stages(), before.stages.df_stages())


def test_a_trace_of_the_first_day_opens_and_says_what_it_said() -> None:
    trace = ma.open(Path(__file__).parent / "recorded" / "first-day.memsc")
    frame = trace.stages.df_stages(syscalls=False).query("stage == 'total'")
    assert frame["n"].tolist() == [1286, 1286]
    assert frame["mean_ns"].tolist() == pytest.approx([357.303148, 6065.766259])
    assert frame["p50_ns"].tolist() == pytest.approx([230.534402, 470.505884])
    assert trace.checks.withheld() == []


def test_a_counter_that_runs_backwards_withholds_the_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(folder, backwards(1000))
    assert main(["report", str(folder)]) == WITHHELD
    out = " ".join(capsys.readouterr().out.split())
    assert "1 stages between stamps of two CPUs are below zero, by 500 ns at most" in out


def test_fields_of_a_later_memsc_with_the_same_schema_do_no_harm(folder: Path) -> None:
    session_of(folder, lambda s: s.update(mood="x"))
    assert ma.open(folder).arms == ["direct", "ipi", "memsc"]


def test_a_part_that_was_removed_withholds_the_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / fmt.CALLS / fmt.part_name(1)).unlink()
    assert main(["report", str(folder)]) == WITHHELD
    out = " ".join(capsys.readouterr().out.split())
    assert "its files hold 900 calls, its session wrote 1800" in out


def one_call(folder: Path, calls: int) -> ma.Trace:
    key = fmt.RoundKey("memsc", "sync", 0)
    rounds = [fmt.Round(*key, calls=calls, lost=0, made=calls)]
    with TraceWriter(prepare_output(folder)) as writer:
        rows = traces.records(np.full((calls, 4), 100))
        writer.calls(key, 7, rows, traces.NAMES)
        arms = {"memsc": fmt.Arm("memsc", calls=calls, lost=0, made=calls)}
        writer.session(traces.session(rounds, arms))
    return ma.open(folder)


def test_of_a_single_call_only_its_own_time_is_said(tmp_path: Path) -> None:
    trace = one_call(tmp_path / "a.memsc", 1)
    frame = trace.stages.df_stages().query("syscall == 'all'").set_index("stage")
    assert frame["mean_ns"].to_dict() == dict.fromkeys(fmt.STAGES, 50.0) | {"total": 200.0}
    assert frame[["p50_ns", "p99_ns", "mean_low_ns"]].isna().all(axis=None)
    assert (frame["p50_reason"] == "insufficient: 0 calls above it, 20 needed").all()
    assert (frame["interval"] == "none").all()
    frame = ma.compare(trace, trace).df_compare()
    assert set(frame["verdict"]) == {"insufficient", "withheld"}
    assert set(frame.query("verdict == 'withheld'")["metric"]) == {"mean"}
    assert main(["report", str(trace.folder.path)]) == 0


@pytest.mark.parametrize("calls", [0, 1])
def test_every_frame_of_next_to_nothing_is_empty_or_says_why(tmp_path: Path, calls: int) -> None:
    trace = one_call(tmp_path / "a.memsc", calls)
    fleet = ma.open_many(str(tmp_path / "a.memsc"))
    for frame in (
        trace.stages.df_stages(),
        trace.tail.df_bands(),
        trace.timings.df_timings(),
        trace.timings.df_perturbation(),
        trace.ratios.df_ratios(),
        fleet.df_stages(),
        ma.compare(trace, trace).df_shift(),
    ):
        assert calls or frame.empty
    assert trace.tail.df_excess().empty
    assert not trace.checks.df_checks().empty
    assert fleet.df_partitions()["calls"].tolist() == [calls]
    if not calls:
        with pytest.raises(MemscError, match="no call was recorded"):
            trace.stages.plot_stages()
        return
    assert trace.checks.plot_checks().axes
    with pytest.raises(MemscError, match=r"cannot draw time per call .*: there is none"):
        trace.timings.plot_timings()
    for draw in (trace.stages.plot_distribution, trace.tail.plot_bands):
        words = [text.get_text() for axes in draw().axes for text in axes.findobj(Text)]
        assert [word for word in words if "insufficient: fewer than 20 calls" in word]
    page = to_html(trace, summarise(trace))
    assert "What slow calls are made of" not in page


def test_what_does_not_exist_is_refused_by_plots(folder: Path) -> None:
    trace = ma.open(folder)
    for draw in (
        lambda: trace.stages.plot_distribution("none"),
        lambda: trace.tail.plot_excess("none"),
        lambda: trace.tail.plot_bands("none"),
        lambda: trace.ratios.plot_ratios("memsc"),
        lambda: ma.compare(trace, trace).plot_compare("p51"),
    ):
        with pytest.raises(MemscError, match="cannot draw"):
            draw()


def test_every_domain_draws_itself(folder: Path) -> None:
    trace = ma.open(folder)
    for figure in (
        trace.stages.plot_stages(),
        trace.stages.plot_distribution(),
        trace.tail.plot_bands(),
        trace.tail.plot_excess(),
        trace.ratios.plot_ratios("ipi", "p50"),
        trace.timings.plot_perturbation(),
        ma.compare(trace, trace).plot_compare(),
    ):
        figure.canvas.draw()


@cache
def whole(path: Path) -> Sketch:
    return ma.open(path).cells.whole(CELL)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-0.001, 0.05, allow_nan=False), max_size=3))
def test_windows_partition_the_calls(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "windows.memsc"
    if not path.exists():
        traces.fabricate(path, rounds=2, calls=300)
    trace = ma.open(path)
    edges = [None, *sorted(cuts), None]
    pieces = [trace[a:b].cells for a, b in itertools.pairwise(edges)]
    sketches = [cells.whole(CELL) for cells in pieces if CELL in cells.sketches]
    both = [Sketch.merge(sketches), Sketch.merge(sketches[::-1])]
    for merged in both:
        assert (merged.n, merged.sums.tolist()) == (whole(path).n, whole(path).sums.tolist())
        for mine, all_of_it in zip(merged.histograms, whole(path).histograms, strict=True):
            assert np.array_equal(mine.bins, all_of_it.bins)
            assert np.array_equal(mine.counts, all_of_it.counts)
