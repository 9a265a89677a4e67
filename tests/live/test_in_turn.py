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
