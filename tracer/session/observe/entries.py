# SPDX-License-Identifier: MIT
"""System calls as the kernel saw them, by process and by the instruction that made them.

A process that is recorded makes all its calls from the runtime's text, which it names when it
starts. What it enters the kernel with from elsewhere is not recorded: instructions of its own, and
such of the C library as were left as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from memsc.probes.syscalls import PROBE
from memsc.runtime.library import syscall_number

Text = tuple[int, int]
"""Where instructions begin and end."""

_ENTER = PROBE.kind_names.index("enter")
_KEY = ("pid", "number", "address")
_RETURN = syscall_number("rt_sigreturn")
_TELL = syscall_number("sendmsg")


def is_text(told: object) -> TypeGuard[list[int]]:
    """Whether a process told where it makes its calls, and not anything else."""
    if not isinstance(told, list):
        return False
    return [type(one) for one in cast("list[object]", told)] == [int, int]


class Entries:
    """Counts of entries, with when each instruction made its first and its last."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, int], list[int]] = {}

    def add(self, events: NDArray[np.void]) -> None:
        """Count those among a probe's events."""
        mine = events[events["kind"] == _ENTER]
        if not len(mine):
            return
        keys: NDArray[Any] = np.stack([mine[name].astype("<i8") for name in _KEY], axis=1)
        order = np.lexsort(keys.T)
        keys, times = keys[order], mine["time"][order].astype("<i8")
        starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
        counts = np.diff(np.r_[starts, len(keys)])
        first, last = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        rows = zip(
            keys[starts].tolist(), counts.tolist(), first.tolist(), last.tolist(), strict=True
        )
        for (pid, number, address), count, begin, end in rows:
            known = self._found.setdefault((pid, number, address), [0, begin, end])
            known[0] += count
            known[1], known[2] = min(known[1], begin), max(known[2], end)

    def others(self, pids: Set[int]) -> int:
        """How many were made by processes that are not among these."""
        return sum(count for (pid, *_), (count, *_) in self._found.items() if pid not in pids)

    def elsewhere(self, texts: Mapping[int, Set[Text]]) -> int:
        """How many were made by these processes, and not from what they name as memsc's text.

        Those of a program's loader are not counted, nor those of libraries that are set up before
        memsc is there: they end before what stands in a text first tells the session something,
        and begin after the last call from another. Nor is the return from a signal handler, which
        is the caller's own.
        """
        every: defaultdict[int, list[_Row]] = defaultdict(list)
        for (pid, number, address), (count, first, last) in self._found.items():
            if pid in texts and number != _RETURN:
                every[pid].append(_Row(number, address, count, first, last))
        return sum(_elsewhere(rows, texts[pid]) for pid, rows in every.items())


class _Row(NamedTuple):
    number: int
    address: int
    times: int
    first: int
    last: int


def _elsewhere(rows: Iterable[_Row], texts: Set[Text]) -> int:
    inside: defaultdict[Text, list[_Row]] = defaultdict(list)
    others: list[_Row] = []
    for row in rows:
        text = next((one for one in texts if one[0] <= row.address <= one[1]), None)
        if text is not None:
            inside[text].append(row)
        elif row.address:
            others.append(row)
    # Between the programs that the process executed one after the other, and before the first.
    gaps: list[tuple[int, int]] = []
    before = -1
    for mine in sorted(inside.values(), key=lambda mine: min(row.first for row in mine)):
        gaps.append(
            (before, min((row.first for row in mine if row.number == _TELL), default=before))
        )
        before = max(row.last for row in mine)
    return sum(
        row.times
        for row in others
        if not any(begin < row.first and row.last < end for begin, end in gaps)
    )
