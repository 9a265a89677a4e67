# SPDX-License-Identifier: MIT
"""The unmodified programs of the suite `files`: each works on the files made for it, twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from memsc.bench.suites import programs
from memsc.bench.suites.cases import suites
from memsc.runtime.launch import Launch

SLOW = ("bonnie", "dbench")  # seconds each: with `make test-programs`
USUAL = [name for name in programs.PROGRAMS if name not in (*programs.SIZES, *SLOW)]


@pytest.mark.parametrize("name", [*USUAL, *(pytest.param(s, marks=pytest.mark.long) for s in SLOW)])
def test_a_program_works_as_often_as_it_is_asked_to(name: str, tmp_path: Path) -> None:
    if package := programs.missing(name):
        pytest.skip(f"needs {package}")
    prepare = programs.PROGRAMS[name].prepare
    work = programs.work(name)(Launch(), tmp_path)
    for _ in range(2):
        if prepare is not None:
            prepare(tmp_path)
        subprocess.run(work.command, check=True, capture_output=True, timeout=60)
    if work.measures is not None:
        (value,) = json.loads(work.measures.read_text()).values()
        assert value > 0


def test_a_program_that_is_not_here_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    absent = programs.absent()
    assert absent["bonnie"] == "bonnie++"
    assert absent["git-status"] == "git"
    assert set(absent) == set(programs.PROGRAMS)
    assert not suites(["direct"], quick=False)["files"]
