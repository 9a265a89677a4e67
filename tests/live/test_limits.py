# SPDX-License-Identifier: MIT
"""The limits of the machine: the programs that measure them, and the map of many CPUs."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.helpers.command import FRONT
from tests.helpers.traces import session

from memsc.analysis.figures.files import save
from memsc.bench.verdict.interposed import added_ns, interposed
from memsc.bench.verdict.limits import df_pairs, limits
from memsc.bench.verdict.limits_text import limits_text
from memsc.bench.verdict.results_figures import plot_pairs
from memsc.runtime.files import WORK
from memsc.tracer.format import Arm, Round

CPUS = sorted(os.sched_getaffinity(0))
two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(WORK), *command], capture_output=True, text=True, check=False, timeout=60
    )


@two_cpus
def test_each_pair_of_cpus_is_measured_in_both_directions(tmp_path: Path) -> None:
    a, b = CPUS[:2]
    assert run("pairs", f"{a},{b}", "101", str(tmp_path / "m")).returncode == 0
    said = json.loads((tmp_path / "m").read_text())
    assert set(said) == {f"line-{a}-{b}", f"line-{b}-{a}"}
    assert min(said.values()) > 0


@pytest.mark.parametrize("cpus", ["x", "0,x", "-1", "0-1", "99999"])
def test_cpus_that_are_none_are_refused(cpus: str, tmp_path: Path) -> None:
    done = run("pairs", cpus, "101", str(tmp_path / "m"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_the_clock_is_read(tmp_path: Path) -> None:
    assert run("stamps", "1009", str(tmp_path / "m")).returncode == 0
    said = json.loads((tmp_path / "m").read_text())
    assert set(said) == {"stamp", "stamp-ordered"}
    assert min(said.values()) > 0


@two_cpus
def test_interrupts_are_seen_where_they_arrive(tmp_path: Path) -> None:
    file, measures = tmp_path / "t", tmp_path / "m"
    done = run("interrupts", str(CPUS[1]), str(CPUS[0]), "101", str(file), str(measures))
    assert done.returncode == 0, done.stderr
    seen = np.fromfile(file, np.int64)
    assert len(seen) <= 101
    if len(seen):  # on a busy machine others may hide them
        assert seen.min() > 0
        assert set(json.loads(measures.read_text())) == {"ipi-taken", "ipi-round-trip"}


def many(count: int, socket: int) -> dict[str, float]:
    """CPUs of two sockets: near ones are five times nearer."""
    return {
        f"line-{a}-{b}": 60.0 if a // socket == b // socket else 300.0
        for a in range(count)
        for b in range(count)
        if a != b
    }


@pytest.mark.parametrize("count", [1, 2, 12, 64, 128])
def test_the_map_of_many_cpus_is_drawn_and_fits_a_terminal(count: int, tmp_path: Path) -> None:
    found = {"stamp": 10.0, **many(count, count // 2 or 1)}
    pairs = df_pairs(found)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        for part in limits_text(found):
            console.print(part)
    said = capture.get()
    assert max(map(len, said.splitlines())) <= 80
    if count == 1:
        assert pairs.empty
        return
    assert pairs.shape == (count, count)
    assert np.isnan(np.diag(pairs.to_numpy())).all()
    save(plot_pairs(pairs), tmp_path / "pairs.svg")
    assert "from CPU" in (tmp_path / "pairs.svg").read_text()
    if 2 < count <= 72:
        assert "░" in said
        assert "█" in said


def test_rounds_are_summed_up_by_their_median() -> None:
    rounds = [
        Round("memsc", "stamps", i, recording=False, measures={"stamp": value, "line-0-1": None})
        for i, value in enumerate((20.0, 22.0, 90.0))
    ]
    found = limits(session(rounds, {"memsc": Arm("memsc")}), {})
    assert math.isclose(found["stamp"], 11.0)
    assert set(found) == {"stamp"}


def test_what_the_layer_adds_is_the_median_of_its_rounds_with_an_interval() -> None:
    rounds = [
        Round("memsc", "layer", i, recording=False, measures={"layer-added": value})
        for i, value in enumerate((4.0, 6.0, 5.0, -2.0, 6.0, 90.0))
    ]
    found = session(rounds, {"memsc": Arm("memsc")})
    (row,) = interposed(found)
    assert (row["case"], row["metric"], row["n"]) == ("layer-back-to-back", "added_p50_ns", 6)
    assert math.isclose(row["value"], 5.5 * found.clock.ns_per_cycle)
    assert row["low"] < row["value"] < row["high"]
    assert math.isclose(added_ns(found).value, row["value"])


def test_nothing_is_said_of_a_layer_that_was_not_measured() -> None:
    with pytest.raises(KeyError):
        added_ns(session([], {"memsc": Arm("memsc")}))


@two_cpus
def test_the_layer_is_measured_by_turns_with_the_direct_api(tmp_path: Path) -> None:
    measures = tmp_path / "m"
    command = [str(FRONT), "run", "--", str(WORK), "interposed", "50", str(measures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(measures.read_text())
    names = ("without", "with", "added")
    assert set(said) == {f"layer-{name}{apart}" for name in names for apart in ("", "-apart")}
    assert said["layer-with"] > 0


def test_without_the_layer_there_is_nothing_to_measure(tmp_path: Path) -> None:
    done = run("interposed", "50", str(tmp_path / "m"))
    assert done.returncode == 1
    assert "the layer is not loaded" in done.stderr
