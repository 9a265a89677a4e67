# SPDX-License-Identifier: MIT
"""Who is to be measured beside memsc and is not here: a line each, and no further rounds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memsc.bench.suites import peer_tracers, peer_transports
from memsc.bench.suites.cases import suites
from memsc.bench.suites.run import run
from memsc.runtime.errors import MemscError
from memsc.runtime.launch import Launch

DIRECT = Launch(transport="direct", service="inline", app_cpus=(1,), service_cpus=(0,))
MEMSC = Launch(transport="memsc", service="inline", app_cpus=(1,), service_cpus=(0,))


class Session:
    """As a session that ends rounds of some arms with a status of its own, and runs nothing."""

    def __init__(self, scratch: Path, statuses: dict[str, int]) -> None:
        self.scratch, self.done = scratch, set[Any]()
        self.quiet = SimpleNamespace(refused=lambda: None)
        self.statuses, self.rounds, self.notes = statuses, Counter[str](), list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def round(self, arm: str, *_: Any, **__: Any) -> Any:
        self.rounds[arm] += 1
        return SimpleNamespace(exit_status=self.statuses.get(arm, 0))


def measured(suite: str, arms: list[Launch], session: Session) -> None:
    chosen = {suite: suites(["direct", "memsc"], quick=True)[suite]}
    run(session, chosen, arms, lambda _: None)  # type: ignore[arg-type]


def test_a_peer_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    session = Session(tmp_path, {"uring": peer_transports.UNAVAILABLE})
    arms = [DIRECT, MEMSC, *peer_transports.arms([DIRECT, MEMSC])]
    measured("peers", arms, session)
    assert session.notes == ["uring is not measured: this machine has none"]
    assert session.rounds["uring"] == 1 < session.rounds["memsc"]


def test_a_peer_that_fails_is_no_absent_one(tmp_path: Path) -> None:
    session = Session(tmp_path, {"uring": 1})
    arms = [DIRECT, MEMSC, *peer_transports.arms([DIRECT, MEMSC])]
    with pytest.raises(MemscError, match="uring"):
        measured("peers", arms, session)


def test_tracers_that_are_not_installed_are_one_line_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    session = Session(tmp_path, {})
    measured("tracing", [DIRECT, MEMSC, *peer_tracers.arms([MEMSC])], session)
    (line,) = session.notes
    assert line.startswith(f"not installed: {', '.join(peer_tracers.TRACERS)}; apt install ")
    for tracer in peer_tracers.TRACERS.values():
        assert tracer.package in line
    assert not set(session.rounds) & set(peer_tracers.TRACERS)


def test_programs_that_are_not_installed_are_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    session = Session(tmp_path, {})
    measured("files", [DIRECT, MEMSC], session)
    assert session.notes
    assert all(" is not installed; apt install " in note for note in session.notes)
