# SPDX-License-Identifier: MIT
"""Which of the calls that the kernel saw came from where memsc knows of them."""

from __future__ import annotations

import numpy as np
import pytest

from memsc.probes.syscalls import PROBE
from memsc.runtime.library import syscall_number
from memsc.tracer.session.observe.entries import Entries, is_text

TEXT, NEXT = (1000, 2000), (5000, 6000)
TELL = syscall_number("sendmsg")
READ = syscall_number("read")
RETURN = syscall_number("rt_sigreturn")


def entries(
    *calls: tuple[int, int, int, int], pid: int = 7, maker: int = 0, into: Entries | None = None
) -> Entries:
    """Of (time, number, address, how often)."""
    found = Entries() if into is None else into
    for time, number, address, count in calls:
        events = np.zeros(count, np.dtype(PROBE.layout()))
        events["kind"] = PROBE.kind_names.index("enter")
        events["pid"], events["number"], events["address"] = pid, number, address
        events["time"], events["result"] = time + np.arange(count), maker
        found.add(events)
    return found


@pytest.mark.parametrize(
    ("calls", "elsewhere"),
    [
        ([(0, TELL, 1500, 1), (10, READ, 1600, 50)], 0),
        ([(0, TELL, 1500, 1), (10, READ, 3000, 50)], 50),
        # A loader's calls, and what is set up before the layer tells of itself.
        ([(0, READ, 3000, 9), (20, READ, 1600, 1), (30, READ, 3100, 9), (50, TELL, 1500, 1)], 0),
        # The same instruction goes on being used afterwards: it was not rewritten.
        ([(0, READ, 3000, 9), (50, TELL, 1500, 1), (60, READ, 3000, 9)], 18),
        # Another program's loader, in the same process, and that program's own calls.
        (
            [
                *((0, TELL, 1500, 1), (10, READ, 1600, 5)),
                *((20, READ, 3000, 9), (50, TELL, 5500, 1), (60, READ, 4000, 7)),
            ],
            7,
        ),
        # A program that is not carried follows one that is: it tells nothing.
        ([(0, TELL, 1500, 1), (10, READ, 1600, 5), (20, READ, 3000, 9)], 9),
        ([(0, TELL, 1500, 1), (10, RETURN, 3000, 5)], 0),
        # Where the probe has no address nothing is known.
        ([(0, TELL, 1500, 1), (10, READ, 0, 5)], 0),
    ],
)
def test_calls_from_elsewhere(calls: list[tuple[int, int, int, int]], elsewhere: int) -> None:
    found = entries(*calls)
    assert found.elsewhere({7: {TEXT, NEXT}}) == elsewhere
    assert found.elsewhere({}) == 0
    total = sum(count for *_, count in calls)
    assert (found.others({7}), found.others(set())) == (0, total)


FORK = syscall_number("clone")
EXIT = syscall_number("exit_group")


def forked(*calls: tuple[int, int, int, int, int]) -> Entries:
    """Of (pid, time, number, address, how often), where 7 forks 8, and 8 forks 9."""
    found = Entries()
    makers = {7: 3, 8: 7, 9: 8}
    for pid, *call in calls:
        maker = makers.get(pid, 0)
        entries((call[0], call[1], call[2], call[3]), pid=pid, maker=maker, into=found)
    return found


PARENT = (7, 0, TELL, 1500, 1)


@pytest.mark.parametrize(
    ("calls", "texts", "executed", "unseen", "elsewhere"),
    [
        # What a child calls by the text that it has from its parent has reached memsc.
        ([PARENT, (8, 10, EXIT, 1500, 1)], (7,), {}, 0, 0),
        ([PARENT, (8, 5, FORK, 1500, 1), (9, 10, EXIT, 1500, 1)], (7,), {}, 0, 0),
        # What it calls by others has not, whether it hands over a region of its own or not.
        ([PARENT, (8, 10, READ, 3000, 5), (8, 20, EXIT, 1500, 1)], (7,), {}, 0, 5),
        ([PARENT, (8, 10, READ, 3000, 5), (8, 20, TELL, 1500, 1)], (7, 8), {}, 0, 5),
        # It executes something that is not carried: from there on all is unseen.
        ([PARENT, (8, 10, TELL, 1500, 1), (8, 30, READ, 3000, 5)], (7,), {8: 20}, 5, 0),
        ([PARENT, (8, 30, READ, 1600, 5)], (7,), {8: 20}, 5, 0),
        ([PARENT, (8, 5, FORK, 1500, 1), (9, 30, READ, 1600, 5)], (7,), {8: 20}, 5, 0),
        # Or that is: its loader's calls are nobody's, but what it called before is the child's.
        (
            [PARENT, (8, 10, READ, 3000, 2), (8, 30, READ, 3100, 5), (8, 40, TELL, 5500, 1)],
            (7, 8),
            {8: 20},
            0,
            2,
        ),
        (
            [PARENT, (8, 10, READ, 1600, 2), (8, 30, READ, 9000, 5), (8, 40, TELL, 5500, 1)],
            (7, 8),
            {8: 20},
            0,
            0,
        ),
        # Of a stranger, or where nobody knows what was executed, nothing is believed.
        ([PARENT, (6, 10, EXIT, 1500, 1)], (7,), {}, 1, 0),
        ([PARENT, (8, 10, EXIT, 1500, 1)], (7,), None, 1, 0),
    ],
)
def test_children_have_their_parents_text(
    calls: list[tuple[int, int, int, int, int]],
    texts: tuple[int, ...],
    executed: dict[int, int] | None,
    unseen: int,
    elsewhere: int,
) -> None:
    found = forked(*calls)
    told = {pid: {TEXT if pid == 7 else NEXT} for pid in texts}
    assert found.others(set(texts), told, executed) == unseen
    assert found.elsewhere(told, executed) == elsewhere


def test_counts_do_not_depend_on_how_events_are_cut() -> None:
    source = np.random.default_rng(1)
    events = np.zeros(1000, np.dtype(PROBE.layout()))
    events["kind"] = source.integers(0, 2, 1000)
    events["pid"] = source.integers(1, 4, 1000)
    events["number"] = source.choice([READ, TELL, RETURN], 1000)
    events["address"] = source.choice([1500, 3000, 5500], 1000)
    events["time"] = source.permutation(1000)
    whole, parts = Entries(), Entries()
    whole.add(events)
    for part in np.array_split(source.permutation(events), 13):
        parts.add(part)
    texts = {pid: {TEXT, NEXT} for pid in (1, 2)}
    assert whole.elsewhere(texts) == parts.elsewhere(texts)
    assert whole.others({1}) == parts.others({1}) > 0


@pytest.mark.parametrize("told", [None, [], [1], [1, 2, 3], [1, "2"], "ab", {"a": 1}, [True, 2]])
def test_what_is_no_text_is_not_taken_for_one(told: object) -> None:
    assert not is_text(told)


def test_a_text() -> None:
    assert is_text([1, 2])
