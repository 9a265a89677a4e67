# SPDX-License-Identifier: MIT
"""Every reason why a figure is not what it seems: what a report says of it, and whether it judges.

Where each is met in earnest: tests/live/test_held_up.py (quota, the service's CPU),
test_unrecorded.py, test_time_namespace.py, and tests/vm/test_faults_of_machine.py (a clock is set).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import traces

import memsc.analysis as ma
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.runtime.carried import FILTERED

COVERED = {"programs": 200, "by": "kernel"}
HELD_UP: dict[str, Mapping[str, Any]] = {
    "quota": {"throttled_ns": 64_000_000, "throttled_periods": 12},
    "suspended": {"suspended_ns": 7_000_000_000},
    "clock set": {"stepped_ns": -3_600_000_000_000},
    "pressure": {"cpu_pressure": 0.41},
}
_LOST = {"attached": True, "seen": 1_000, "lost": 0}
REASONS: dict[str, tuple[Mapping[str, Any], str, bool]] = {
    "none": ({}, "every one accounted for", False),
    "quota": (
        {"surroundings": HELD_UP["quota"]},
        "held up by the CPU quota 12 times, 64 ms",
        False,
    ),
    "suspended": (
        {"surroundings": HELD_UP["suspended"]},
        "the machine was suspended for 7 s",
        False,
    ),
    "clock set": (
        {"surroundings": HELD_UP["clock set"]},
        "the wall clock was set by -3.6e+03 s",
        False,
    ),
    "pressure": ({"surroundings": HELD_UP["pressure"]}, "tasks waited for a CPU 41 %", False),
    "service's CPU": (
        {"coverage": COVERED | {"beside": 9}},
        "9 calls were made on the service's own CPU",
        False,
    ),
    "a program unrecorded": (
        {"coverage": COVERED | {"unrecorded": [{"name": "/bin/x", "why": "static", "times": 1}]}},
        "1 of 200 programs ran unrecorded: /bin/x (static)",
        False,
    ),
    "many unrecorded": (
        {"coverage": COVERED | {"unrecorded": [{"name": "/bin/x", "why": "static", "times": 3}]}},
        "verdict withheld: memsc: 3 of 200 programs ran unrecorded",
        True,
    ),
    "a filter": (
        {
            "coverage": COVERED
            | {"unseen": 0, "unrecorded": [{"name": "x", "why": FILTERED, "times": 2}]}
        },
        "! what 2 processes called under a seccomp filter is neither recorded nor counted",
        False,
    ),
    "all counted": (
        {"coverage": COVERED | {"unseen": 0}},
        "100 % of 1,000 calls recorded or",
        False,
    ),
    "calls unrecorded": (
        {"coverage": COVERED | {"missed": {"no service": 50}}},
        "verdict withheld: memsc: 4.8 % of 1,050 calls",
        True,
    ),
    "calls of others": (
        {"coverage": COVERED | {"unseen": 50}},
        "verdict withheld: memsc: 4.8 %",
        True,
    ),
    "events lost": ({"events_lost": {"sched": 50}}, "events were lost: 50 of sched", True),
    "few events lost": ({"events_lost": {"sched": 5}}, "every one accounted for", False),
    "calls lost": ({"lost": 1, "made": 1_001}, "verdict withheld", True),
    "never returned": ({"unfinished": 2, "made": 1_002}, "every one accounted for", False),
    "unaccounted": ({"made": 1_002}, "2 calls are neither recorded nor counted as lost", True),
}


@pytest.mark.parametrize("reason", REASONS)
def test_it_is_said(reason: str, tmp_path: Path) -> None:
    changes, says, withheld = REASONS[reason]
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("memsc",), rounds=1, calls=1_000)
    file = folder / "session.json"
    session = json.loads(file.read_text())
    session["rounds"][0] |= {"made": 1_000, **changes}
    session["arms"]["memsc"] |= {key: changes[key] for key in ("lost", "made") if key in changes}
    session["probes"]["sched"] = _LOST
    session["isolation"] = {}
    file.write_text(json.dumps(session))
    report = summarise(ma.open(folder))
    text = " ".join(to_string(report).split())
    assert says in text
    assert report.verdict.withheld == withheld, report.verdict.reasons
