# SPDX-License-Identifier: MIT
"""The worst calls on their time line: what the host took has a bar as any event has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_causes import (
    APP,
    COMPLETE,
    POLL_STAGE,
    SERVICE,
    base,
    event,
    flags_of,
    stamp_ns,
)
from tests.unit.test_causes import trace as recorded

from memsc.analysis.report.rows import SlowCall
from memsc.analysis.report.waterfall import waterfalls

CALL = 1777


def slowest(folder: Path, stage: int, ns: int, *events: dict[str, Any]) -> SlowCall:
    """The slowest call, one stage of which was longer by so much and of whose sides one was away.

    Args:
        folder: for the trace.
        stage: which.
        ns: how much.
        events: with `time` counted from when the stage begins.
    """
    stages = base()
    stages[CALL, stage] += 2 * ns
    begin = stamp_ns(stages, CALL, stage)
    moved = [one | {"time": begin + one["time"]} for one in events]
    return waterfalls(recorded(folder, stages, flags_of(stages, [CALL]), moved), 1)[0]


def test_what_the_host_took_has_a_bar_in_its_stage(tmp_path: Path) -> None:
    call = slowest(tmp_path / "a.memsc", POLL_STAGE, 20_000)
    assert call.cause == "host took the CPU"
    (bar,) = call.events
    assert (bar.side, bar.what) == ("service", "host took the CPU")
    assert bar.ns == pytest.approx(call.cause_ns, abs=1)
    assert bar.from_ns == pytest.approx(call.stages["post"], abs=1)


def test_it_stands_where_no_event_is(tmp_path: Path) -> None:
    timer = event("timer", SERVICE, 1_000, 3_000)
    elsewhere = event("timer", APP, 5_000, 3_000)
    call = slowest(tmp_path / "a.memsc", POLL_STAGE, 40_000, timer, elsewhere)
    assert call.cause == "host took the CPU"
    first, bar, other = call.events
    assert first.side == "service" and first.ns == 3_000
    assert other.side == "app"
    assert bar.what == "host took the CPU"
    assert bar.from_ns == pytest.approx(first.from_ns + 3_000, abs=1)
    begin, end = call.stages["post"], call.stages["post"] + call.stages["poll"]
    assert begin <= bar.from_ns and bar.from_ns + bar.ns <= end + 1


def test_who_was_interrupted_all_the_time_has_no_such_bar(tmp_path: Path) -> None:
    timer = event("timer", APP, 0, 20_000)
    call = slowest(tmp_path / "a.memsc", COMPLETE, 20_000, timer)
    assert [one.what for one in call.events] == ["interrupted by timer"]
