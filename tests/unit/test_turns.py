# SPDX-License-Identifier: MIT
"""Two sides recorded in turn: what drifts falls on both alike, and a true change is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.comparison.comparison import Comparison
from memsc.analysis.comparison.turns import Turns, names_of
from memsc.commands.__main__ import main
from memsc.commands.sides import programs_of, sides_apart
from memsc.runtime.errors import FAIL_IF_MET, USAGE, WITHHELD, MemscError
from memsc.tracer.format import Arm, InTurn, Round, Side
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

SIDES = InTurn(
    Side("memsc", "base", ["dd", "bs=512"]),
    Side("memsc", "new", ["dd", "bs=512"], {"idle": "never"}),
)


def in_turn(folder: Path, turns: int = 10, scale: float = 1.0, mood: float = 0.3) -> str:
    """Turns of A B B A and B A A B; the mood changes from turn to turn, and drifts within."""
    generator, clock = np.random.default_rng(7), 2_000_000
    done: list[Round] = []
    numbers = {"base": 1, "new": 1}
    with TraceWriter(prepare_output(folder)) as writer:
        for turn in range(turns):
            at = np.exp(mood * generator.standard_normal()) * np.linspace(1, 1.2, 4)
            for place, case in enumerate(("base", "new", "new", "base")):
                side = case if turn % 2 == 0 else {"base": "new", "new": "base"}[case]
                slower = at[place] * (scale if side == "new" else 1.0)
                batch = traces.records(
                    traces.stages_like("memsc", 1500, generator, slower), start=clock
                )
                end = int(batch["completed"][-1])
                began, ended = traces.CLOCK.ns(np.array([clock, end])).tolist()
                done.append(
                    Round(
                        "memsc",
                        side,
                        numbers[side],
                        turn=turn,
                        start_ns=began,
                        end_ns=ended,
                        start_cycles=clock,
                        end_cycles=end,
                        pids=[101],
                        exit_status=0,
                        calls=1500,
                        lost=0,
                        made=1500,
                        local=0,
                    )
                )
                numbers[side] += 1
                clock = end + 100_000
                writer.calls(done[-1].key, 101, batch, traces.NAMES)
        sums = 1500 * len(done)
        arms = {"memsc": Arm("memsc", "inline", [1], [0], sums, 0, sums)}
        writer.session(traces.session(done, arms, in_turn=SIDES))
    return str(folder)


def test_a_change_is_found_through_the_moods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = in_turn(tmp_path / "a.memsc", scale=1.05)
    for condition, status in (
        ("memsc.total.p50 > +2%", FAIL_IF_MET),
        ("memsc.program.mean > +2%", FAIL_IF_MET),
        ("memsc/program.total.p50 > +20%", 0),
        ("memsc.total.p999 > +2%", WITHHELD),
    ):
        assert main(["compare", trace, "--fail-if", condition]) == status
    out = capsys.readouterr().out
    assert "dd bs=512 → idle=never dd bs=512" in out
    assert "over 10 turns" in " ".join(out.split())
    frame = Comparison(Turns(ma.open(trace))).df_compare()
    row = frame.query("stage == 'total' and metric == 'p50'").iloc[0]
    assert row["low"] < 0.05 < row["high"]
    assert row["high"] - row["low"] < 0.03  # moods of 30 % are in neither
    assert (row["verdict"], row["interval"], row["case"]) == ("slower", "turns", "program")


@pytest.mark.parametrize(
    ("commands", "names"),
    [
        (("dd bs=512", "dd bs=8"), ("dd bs=512", "dd bs=8")),
        (
            ("dd if=/dev/zero of=/dev/null bs=512 x", "dd if=/dev/zero of=/dev/null bs=8192 x"),
            ("dd … bs=512 x", "dd … bs=8192 x"),
        ),
        ((f"a {'x' * 40}", f"b {'x' * 40}"), (f"a {'x' * 31}…", f"b {'x' * 31}…")),
        ((f"a {'x' * 40}", f"a {'x' * 40}"), (f"a {'x' * 31}…", f"a {'x' * 31}…")),
    ],
)
def test_long_commands_are_named_by_what_differs(
    commands: tuple[str, str], names: tuple[str, str]
) -> None:
    base, new = (Side("memsc", "base", command.split(), {}) for command in commands)
    assert names_of(base, new) == names


def test_none_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = in_turn(tmp_path / "a.memsc")
    assert main(["compare", trace, "--json", "--fail-if", "memsc.total.p50 > +1%"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["units"], told["replicas"]) == ("turns", [10, 10])
    known = {row["verdict"] for row in told["rows"] if row["metric"] == "p50"}
    assert known == {"no change seen"}
    assert main(["report", trace]) == 0


def test_too_few_turns_give_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = in_turn(tmp_path / "a.memsc", turns=3, scale=2.0)
    assert main(["compare", trace, "--fail-if", "memsc.total.p50 > +5%"]) == WITHHELD
    out = capsys.readouterr().out
    assert "verdict withheld: 3 turns are whole" in out and "--at-most" in out
    assert "? not settled: --fail-if" in out
    assert not re.search(r" (slower|faster|no change seen)$", out, re.M)
    assert main(["compare", "--json", trace]) == WITHHELD
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["verdict"] for row in rows} <= {"withheld", "insufficient"}


def test_a_trace_alone_is_compared_only_if_it_has_two_sides(tmp_path: Path) -> None:
    assert main(["compare", str(traces.fabricate(tmp_path / "a.memsc"))]) == USAGE


@pytest.mark.parametrize(
    ("words", "sides"),
    [
        ("a 1 -- b -x", (["a", "1"], ["b", "-x"])),
        ("a -- a", (["a"], ["a"])),
        ("a -f", (["a", "-f"], ["a", "-f"])),
        ("a --", None),
        ("-- a", None),
        ("a -- b -- c", None),
        ("", None),
    ],
)
def test_programs_stand_between_dashes(
    words: str, sides: tuple[list[str], list[str]] | None
) -> None:
    argv = ["compare", "--record", "--", *words.split()]
    arranged = sides_apart(argv)
    assert arranged[:3] == argv[:3]
    if sides is None:
        with pytest.raises(MemscError, match="-- BASE … -- NEW …"):
            programs_of(arranged[3:])
    else:
        assert programs_of(arranged[3:]) == sides


@pytest.mark.parametrize(
    "options",
    [
        ["--record", "--", "true"],
        ["--record", "-o", "x.memsc", "--within", "0", "--", "true"],
        ["--record", "-o", "x.memsc", "--within", "few", "--", "true"],
        ["--record", "-o", "x.memsc", "--at-most", "nan", "--", "true"],
        ["--record", "-o", "x.memsc", "--new-with", "colour=red", "--", "true"],
        ["--record", "-o", "x.memsc", "--new-with", "idle=long", "--", "true"],
        ["--record", "-o", "x.memsc", "--base-with", "handoff=slow", "--", "true"],
        ["--record", "-o", "x.memsc", "--base-with", "transport=pigeon", "--", "true"],
        ["--within", "1%", "a.memsc", "b.memsc"],
        ["-o", "x.memsc", "a.memsc", "b.memsc"],
    ],
)
def test_what_cannot_be_recorded_is_refused_in_a_line(
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *options]) == USAGE
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.memsc").exists()
