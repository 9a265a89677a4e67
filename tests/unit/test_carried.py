# SPDX-License-Identifier: MIT
"""What programs say of themselves, held against the kernel's word."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from memsc.analysis.domains.coverage import coverage, percent, wilson
from memsc.runtime.carried import BY_ANOTHER, FILTERED, Carried
from memsc.runtime.session_socket import Message
from memsc.tracer.format import Coverage, Round, Unrecorded


def told(*said: tuple[int, dict[str, Any]]) -> Carried:
    carried = Carried()
    for pid, fields in said:
        carried.add(Message(pid, fields, began=1))
    return carried


def test_all_are_carried() -> None:
    carried = told((7, {"executes": "/bin/sh"}), (7, {"starts": "sh"}))
    assert carried.unrecorded() == (1, Counter())
    assert carried.unrecorded({7: ["sh"]}) == (1, Counter())


def test_one_that_says_nothing_is_known_by_who_executed_it() -> None:
    carried = told((7, {"starts": "sh"}), (8, {"executes": "/bin/nonsense", "why": "lost"}))
    assert carried.unrecorded() == (2, Counter({("/bin/nonsense", "lost"): 1}))
    seen = {7: ["sh"], 8: ["nonsense"]}
    assert carried.unrecorded(seen) == (2, Counter({("/bin/nonsense", "lost"): 1}))


def test_what_it_executes_in_turn_is_known_to_the_kernel_alone() -> None:
    carried = told((7, {"starts": "sh"}), (8, {"executes": "/bin/nonsense", "why": "lost"}))
    seen = {7: ["sh"], 8: ["nonsense", "again"], 9: ["again"]}
    programs, found = carried.unrecorded(seen)
    assert programs == 4
    assert found == {("/bin/nonsense", "lost"): 1, ("again", BY_ANOTHER): 2}


def test_one_that_cannot_be_carried_may_execute_one_that_can() -> None:
    carried = told((7, {"executes": "/x/nonsense", "why": "lost"}), (7, {"starts": "dd"}))
    expected = (2, Counter({("/x/nonsense", "lost"): 1}))
    assert carried.unrecorded() == expected
    assert carried.unrecorded({7: ["nonsense", "dd"]}) == expected


def test_an_exec_that_the_kernel_refused_is_no_program() -> None:
    carried = told((7, {"starts": "sh"}), (7, {"executes": "/etc/passwd", "why": "x"}))
    assert carried.unrecorded({7: ["sh"]}) == (1, Counter())
    carried.add(Message(7, {"program": "sh", "end": "exit"}, began=1))
    assert carried.unrecorded() == (1, Counter())
    assert not carried.directly()


def test_names_are_as_the_kernel_cuts_them() -> None:
    name = "a-name-of-more-than-15-bytes"
    carried = told((7, {"starts": name}))
    _, found = carried.unrecorded({7: ["other", name[:15]]})
    assert found == {("other", BY_ANOTHER): 1}


def test_one_that_goes_on_alone_is_counted_once() -> None:
    carried = told((7, {"starts": "dd"}), (7, {"program": "dd", "end": "filter"}))
    for seen in (None, {7: ["dd"]}):
        assert carried.unrecorded(seen) == (1, Counter({("dd", FILTERED): 1}))


def test_one_that_the_layer_left_at_its_start_is_counted_once() -> None:
    carried = told((7, {"executes": "/x/dd"}), (7, {"leaves": "dd", "why": "so"}))
    for seen in (None, {7: ["dd"]}):
        assert carried.unrecorded(seen) == (1, Counter({("dd", "so"): 1}))


def test_an_interval_of_nothing_found_is_not_nothing() -> None:
    low, high = wilson(0, 1000)
    assert low == 0
    assert high == pytest.approx(0.0038, abs=1e-4)
    assert wilson(0, 0) == (None, None)


@pytest.mark.parametrize(
    ("programs", "times", "says"),
    [
        (7, 3, "3 of 7 programs ran unrecorded: x (why) ×3"),
        (1, 1, "1 of 1 program ran unrecorded: x (why)"),
        (1, 7, "7 processes of 1 program ran unrecorded: x (why) ×7"),
        (7, 0, None),
    ],
)
def test_it_is_said_in_one_sentence(programs: int, times: int, says: str | None) -> None:
    lost = [Unrecorded("x", "why", times)] if times else []
    one = Round("memsc", "program", 0, coverage=Coverage(programs, "layer", unrecorded=lost))
    found = coverage([one])
    assert found is not None
    assert found.says == says


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (None, "?"),
        (0.0, "0 %"),
        (0.00123, "0.12 %"),
        (0.0951, "9.5 %"),
        (0.31, "31 %"),
        (0.9976, "99.76 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_told_in_digits_that_say_something(share: float | None, words: str) -> None:
    assert percent(share) == words
