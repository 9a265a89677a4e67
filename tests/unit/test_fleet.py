# SPDX-License-Identifier: MIT
"""Traces of many hosts are one dataset, wherever the work is done and whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.data.scan import ALL, Cell, since_called
from memsc.analysis.data.selection import Selection
from memsc.analysis.fleet.cluster import on_cluster
from memsc.analysis.fleet.partition import Failure, Partition, Summary, summarise_partition
from memsc.commands.__main__ import main
from memsc.runtime.errors import WITHHELD, MemscError
from memsc.tracer import format as fmt

RUNS = {"web1": (1, 2, 3), "web2": (4, 5), "web3": (6,)}
CELL = Cell("memsc", "sync", ALL, "sync")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six traces of three hosts; the clock of web3 ticks twice as fast."""
    root = tmp_path_factory.mktemp("farm")
    for host, seeds in RUNS.items():
        (root / f"host={host}").mkdir()
        for seed in seeds:
            path = root / f"host={host}" / f"run={seed}.memsc"
            traces.fabricate(path, arms=("direct", "memsc"), rounds=3, calls=3000, seed=seed)
    return root


@pytest.fixture(scope="module")
def cluster() -> Generator[str]:
    distributed = pytest.importorskip("distributed")
    # Without an address it takes one that another cluster may have.
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as found:
        yield found.scheduler_address


def test_hosts_and_runs_are_found_by_folder_and_by_pattern(farm: Path) -> None:
    fleets = [
        ma.open_many(str(farm)),
        ma.open_many(f"{farm}/*/"),
        ma.open_many(f"{farm}/*/*.memsc"),
    ]
    for fleet in fleets:
        frame = fleet.df_partitions()
        assert dict(frame.groupby("host")["run"].agg(tuple)) == {
            host: tuple(map(str, seeds)) for host, seeds in RUNS.items()
        }
        assert (frame["status"] == "ok").all()
        assert frame["calls"].sum() == 6 * 2 * 3 * 3000
    with pytest.raises(MemscError, match="nothing is there"):
        ma.open_many(f"{farm}/none")
    with pytest.raises(MemscError, match="no trace is there"):
        ma.open_many(str(farm / "host=web1" / "run=1.memsc" / "calls"))


def test_counts_merge_and_percentiles_are_of_all_calls(farm: Path) -> None:
    fleet = ma.open_many(str(farm))
    row = fleet.df_stages(syscalls=False).query("arm == 'memsc' and stage == 'total'").iloc[0]
    tables = [fmt.open_trace(path).read(fmt.CALLS) for path in farm.glob("*/*.memsc")]
    rows = pd.concat([table.to_pandas().query("arm == 'memsc'") for table in tables])
    total = (rows["completed"] - rows["called"]) * traces.CLOCK.ns_per_cycle
    assert (row["n"], row["rounds"], row["interval"]) == (len(rows), 6, "rounds")
    assert row["mean_ns"] == pytest.approx(total.mean())
    exact = total.quantile(0.99, interpolation="higher")
    assert row["p99_ns"] == pytest.approx(exact, rel=0.01)
    by_host = fleet.df_stages(by="host", syscalls=False)
    mine = by_host.query("host == 'web1' and arm == 'memsc' and stage == 'total'").iloc[0]
    assert (mine["n"], mine["rounds"], mine["interval"]) == (3 * 3 * 3000, 3, "blocks")
    with pytest.raises(MemscError, match="web1, web2, web3"):
        fleet.stages_of("web9")


def test_clocks_that_differ_are_brought_to_one_unit(farm: Path, tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 0.5)):
        shutil.copytree(farm / "host=web1" / "run=1.memsc", tmp_path / f"{name}.memsc")
        session = fmt.open_trace(tmp_path / f"{name}.memsc").session
        clock = msgspec.structs.replace(session.clock, ns_per_cycle=0.5 * scale)
        (tmp_path / f"{name}.memsc" / fmt.SESSION).write_bytes(
            msgspec.structs.replace(session, clock=clock).encode()
        )
    means = [
        ma.open_many(str(tmp_path / f"{name}.memsc"))
        .df_stages()
        .query("stage == 'total'")["mean_ns"]
        for name in "ab"
    ]
    assert np.allclose(means[0] / means[1], 2.0, rtol=1e-3)


@given(st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1), st.floats(0.01, 64))
def test_stages_sum_to_the_total_in_any_unit(rows: list[tuple[int, ...]], units: float) -> None:
    stages = np.array(rows, np.int64).T
    ends = since_called(np.vstack([stages, stages.sum(axis=0)]), units)
    found = np.diff(ends, axis=0, prepend=0)
    assert (found.sum(axis=0) == ends[-1]).all()
    assert (found >= 0).all()
    assert np.abs(found - stages * units).max() <= 1 + 2**40 * 1e-9
    assert np.abs(ends[-1] - stages.sum(axis=0) * units).max() <= 1 + 2**40 * 1e-9


def test_another_file_system_holds_the_same_traces(farm: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(farm), "/farm", recursive=True)
    try:
        here, there = ma.open_many(str(farm)), ma.open_many("memory://farm/*/")
        assert next(one.path for one in there.partitions).startswith("memory://")
        pd.testing.assert_frame_equal(here.df_stages(), there.df_stages())
        trace = ma.open("memory://farm/host=web1/run=1.memsc")
        assert trace.folder.rows(fmt.CALLS) == 2 * 3 * 3000
    finally:
        memory.rm("/farm", recursive=True)
    with pytest.raises(MemscError, match="nosuch"):
        ma.open("nosuch://bucket/a.memsc")


