# SPDX-License-Identifier: MIT
"""Many callers at once: the program that makes the load, and what is made of what it says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.traces import CLOCK, session

from memsc.analysis import open as open_analysis
from memsc.analysis.report import text
from memsc.bench.verdict.benchmark import benchmark
from memsc.bench.verdict.report import SECTIONS, summarise
from memsc.bench.verdict.throughput import df_throughput
from memsc.runtime.files import WORK
from memsc.tracer.format import Arm, Round, RoundKey
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

TWO = len(os.sched_getaffinity(0)) > 1
HERE, THERE = str(max(os.sched_getaffinity(0))), str(min(os.sched_getaffinity(0)))


def run(transport: str, *command: str) -> subprocess.CompletedProcess[str]:
    if transport == "memsc" and not TWO:
        pytest.skip("both sides poll")
    variables = {"MEMSC_TRANSPORT": transport, "MEMSC_SERVICE_CPUS": THERE}
    return subprocess.run(
        ["taskset", "-c", HERE, str(WORK), *command],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("transport", ["direct", "ipi", "memsc"])
@pytest.mark.parametrize("load", ["1 1 1", "3 1 1", "1 3 1", "2 2 4", "2 1 64"])
def test_a_closed_loop_is_one_interval(tmp_path: Path, load: str, transport: str) -> None:
    file = tmp_path / "timings"
    done = run(transport, "closed", *load.split(), "997", str(file))
    assert done.returncode == 0, done.stderr
    (cycles,) = np.fromfile(file, np.int64)
    assert cycles > 0


@pytest.mark.parametrize("transport", ["direct", "ipi", "memsc"])
@pytest.mark.parametrize("callers", ["1 1", "2 1", "1 3"])
def test_an_open_loop_tells_how_late_each_call_was(
    tmp_path: Path, callers: str, transport: str
) -> None:
    file, measures = tmp_path / "timings", tmp_path / "measures"
    done = run(transport, "open", *callers.split(), "1000", "61", str(file), str(measures))
    assert done.returncode == 0, done.stderr
    said = json.loads(measures.read_text())
    assert 61 <= said["wanted"] <= 63  # as many for each caller
    if said["made"] < said["wanted"]:  # a machine that is busy otherwise
        assert not file.exists()
        return
    cycles = np.fromfile(file, np.int64)
    assert len(cycles) == said["made"]
    assert cycles.min() > 0


def test_who_falls_behind_gives_up_and_tells_no_lateness(tmp_path: Path) -> None:
    file, measures = tmp_path / "timings", tmp_path / "measures"
    load = ("1", "1", "4000000000", "4000000")  # one call in a quarter of a nanosecond
    done = run("direct", "open", *load, str(file), str(measures))
    assert done.returncode == 0, done.stderr
    said = json.loads(measures.read_text())
    assert 0 < said["made"] < said["wanted"] == 4_000_000
    assert not file.exists()


@pytest.mark.parametrize(
    "load", ["0 1 1 9", "1 0 1 9", "513 1 1 9", "1 1 0 9", "1 1 65 9", "1 1 1 0", "1 x 1 9"]
)
def test_a_load_that_cannot_be_is_refused(tmp_path: Path, load: str) -> None:
    done = run("direct", "closed", *load.split(), str(tmp_path / "timings"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "timings").exists()


def fabricated(folder: Path) -> Path:
    """Two rounds: 1 000 calls in 1 ms, ten calls 50 ns late, and a load that is not carried."""
    rounds: list[Round] = []
    cases = ("closed-2x1-batch-4", "open-1x1-1000", "open-1x1-1000000")
    with TraceWriter(prepare_output(folder)) as writer:
        for number in (0, 2):
            for case in cases:
                key = RoundKey("memsc", case, number)
                measures: dict[str, float | None] | None = None
                if case == cases[0]:
                    writer.timings(key, False, 1_000, np.array([2_000_000]))
                else:
                    lost = 4.0 if case == cases[2] else 0.0
                    measures = {"wanted": 10.0, "made": 10.0 - lost, "cycles": 20_000.0}
                    if not lost:
                        writer.timings(key, False, 1, np.full(10, 100))
                rounds.append(Round(*key, recording=False, measures=measures))
        writer.session(session(rounds, {"memsc": Arm("memsc", "inline", [1], [0], 0, 0, 0)}))
    return folder


def test_loads_become_calls_per_second_and_lateness(tmp_path: Path) -> None:
    trace = open_analysis(fabricated(tmp_path / "t.memsc"))
    frame = df_throughput(trace.session, trace.timings.per_call())
    rows = {row["case"]: row for row in frame.to_dict("records")}
    closed = rows["closed-2x1-batch-4"]
    assert (closed["processes"], closed["threads"], closed["batch"]) == (2, 1, 4)
    assert closed["per_s"] == pytest.approx(1e6)
    carried = rows["open-1x1-1000"]
    assert carried["offered_per_s"] == 1000
    assert carried["per_s"] == pytest.approx(10 / (20_000 * CLOCK.ns_per_cycle * 1e-9))
    assert carried["p50_ns"] == pytest.approx(50, rel=0.02)
    assert not carried["behind"]
    too_much = rows["open-1x1-1000000"]
    assert too_much["behind"] == 2
    assert np.isnan(too_much["p50_ns"])


def test_loads_are_rows_of_the_benchmark_and_lines_of_the_report(tmp_path: Path) -> None:
    trace = open_analysis(fabricated(tmp_path / "t.memsc"))
    rows = {(row["case"], row["metric"]): row for row in benchmark(trace)["rows"]}
    assert {row["suite"] for row in rows.values()} == {"throughput"}
    assert rows["closed-2x1-batch-4", "per_s"]["value"] == pytest.approx(1e6)
    refused = rows["open-1x1-1000000", "p50_ns"]
    assert refused["value"] is None
    assert refused["reason"] == "fell behind in 2 rounds"
    said = text.to_string(summarise(trace), SECTIONS)
    assert "2 × 1, batches of 4   1.0M" in said
    assert max(map(len, said.splitlines())) <= text.WIDTH
