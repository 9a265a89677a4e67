# SPDX-License-Identifier: MIT
"""Stages of a trace: exact where they promise to be, silent where samples are too few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.data import scan
from memsc.analysis.data.histogram import RELATIVE_ERROR
from memsc.analysis.data.scan import ALL, Cell, Cells
from memsc.analysis.data.sketch import Sketch
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

stage_rows = st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1, max_size=60).map(
    lambda rows: np.array(rows, np.int64)
)


def assert_same(a: Sketch, b: Sketch) -> None:
    assert a.n == b.n
    for name in ("sums", "mins", "maxs", "negative", "flags", "bands"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for x, y in zip(a.histograms, b.histograms, strict=True):
        assert np.array_equal(x.bins, y.bins)
        assert np.array_equal(x.counts, y.counts)


@given(stage_rows, stage_rows, stage_rows)
def test_sketches_merge_associatively_and_lose_nothing(
    a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]
) -> None:
    x, y, z = traces.sketch_of(a), traces.sketch_of(b), traces.sketch_of(c)
    left = Sketch.merge([Sketch.merge([x, y]), z])
    assert_same(left, Sketch.merge([x, Sketch.merge([y, z])]))
    assert_same(left, traces.sketch_of(np.concatenate([a, b, c])))


@given(stage_rows)
def test_bands_hold_all_that_their_stages_took(stages: NDArray[np.int64]) -> None:
    sketch = traces.sketch_of(stages)
    assert np.array_equal(sketch.bands.sum(axis=1), sketch.sums[:-1])


def one_trace(tmp_path: Path, *batches: tuple[fmt.RoundKey, NDArray[np.void]]) -> ma.Trace:
    folder = prepare_output(tmp_path / "a.memsc")
    rounds = [fmt.Round(*key, calls=len(rows), lost=0, made=len(rows)) for key, rows in batches]
    arms = {key.arm: fmt.Arm(key.arm, calls=0, lost=0, made=0) for key, _ in batches}
    with TraceWriter(folder) as writer:
        for key, rows in batches:
            writer.calls(key, 7, rows, traces.NAMES)
        writer.session(traces.session(rounds, arms))
    return ma.open(folder)


def key(arm: str = "memsc", case: str = "sync", index: int = 0) -> fmt.RoundKey:
    return fmt.RoundKey(arm, case, index)


@settings(deadline=None, max_examples=20)
@given(stage_rows, st.integers(0, 2**32 - 1))
def test_the_streamed_report_is_the_one_pandas_would_give(
    tmp_path_factory: pytest.TempPathFactory, stages: NDArray[np.int64], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    number = generator.choice([0, 1, 110], len(stages))
    flags = generator.choice([0, 1], len(stages))
    index = generator.integers(0, 3, len(stages))
    batches = [
        (key(index=i), traces.records(stages[index == i], number=number[index == i]))
        for i in range(3)
        if (index == i).any()
    ]
    for i, (_, rows) in enumerate(batches):
        rows["flags"] = flags[index == sorted(set(index.tolist()))[i]]
    trace = one_trace(tmp_path_factory.mktemp("t"), *batches)
    plain = trace.folder.read(fmt.CALLS).to_pandas()
    plain["mode"] = np.where(plain["flags"] & 1, "async", "sync")
    found = trace.stages.df_stages(intervals=False).query("syscall != 'all'")
    assert len(found) == 5 * len(plain.groupby(["syscall", "mode"], observed=True))
    for (call, mode), rows in plain.groupby(["syscall", "mode"], observed=True):
        total = (rows["completed"] - rows["called"]).to_numpy() * 0.5
        mine = found[(found["syscall"] == call) & (found["mode"] == mode)].set_index("stage")
        assert mine["n"].iloc[0] == len(rows)
        assert mine.loc["total", "mean_ns"] == pytest.approx(total.mean())
        assert mine.loc["total", "max_ns"] == total.max()
        if total.any():
            assert mine["share"].drop("total").sum() == pytest.approx(1)


def test_quantiles_are_within_the_histograms_error(tmp_path: Path) -> None:
    stages = traces.stages_like("ipi", 20_000, np.random.default_rng(3))
    trace = one_trace(tmp_path, (key("ipi"), traces.records(stages)))
    total = np.sort(stages.sum(axis=1)) * 0.5
    row = trace.stages.df_stages().query("stage == 'total' and syscall == 'all'").iloc[0]
    for name, q in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99), ("p999_ns", 0.999)):
        exact = total[int(np.ceil(q * len(total))) - 1]
        assert abs(row[name] - exact) <= exact * RELATIVE_ERROR
    assert row["interval"] == "blocks"


def test_a_percentile_of_too_few_calls_is_not_given(tmp_path: Path) -> None:
    stages = np.full((150, 4), 10)
    trace = one_trace(tmp_path, (key(), traces.records(stages)))
    row = trace.stages.df_stages().query("stage == 'total' and syscall == 'all'").iloc[0]
    assert row["p50_ns"] == 20
    assert np.isnan(row["p99_ns"])
    assert row["p99_reason"] == "insufficient: 1 calls above it, 20 needed"


def test_a_single_call_is_reported_without_an_interval(tmp_path: Path) -> None:
    trace = one_trace(tmp_path, (key(), traces.records(np.full((1, 4), 10))))
    row = trace.stages.df_stages().query("stage == 'total' and syscall == 'all'").iloc[0]
    assert (row["mean_ns"], row["interval"]) == (20, "none")
    assert np.isnan(row["mean_low_ns"])


def test_an_empty_trace_has_no_rows(tmp_path: Path) -> None:
    trace = one_trace(tmp_path, (key(), traces.records(np.empty((0, 4), np.int64))))
    assert trace.stages.df_stages().empty


def test_check_rounds_are_left_out(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("memsc",), rounds=2, calls=100)
    session = fmt.open_trace(folder).session
    rounds = [
        fmt.Round(r.arm, r.case, r.round, check=r.round == 1, calls=100, lost=0, made=100)
        for r in session.rounds
    ]
    TraceWriter(folder).session(traces.session(rounds, session.arms))
    assert ma.open(folder).stages.df_stages()["n"].max() == 100
    assert set(ma.open(folder).where(checks=True).cells.blocks) == {key(index=1)}


def test_filters_and_windows(tmp_path: Path) -> None:
    rows = traces.records(
        np.full((100, 4), 100),
        number=np.arange(100) % 2,
        result=np.where(np.arange(100) < 30, -2, 1),
    )
    rows["tid"][50:] = 9
    trace = one_trace(tmp_path, (key(), rows))

    def calls(some: ma.Trace) -> int:
        frame = some.stages.df_stages(intervals=False)
        return 0 if frame.empty else int(frame.query("syscall == 'all'")["n"].iloc[0])

    assert calls(trace) == 100
    assert calls(trace.where(syscall="read")) == 50
    assert calls(trace.where(syscall=["read", "write"], tid=9)) == 50
    assert calls(trace.where(outcome="error")) == 30
    assert calls(trace.where(outcome="ok", tid=[9])) == 50
    with pytest.raises(MemscError, match=r"cannot select arm ipi of .*; its arms are memsc"):
        trace.where(arm="ipi")
    with pytest.raises(MemscError, match="its cases are sync"):
        trace.where(case=["sync", "batch-2"])
    with pytest.raises(MemscError, match="ok, error"):
        trace.where(outcome="fine")
    # The window is in seconds from the clock's anchor, as no round has a start.
    at = (rows["called"].astype(np.int64) - trace.start_cycles) * 0.5e-9
    assert calls(trace[at[10] : at[20]]) == 10
    assert calls(trace[at[10] :][: at[20]]) == 10
    assert calls(trace[: at[50]].where(outcome="error")) == 30


def test_blocks_stay_few_whatever_the_trace_holds() -> None:
    names = pa.array(["memsc", "sync", "read"])
    cells = Cells()
    for start in range(40):
        stages = np.full((2048, 4), 10 + start, np.int64)
        rows = traces.records(stages)
        zeros = np.zeros(2048, np.int32)
        columns: dict[str, Any] = {
            **{stamp: rows[stamp].astype(np.int64) for stamp in fmt.STAMPS},
            "flags": zeros.astype(np.int64),
            "round": zeros.astype(np.int64),
            **{
                name: pa.DictionaryArray.from_arrays(zeros + i, names)
                for i, name in enumerate(("arm", "case", "syscall"))
            },
        }
        cells.add(scan.sketch_table(pa.table(columns)))
    blocks = cells.with_all().sketches[Cell("memsc", "sync", ALL, "sync")]
    assert scan.MOST_BLOCKS / 2 <= len(blocks) <= scan.MOST_BLOCKS
    sizes = [sketch.n for sketch in blocks.values()]
    assert sum(sizes) == 40 * 2048
