# SPDX-License-Identifier: MIT
"""Hundreds of `kill -9` at random moments, and a table of what stood in the traces afterwards.

MEMSC_KILLS and MEMSC_KILL_SEED say how many, and which; MEMSC_KILL_FIRST is the number of the
first, so that they can be done in pieces. What became of each is kept in build/kills, and the table
of all that were done of a seed is build/kills.txt.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.kills import VICTIMS, kill_all, lacking, plan
from tests.helpers.required import layered, require, two_cpus

pytestmark = [
    pytest.mark.bpf,
    two_cpus,
    layered,
]
KILLS = int(os.environ.get("MEMSC_KILLS", "300"))
FIRST = int(os.environ.get("MEMSC_KILL_FIRST", "0"))
SEED = int(os.environ.get("MEMSC_KILL_SEED", "20261130"))
BUILD = Path(__file__).resolve().parents[2] / "build"
TABLE, PIECES = BUILD / "kills.txt", BUILD / "kills"
SUMS = ("begun", "ended", "recorded", "unfinished", "lost")


def table(found: list[dict[str, Any]]) -> str:
    """Who was killed how often, what the traces were, and what the program and they counted."""
    head = ("killed", "times", "no folder", "no round", *SUMS, "wrong")
    rows: list[tuple[str, ...]] = [head]
    for victims in VICTIMS:
        mine = [one for one in found if one["victims"] == victims]
        none = sum(one.get("trace") == "none" for one in mine)
        empty = sum(one.get("rounds") == 0 for one in mine)
        sums = [f"{sum(one.get(name, 0) for one in mine):,}" for name in SUMS]
        wrong = sum(bool(one["wrong"]) for one in mine)
        rows.append(
            (victims.replace(" ", ", "), *map(str, (len(mine), none, empty)), *sums, str(wrong))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + "\n"
        for row in rows
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    require(lacking())
    plans = [plan(SEED, number) for number in range(FIRST, FIRST + KILLS)]
    done = kill_all(plans, tmp_path_factory.mktemp("kills"))
    keep(done)
    return done


def keep(done: list[dict[str, Any]]) -> None:
    """Add to what is kept of this seed, and write the table of all of it."""
    PIECES.mkdir(exist_ok=True)
    file = PIECES / f"{SEED}.json"
    before = json.loads(file.read_text()) if FIRST and file.exists() else []
    numbers = {one["number"] for one in done}
    every = [one for one in before if one["number"] not in numbers] + done
    file.write_text(json.dumps(every))
    TABLE.write_text(table(every))


def test_no_call_is_lost_by_any_kill(found: list[dict[str, Any]]) -> None:
    assert len(found) == KILLS
    assert [one for one in found if one["wrong"]] == []


def test_the_kills_came_at_all_times(found: list[dict[str, Any]]) -> None:
    """Before there was a program, and in its midst, by every victim."""
    if KILLS < 100:
        pytest.skip("so few need not have come at all times")
    for victims in VICTIMS:
        mine = [one for one in found if one["victims"] == victims]
        assert any(one.get("recorded") for one in mine)
    assert any(not one["begun"] for one in found)
