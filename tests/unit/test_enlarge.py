# SPDX-License-Identifier: MIT
"""A trace made longer has exactly the calls asked for, in the recorded distributions."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.data import scan
from memsc.analysis.data.scan import ALL, Cell
from memsc.bench.race.enlarge import enlarge
from memsc.runtime.errors import MemscError
from memsc.tracer.format import CALLS, STAMPS, open_trace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return traces.fabricate(tmp_path / "source.memsc", rounds=4, calls=2000)


def test_it_has_the_calls_asked_for_in_rounds_that_do_not_overlap(
    source: Path, tmp_path: Path
) -> None:
    folder = open_trace(enlarge(open_trace(source), 50_001, tmp_path / "long.memsc"))
    assert folder.rows(CALLS) == 50_001
    assert sum(r.calls or 0 for r in folder.session.rounds) == 50_001
    spans = sorted((r.start_cycles or 0, r.end_cycles or 0) for r in folder.session.rounds)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))
    stamps = np.array([folder.read(CALLS)[stamp].to_numpy() for stamp in STAMPS])
    assert (np.diff(stamps, axis=0) >= 0).all()
    assert ma.open(folder.path).checks.withheld() == []


def test_its_distributions_are_the_recorded_ones(source: Path, tmp_path: Path) -> None:
    long = ma.open(enlarge(open_trace(source), 120_000, tmp_path / "long.memsc"))
    cell = Cell("memsc", "sync", ALL, "sync")
    was, now = (trace.cells.whole(cell) for trace in (ma.open(source), long))
    for before, after in zip(was.histograms, now.histograms, strict=True):
        assert set(after.bins) <= set(before.bins)
        assert after.quantile(0.5) == pytest.approx(before.quantile(0.5), rel=0.02)


def test_the_same_seed_gives_the_same_trace(source: Path, tmp_path: Path) -> None:
    one, two = (enlarge(open_trace(source), 9000, tmp_path / f"{n}.memsc") for n in "ab")
    assert open_trace(one).read(CALLS).equals(open_trace(two).read(CALLS))


def test_nothing_cannot_be_enlarged(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="no number of calls"):
        enlarge(open_trace(source), 0, tmp_path / "long.memsc")
    for part in (source / CALLS).iterdir():
        part.unlink()
    with pytest.raises(MemscError, match="no calls outside check rounds"):
        enlarge(open_trace(source), 10, tmp_path / "long.memsc")


def test_the_tool_makes_one(source: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.memsc"
    subprocess.run([ROOT / "tools" / "enlarge", source, "30000", long], check=True)
    assert open_trace(long).rows(CALLS) == 30_000


def test_many_rounds_have_few_blocks_each(source: Path, tmp_path: Path) -> None:
    folder = open_trace(enlarge(open_trace(source), 800_000, tmp_path / "long.memsc"))
    cells = scan.scan(folder)
    rounds = {r.round for r in folder.session.rounds if r.arm == "memsc"}
    assert len(rounds) > scan.BLOCKS_OF_AN_ARM // 4
    blocks = cells.with_all().sketches[Cell("memsc", "sync", ALL, "sync")]
    assert len(rounds) <= len(blocks) <= scan.BLOCKS_OF_AN_ARM
