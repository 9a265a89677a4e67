# SPDX-License-Identifier: MIT
"""`memsc bench`: what a small one prints, and in which order its rounds are run."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus

from memsc.bench.suites import bare_ring, peer_tracers, peer_transports
from memsc.bench.suites.cases import ON_REQUEST, Case, choose, rounds, suites
from memsc.tracer.session.work import interleaved

ARMS = ("direct", "ipi", "memsc", "memsc-scanner")

pytestmark = [two_cpus, layered]


def test_a_small_benchmark_prints_rows_and_targets(tmp_path: Path) -> None:
    folder = tmp_path / "b.memsc"
    done = memsc("bench", "limit", "--quick", "--json", "--probes", "none", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["schema"] == 1
    row = next(row for row in said["rows"] if row["metric"] == "p50_ns")
    assert (row["suite"], row["case"], row["arm"]) == ("limit", "line", "memsc")
    assert row["n"] == 1_000_000
    assert {"name", "value", "bound", "held"} <= set(said["targets"][0])
    for target in said["targets"]:
        judged = "bare ring" in target["name"] or target["name"].startswith("memsc: rounds")
        assert (target["held"] is not None) == judged, target
        if target["name"].startswith("memsc: ") and not judged:
            assert "--probes" in target["reason"], target
    for case, arms in {
        "ring": {"direct", "memsc", "bare-ring"},
        "ring-recorded": {"memsc", "bare-ring"},
    }.items():
        assert {row["arm"] for row in said["rows"] if row["case"] == case} == arms
    assert said["environment"]["kernel"]


def test_rounds_of_arms_are_interleaved() -> None:
    assert interleaved(["a", "b"], 3) == [
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip


def test_every_round_of_a_case_has_a_number_of_its_own() -> None:
    arms = [*ARMS, bare_ring.NAME, *peer_transports.NAMES, *peer_tracers.TRACERS]
    for cases in suites(ARMS, quick=True).values():
        planned = list(rounds(cases, arms))
        keys = [(one.case.name, one.arm, one.number) for one in planned]
        assert len(keys) == len(set(keys))
        assert len(keys) == sum(_wanted(case) for case in cases)
        turns = [one.turn for one in planned]
        assert turns == sorted(turns)
        for case in cases:
            for wanted, recording in ((case.recorded, True), (case.rounds, False)):
                for arm, count in wanted.items():
                    mine = [o for o in planned if (o.case, o.arm) == (case, arm)]
                    assert [o.number for o in mine] == list(range(len(mine)))
                    assert [o.turn for o in mine if o.recording == recording] == [*range(count)]


def test_a_case_that_two_suites_share_runs_once_beside_what_is_held_against_it() -> None:
    available = suites(ARMS, quick=True)
    assert set(choose([], available)) == set(available) - set(ON_REQUEST)
    assert [case.name for case in choose([], available)["sync"]] == ["line", "sync"]
    both, alone = choose([], available)["limit"], choose(["limit"], available)["limit"]
    assert [case.name for case in alone] == ["line", *(case.name for case in both)]


def _wanted(case: Case) -> int:
    return sum(case.rounds.values()) + sum(case.recorded.values())
