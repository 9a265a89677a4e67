# SPDX-License-Identifier: MIT
"""Intervals keep their word wherever they are given: targets, what recording adds, and fleets.

Each is made from rounds or traces that differ by moods alone, hundreds of times: the truth is known
and is to lie within in 95 of 100 cases. Those of comparisons are in test_verdicts.py.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from tests.helpers import traces

from memsc.analysis.data.estimates import divide
from memsc.analysis.data.scan import ALL, BlockKey, Cell, Cells
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.data.statistics import LEVEL
from memsc.analysis.data.timed import Block
from memsc.analysis.domains.stages import Stages
from memsc.analysis.domains.timings import PerCall, Timings
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.calibration import PAIRS, difference

Moods = Callable[[np.random.Generator, int], NDArray[np.float64]]
TRIES = 150
NS = 4000.0
CALLS = 100


@cache
def _sessions() -> NDArray[np.float64]:
    file = Path(__file__).parent / "recorded" / "moody.json"
    found = np.array([one["memsc.total.p50"] for one in json.loads(file.read_text())])
    return np.log(found / found.mean())


MOODS: dict[str, Moods] = {
    "normal": lambda g, n: 0.1 * g.standard_normal(n),
    "heavy-tailed": lambda g, n: 0.05 * g.standard_t(3, n),
    "a moody host's": lambda g, n: g.choice(_sessions(), n),
}
"""By what the logarithms of rounds differ; the last are those of real sessions."""


def seldom() -> float:
    """Misses that chance allows at 5 %. Seeds are fixed: none of this fails by chance."""
    return float(scipy.stats.binom.ppf(0.999, TRIES, 1 - LEVEL))


def truth(moods: str, middle: Callable[[NDArray[np.float64]], float]) -> float:
    """What the figure of endless rounds is."""
    return middle(np.exp(MOODS[moods](np.random.default_rng(1), 200_000)))


def per_call(times: NDArray[np.float64], name: str) -> PerCall:
    """Rounds of which each has calls that take as long."""
    calls = np.full(4, CALLS)
    blocks = {i: [Block.of(calls, np.rint(calls * t).astype(int))] for i, t in enumerate(times)}
    return PerCall.of(blocks, name)


@pytest.mark.parametrize("moods", MOODS)
@pytest.mark.parametrize("rounds", [4, 10])
def test_a_settled_target_is_seldom_on_the_wrong_side(moods: str, rounds: int) -> None:
    """At the bound itself *held* and *missed* are both wrong: it is to be *not settled*."""
    generator, settled = np.random.default_rng(2), Counter[str]()
    for i in range(TRIES):
        above, below = (
            per_call(ns * np.exp(MOODS[moods](generator, rounds)), f"{ns}{i}") for ns in (NS, 100)
        )
        for figure in ("mean", "p50"):
            found = divide(above.sampled(figure), below.sampled(figure))
            settled[figure] += not found.across(NS / 100)
    assert max(settled.values()) <= seldom(), settled


@pytest.mark.parametrize("moods", MOODS)
@pytest.mark.parametrize("rounds", [6])
def test_what_recording_adds_is_seldom_said_where_it_adds_nothing(
    moods: str, rounds: int, tmp_path: Path
) -> None:
    """Cases enough of one trace, of which none adds anything."""
    generator = np.random.default_rng(3)
    with TraceWriter(prepare_output(tmp_path / "a.memsc")) as writer:
        for case in range(TRIES):
            for number in range(rounds):
                for recording in (False, True):
                    mood = math.exp(MOODS[moods](generator, 1)[0])
                    cycles = np.array([round(CALLS * NS * mood)])
                    key = fmt.RoundKey("memsc", f"case-{case}", number)
                    writer.timings(key, recording, CALLS, cycles)
        writer.session(traces.session([], {"memsc": fmt.Arm("memsc")}))
    found = Timings(fmt.open_trace(tmp_path / "a.memsc"), ["memsc"]).df_perturbation()
    assert len(found) == TRIES
    for low, high, none in (
        ("added_low_ns", "added_high_ns", 0),
        ("mean_ratio_low", "mean_ratio_high", 1),
        ("p50_ratio_low", "p50_ratio_high", 1),
    ):
        wrong = int(((found[low] > none) | (found[high] < none)).sum())
        assert wrong <= seldom(), (low, wrong)


@pytest.mark.parametrize("moods", MOODS)
def test_so_is_what_calibrating_tells(moods: str) -> None:
    generator, wrong = np.random.default_rng(4), 0
    for _ in range(TRIES):
        off, on = (NS * np.exp(MOODS[moods](generator, PAIRS)) for _ in range(2))
        _, added, low, high = difference(off.tolist(), on.tolist())
        assert low < added < high
        wrong += low > 0 or high < 0
    assert wrong <= seldom(), wrong


@pytest.mark.parametrize("moods", MOODS)
@pytest.mark.parametrize("hosts", [6])
def test_a_fleets_intervals_hold_the_truth(moods: str, hosts: int) -> None:
    """Of traces that each have a mood of their own; cells enough of one fleet."""
    generator = np.random.default_rng(5)
    cells: dict[Cell, dict[BlockKey, Sketch]] = {}
    for case in range(TRIES):
        mine = cells.setdefault(Cell("memsc", f"case-{case}", ALL, "sync"), {})
        for host, mood in enumerate(np.exp(MOODS[moods](generator, hosts))):
            part = np.full(CALLS, round(NS * mood / 4))
            sketch = traces.sketch_of(np.stack([part] * 4, axis=1))
            mine[BlockKey(host, 0)] = sketch
    stages = Stages(lambda: Cells(cells), 1.0, ["memsc"])
    found = stages.df_stages(syscalls=False).query("stage == 'total'")
    assert len(found) == TRIES
    assert set(found["interval"]) == {"rounds"}
    for figure, middle in (("mean", np.mean), ("p50", np.median)):
        true = NS * truth(moods, lambda x, m=middle: float(m(x)))
        low, high = (found[f"{figure}_{end}_ns"] for end in ("low", "high"))
        wrong = int(((low > true) | (high < true)).sum())
        assert wrong <= seldom(), (figure, wrong)
