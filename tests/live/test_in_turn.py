# SPDX-License-Identifier: MIT
"""`memsc compare --record`: two real programs in turn, and one trace that shows them again."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus

from memsc import analysis as ma
from memsc.analysis.comparison.turns import FEWEST_TURNS


def dd(calls: int) -> list[str]:
    return ["dd", "if=/dev/zero", "of=/dev/null", "bs=64", f"count={calls}", "status=none"]


@two_cpus
@layered
def test_the_verdict_is_in_the_trace(tmp_path: Path) -> None:
    trace = str(tmp_path / "t.memsc")
    how = ["--record", "-o", trace, "--no-calibrate", "--within", "90%", "--at-most", "30"]
    more = ["--new-with", "idle=900", "--fail-if", "memsc.program.mean > +50%"]
    done = memsc("compare", *how, *more, "--", *dd(50), "--", *dd(2_000))
    assert done.returncode in (0, 3, 4), done.stderr  # however busy the machine is
    assert f"{FEWEST_TURNS} turns of four rounds" in done.stderr
    again = memsc("compare", trace, "--fail-if", "memsc.program.mean > +50%")
    assert (again.returncode, again.stdout) == (done.returncode, done.stdout)
    session = ma.open(trace).session
    assert session.in_turn is not None
    assert session.in_turn.new.settings == {"idle": "900"}
    assert "program" in done.stdout
    cases = [r.case for r in session.rounds if r.recording][:8]
    assert cases == ["base", "new", "new", "base", "new", "base", "base", "new"]
    assert memsc("report", trace).returncode == 0


@two_cpus
@layered
def test_a_program_that_fails_says_nothing(tmp_path: Path) -> None:
    how = ["--record", "-o", str(tmp_path / "t.memsc"), "--no-calibrate"]
    done = memsc("compare", *how, "--", "true", "--", "false")
    assert done.returncode == 1
    assert "NEW: false: it ended with status 1" in done.stderr


@two_cpus
@layered
def test_each_side_says_once_what_it_says_to_standard_error(tmp_path: Path) -> None:
    how = ["--record", "-o", str(tmp_path / "t.memsc"), "--no-calibrate"]
    done = memsc("compare", *how, "--at-most", "1", "--", "sh", "-c", "pwd; echo chatter >&2")
    assert done.returncode in (0, 4), done.stderr
    assert done.stderr.count("chatter") == 2


@two_cpus
@layered
def test_what_a_later_round_fails_of_is_shown(tmp_path: Path) -> None:
    how = ["--record", "-o", str(tmp_path / "t.memsc"), "--no-calibrate"]
    counts = 'echo >> "$0"; n=$(wc -l < "$0"); echo "$n" >&2; test "$n" -lt 5'
    done = memsc("compare", *how, "--", "sh", "-c", counts, str(tmp_path / "runs"))
    assert done.returncode == 1
    # Two rounds show what they say; of those that are recorded only the one that failed.
    numbers = [line for line in done.stderr.splitlines() if line.isdigit()]
    assert numbers == ["1", "2", "5"]
    assert "it ended with status 1" in done.stderr
