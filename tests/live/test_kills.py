# SPDX-License-Identifier: MIT
"""`kill -9` of session, program or helper, at any moment: what was recorded stands in the trace."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.kills import ARMS, Plan, kill_all, lacking
from tests.helpers.required import layered, require, two_cpus

pytestmark = [
    two_cpus,
    layered,
]
# Who, by which arm, when; hundreds at random are in tests/long/test_many_kills.py.
PLANS = [
    Plan(0, "all", *ARMS[2], running=True, moment=0.1, forks=True),
    Plan(1, "all", *ARMS[0], running=True, moment=0.3, forks=False),
    Plan(2, "session", *ARMS[3], running=True, moment=0.1, forks=False),
    Plan(3, "session program", *ARMS[1], running=False, moment=0.1, forks=False),
    Plan(4, "program", *ARMS[2], running=True, moment=0.1, forks=True),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    require(lacking())
    return kill_all(PLANS, tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("planned", PLANS, ids=lambda one: f"{one.victims}-{one.transport}")
def test_nothing_recorded_is_lost(planned: Plan, found: list[dict[str, Any]]) -> None:
    one = found[planned.number]
    assert not one["wrong"], one
    if planned.running:
        assert one["recorded"] > 0
        assert bool(one["says"]) == ("session" in planned.whom)
    trace = "cut short" if "session" in planned.whom else "whole"
    assert one["trace"] in (trace, "none" if not planned.running else trace)


def test_the_next_memsc_says_how_many_calls_came(found: list[dict[str, Any]]) -> None:
    said = f"{found[0]['calls']:,} calls that a killed session had not written came into "
    assert found[0]["says"][0].startswith(said)
