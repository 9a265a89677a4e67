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


def entries(*calls: tuple[int, int, int, int], pid: int = 7) -> Entries:
    """Of (time, number, address, how often)."""
    found = Entries()
    for time, number, address, count in calls:
        events = np.zeros(count, np.dtype(PROBE.layout()))
        events["kind"] = PROBE.kind_names.index("enter")
        events["pid"], events["number"], events["address"] = pid, number, address
        events["time"] = time + np.arange(count)
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