def test_traces_lie_in_an_archive_too(farm: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "farm"), "zip", farm)
    fleet = ma.open_many(f"zip://*/::{archive}")
    assert fleet.hosts == list(RUNS)
    pd.testing.assert_frame_equal(fleet.df_stages(), ma.open_many(str(farm)).df_stages())
    alone = shutil.make_archive(str(tmp_path / "alone"), "zip", farm / "host=web1")
    assert ma.open_many(f"zip://*/::{alone}").hosts == [""]
    trace = ma.open(f"zip://host=web1/run=1.memsc::{archive}")
    assert trace.folder.rows(fmt.CALLS) == 2 * 3 * 3000


def break_one(farm: Path, tmp_path: Path) -> Path:
    root = tmp_path / "broken"
    shutil.copytree(farm, root)
    (root / "host=web2" / "run=4.memsc" / "calls" / "part-0001.parquet").write_bytes(b"PAR1")
    return root


def test_a_trace_that_fails_is_named_counted_and_skipped_only_when_told_so(
    farm: Path, tmp_path: Path
) -> None:
    root = break_one(farm, tmp_path)
    with pytest.raises(MemscError, match=r"1 of 6 traces cannot be read.*run=4\.memsc.*skip"):
        ma.open_many(str(root)).df_stages()
    fleet = ma.open_many(str(root), skip_failed=True)
    frame = fleet.df_partitions()
    assert frame["status"].value_counts().to_dict() == {"ok": 5, "skipped": 1}
    assert "cut short" in frame.query("status == 'skipped'")["reason"].iloc[0]
    n = fleet.df_stages().query("arm == 'memsc' and stage == 'total' and syscall == 'all'")["n"]
    assert n.iloc[0] == 5 * 3 * 3000


def test_a_cluster_gives_identical_results(farm: Path, cluster: str) -> None:
    here, there = ma.open_many(str(farm)), ma.open_many(str(farm), cluster=cluster)
    pd.testing.assert_frame_equal(here.df_partitions(), there.df_partitions())
    pd.testing.assert_frame_equal(here.df_stages(by="host"), there.df_stages(by="host"))
    pd.testing.assert_frame_equal(here.tail.df_bands(), there.tail.df_bands())


def test_a_cluster_names_what_fails(farm: Path, tmp_path: Path, cluster: str) -> None:
    with pytest.raises(MemscError, match="1 of 6 traces"):
        ma.open_many(str(break_one(farm, tmp_path)), cluster=cluster).df_stages()


def summarise_after_a_death(partition: Partition, marker: str) -> Summary | Failure:
    """Kills the worker it runs on, the first time."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return summarise_partition(partition, Selection())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def give_up(partition: Partition, why: str) -> Summary | Failure:
    return Failure(partition, "", why, "")


def test_a_killed_worker_costs_nothing(farm: Path, tmp_path: Path, cluster: str) -> None:
    marker = tmp_path / "died"
    partitions = ma.open_many(str(farm)).partitions
    work = partial(summarise_after_a_death, marker=str(marker))
    found = on_cluster(cluster, work, partitions, give_up)
    assert marker.exists()
    expected = [summarise_partition(partition, Selection()) for partition in partitions]
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Summary)
        assert isinstance(other, Summary)
        assert (one.partition, one.arms) == (other.partition, other.arms)
        ours, theirs = (summary.cells[CELL] for summary in (one, other))
        assert [(s.n, s.sums.tolist()) for s in ours] == [(s.n, s.sums.tolist()) for s in theirs]


def summarise_never(partition: Partition) -> Summary | Failure:
    raise ValueError(f"a fault in {partition.run}")


def test_a_fault_on_a_worker_belongs_to_its_trace(farm: Path, cluster: str) -> None:
    partitions = ma.open_many(str(farm)).partitions
    found = on_cluster(cluster, summarise_never, partitions, give_up)
    assert [one.why for one in found if isinstance(one, Failure)] == [
        f"ValueError: a fault in {partition.run}" for partition in partitions
    ]


def test_no_cluster_is_said(farm: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(MemscError, match="no scheduler answers"):
        ma.open_many(str(farm), cluster="tcp://127.0.0.1:9").df_stages()


def test_several_traces_are_reported_as_a_fleet(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(path) for path in sorted(farm.glob("*/*.memsc"))]
    assert main(["report", *paths]) == 0
    out = capsys.readouterr().out
    assert "6 traces of 3 hosts" in out
    assert "web1" in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["report", f"{farm}/*/", "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert content["arms"]["memsc"]["calls"] == 6 * 3 * 3000
    assert content["arms"]["memsc"]["stages"]["total"]["p99_ns"] > 0
    assert [row["host"] for row in content["partitions"]] == ["web1"] * 3 + ["web2"] * 2 + ["web3"]
    root = str(break_one(farm, tmp_path))
    assert main(["report", root]) == 1
    assert "1 of 6 traces cannot be read" in capsys.readouterr().err
    assert main(["report", root, "--skip-failed"]) == 0
    assert "1 trace left out" in capsys.readouterr().out


def test_a_trace_that_lost_calls_withholds_the_fleets_verdict(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=100, lost=3)
    traces.fabricate(tmp_path / "b.memsc", rounds=2, calls=100)
    assert main(["report", str(tmp_path)]) == WITHHELD
    assert "withheld" in capsys.readouterr().out
