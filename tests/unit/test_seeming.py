# SPDX-License-Identifier: MIT
"""Every reason why a figure is not what it seems: what a report says of it, and whether it judges.

Where each is met in earnest: tests/live/test_held_up.py (quota, the service's CPU),
test_unrecorded.py, test_time_namespace.py, and tests/vm/test_faults_of_machine.py (a clock is set).
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from tests.helpers import traces

import memsc.analysis as ma
from memsc.analysis.domains.coverage import UNREACHED
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.commands.__main__ import main
from memsc.commands.live import View
from memsc.runtime.carried import FILTERED, Carried
from memsc.runtime.session_socket import Message

COVERED = {"programs": 200, "by": "kernel"}
HELD_UP: dict[str, Mapping[str, Any]] = {
    "quota": {"throttled_ns": 64_000_000, "throttled_periods": 12},
    "suspended": {"suspended_ns": 7_000_000_000},
    "clock set": {"stepped_ns": -3_600_000_000_000},
    "pressure": {"cpu_pressure": 0.41},
}
_REMEDY = "record with --probes syscalls"
UNCOUNTED = f"{UNREACHED}: {_REMEDY}"
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
        {"coverage": COVERED | {"unseen": 0, "elsewhere": 0}},
        "✓ 100 % of 1,000 calls recorded or counted (99.61 % at least) ✓ 1,000 calls recorded, 0",
        False,
    ),
    "calls that nobody counted": (
        {"coverage": COVERED},
        f"✓ 1,000 calls recorded, 0 lost, all that reached memsc accounted for ? {UNCOUNTED}",
        False,
    ),
    "counted, and not told from where": (
        {"coverage": COVERED | {"unseen": 0}},
        "instructions: nobody told where its programs make theirs",
        False,
    ),
    "attached": (
        {"attached": True, "made": None},
        "? not counted: the calls that were made: what a running program made before and after is",
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


def changed(folder: Path, changes: Mapping[str, Any]) -> Path:
    """A trace of one round, of which something is so."""
    traces.fabricate(folder, arms=("memsc",), rounds=1, calls=1_000)
    file = folder / "session.json"
    session = json.loads(file.read_text())
    session["rounds"][0] |= {"made": 1_000, **changes}
    session["arms"]["memsc"] |= {key: changes[key] for key in ("lost", "made") if key in changes}
    session["probes"]["sched"] = _LOST
    session["isolation"] = {}
    file.write_text(json.dumps(session))
    return folder


@pytest.mark.parametrize("reason", REASONS)
def test_it_is_said(reason: str, tmp_path: Path) -> None:
    changes, says, withheld = REASONS[reason]
    report = summarise(ma.open(changed(tmp_path / "a.memsc", changes)))
    text = " ".join(to_string(report).split())
    assert says in text
    assert report.verdict.withheld == withheld, report.verdict.reasons


COUNTED = COVERED | {"unseen": 0, "elsewhere": 0}
STATIC = {"name": "/bin/x", "why": "static", "times": 1}
MISSING = COVERED | {"unrecorded": [STATIC]}
EVERYWHERE = (UNCOUNTED, "1 of 200 programs ran unrecorded: /bin/x (static)")
VIEWS = {
    "report": ("report", "a"),
    "JSON": ("report", "--json", "a"),
    "HTML": ("report", "--html", "page.html", "a"),
    "fleet": ("report", "a", "b"),
    "fleet's JSON": ("report", "--json", "a", "b"),
    "compare": ("compare", "a", "b"),
    "compare's JSON": ("compare", "--json", "a", "b"),
    "compare's HTML": ("compare", "--html", "page.html", "a", "b"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_wherever_calls_are_called_whole_it_is_said_which_were_not_seen(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def said(coverage: Mapping[str, Any]) -> str:
        for name in ("a", "b"):
            shutil.rmtree(name, ignore_errors=True)
            changed(Path(name), {"coverage": coverage})
        main([*VIEWS[view]])
        out, page = capsys.readouterr().out, Path("page.html")
        return html.unescape(" ".join((page.read_text() if page.exists() else out).split()))

    told, whole = said(MISSING), said(COUNTED)
    if view == "JSON":
        for text, uncounted, programs in ((told, _REMEDY, [STATIC]), (whole, None, [])):
            (cover,) = json.loads(text)["coverage"].values()
            assert (cover["uncounted"], cover["unrecorded"]) == (uncounted, programs)
        return
    for says in EVERYWHERE:
        assert says in told and says not in whole


def test_a_trace_of_a_memsc_that_did_not_look_says_so() -> None:
    folder = Path(__file__).parent / "recorded" / "first-day.memsc"
    text = " ".join(to_string(summarise(ma.open(folder))).split())
    assert "all that reached memsc accounted for ? not counted: what did not reach memsc" in text


class Watched:
    """A round as `--live` sees it, of which one program is not carried."""

    calls = 7

    def __init__(self, why: str | None) -> None:
        self.carried = Carried()
        self.carried.add(Message(7, {"starts": "sh"}))
        if why:
            self.carried.add(Message(8, {"executes": "/bin/x", "why": why}))

    def dropped(self) -> int:
        return 0

    def take_latest(self) -> None:
        return None


def test_the_live_view_says_it_too() -> None:
    """At its second look: a program that is just starting has not said so yet."""
    for why, shown in (("static", "! 1 of 2 programs unrecorded: /bin/x (static)"), (None, "")):
        view, console = View(1.0, "sh"), Console(width=80, color_system=None)
        text = ""
        for look in range(2):
            view.look(cast("Any", Watched(why)))
            with console.capture() as capture:
                console.print(view)
            text = capture.get()
            assert ("unrecorded" in text) == (look == 1 and why is not None)
        assert shown in text
        assert "not counted here: calls that do not reach memsc; see --probes syscalls" in text
        assert max(map(len, text.splitlines())) <= 80
