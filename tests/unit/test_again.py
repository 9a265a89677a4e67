# SPDX-License-Identifier: MIT
"""Real rounds of one thing, dealt into two halves, raise no more alarms than is stated.

`recorded/again.memsc` is `memsc trace --transport direct,memsc --rounds 16 --probes none -- dd
if=/dev/zero of=/dev/null bs=512 count=200 status=none` on a busy two-CPU virtual machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from memsc import analysis as ma
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import LEVEL, Resampled, ratio

TRACE = Path(__file__).parent / "recorded" / "again.memsc"
DEALS = 30


@pytest.mark.parametrize("arm", ["direct", "memsc"])
def test_real_rounds_against_each_other_alarm_at_the_stated_rate(arm: str) -> None:
    blocks = ma.open(TRACE).cells.sketches[Cell(arm, "program", ALL, "sync")]
    rounds = sorted({key.round for key in blocks})
    assert len(rounds) == 16
    total, generator = QUANTITIES.index(TOTAL), np.random.default_rng(5)
    alarms: dict[str, int] = dict.fromkeys(("mean", "p50", "p90"), 0)
    for deal in range(DEALS):
        half = set(generator.permutation(rounds)[:8].tolist())
        sides = [
            Resampled(
                {k: s for k, s in blocks.items() if (k.round in half) == first}, f"{deal}{first}"
            )
            for first in (True, False)
        ]
        figures = {"mean": [side.means(total) for side in sides]}
        quantiles = [side.quantiles(total, [0.5, 0.9]) for side in sides]
        figures |= {name: [rows[i] for rows in quantiles] for i, name in enumerate(("p50", "p90"))}
        for name, (base, new) in figures.items():
            found = ratio(new, base, [side.resampling for side in sides])
            alarms[name] += found.low > 1 or found.high < 1
    most = scipy.stats.binom.ppf(0.999, DEALS, 1 - LEVEL)
    assert all(count <= most for count in alarms.values()), alarms


def test_a_real_trace_against_itself_has_not_changed_and_says_nothing_of_others() -> None:
    trace = ma.open(TRACE)
    frame = ma.compare(trace, TRACE).df_compare()
    known = frame[frame["verdict"] != "insufficient"]
    assert len(known) > 20
    assert set(known["verdict"]) == {"withheld"}
    assert (known["change"] == 0).all()
