# SPDX-License-Identifier: MIT
"""How a round's program may end without having failed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.helpers import traces

import memsc.analysis as ma
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.trust_text import trust_lines
from memsc.commands.__main__ import main
from memsc.commands.options import add_ok_status
from memsc.runtime.errors import USAGE
from memsc.tracer import format as fmt
from memsc.tracer.session.work import is_piped

# What it ended with (below 0: by that signal), whether others read its output, what was declared
# fine, and what is said; None: that it did not fail.
ENDS = [
    (0, False, [], None),
    (1, False, [], "status 1 in round 0; if that is no failure: --ok-status 1"),
    (1, False, [1], None),
    (2, False, [1], "status 2 in round 0; if that is no failure: --ok-status 2"),
    (2, False, [1, 2], None),
    (-15, False, [], "ended by SIGTERM in round 0; if that is no failure: --ok-status 143"),
    (-15, False, [143], None),
    (143, False, [143], None),
    (-13, True, [], None),
    (141, True, [], None),
    (-13, False, [], "ended by SIGPIPE in round 0; if that is no failure: --ok-status 141"),
    (-11, True, [], "ended by SIGSEGV in round 0; if that is no failure: --ok-status 139"),
    (-40, False, [], "ended by signal 40 in round 0; if that is no failure: --ok-status 168"),
    (1, True, [], "status 1 in round 0; if that is no failure: --ok-status 1"),
]


def ended(tmp_path: Path, status: int, piped: bool, fine: list[int]) -> Path:
    folder = traces.fabricate(tmp_path / "a.memsc", arms=("memsc",), rounds=1, calls=50)
    session = fmt.open_trace(folder).session
    done = replace(session.rounds[0], exit_status=status, piped=piped)
    changed = replace(session, rounds=[done], ok_status=fine)
    (folder / fmt.SESSION).write_bytes(changed.encode())
    return folder


def failures(trace: ma.Trace) -> list[str]:
    lines = trust_lines(summarise(trace))
    return [line for sign, line in lines if sign == "✗" and "failed rounds" in line]


@pytest.mark.parametrize(("status", "piped", "fine", "says"), ENDS)
def test_a_program_ends(
    status: int, piped: bool, fine: list[int], says: str | None, tmp_path: Path
) -> None:
    found = failures(ma.open(ended(tmp_path, status, piped, fine)))
    assert found == ([f"memsc: failed rounds 1, expected 0 ({says})"] if says else [])


def test_who_reads_a_trace_may_say_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(ended(tmp_path, 1, False, []))
    assert main(["report", folder]) == 0
    assert "failed rounds 1" in capsys.readouterr().out
    assert main(["report", folder, "--ok-status", "2,1"]) == 0
    assert "failed rounds" not in capsys.readouterr().out
    assert main(["report", folder, folder, "--ok-status", "1"]) == USAGE
    assert "give it to `memsc trace`" in capsys.readouterr().err


def test_statuses_are_given_one_by_one_or_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_ok_status(parser)
    assert parser.parse_args([]).ok_status == []
    assert parser.parse_args(["--ok-status", "1", "--ok-status=2,143"]).ok_status == [1, 2, 143]
    for wrong in ("256", "-1", "x", "1,", ""):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--ok-status={wrong}"])
        assert "is no list of numbers from 0 to 255" in capsys.readouterr().err


def test_others_read_a_pipe_and_no_file(tmp_path: Path) -> None:
    kept, (read, write) = os.dup(1), os.pipe()
    file = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY)
    try:
        found: list[bool] = []
        for end in (write, file):
            os.dup2(end, 1)
            found.append(is_piped())
        os.close(1)
        found.append(is_piped())
    finally:
        os.dup2(kept, 1)
        for end in (kept, read, write, file):
            os.close(end)
    assert found == [True, False, False]
