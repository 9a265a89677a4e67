# SPDX-License-Identifier: MIT
"""System calls as the kernel saw them, by process and by the instruction that made them.

A process that is recorded makes all its calls from the runtime's text, which it names when it
starts. What it enters the kernel with from elsewhere is not recorded: instructions of its own, and
such of the C library as were left as they are. A child that it forks has that text, too, and names
it no more: the probe knows who made it, in the numbers in which the session sees both.
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


_NONE: Mapping[int, Set[Text]] = {}


class Entries:
    """Counts of entries, with when each instruction made its first and its last."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, int], list[int]] = {}
        self._parents: dict[int, int] = {}

    def add(self, events: NDArray[np.void]) -> None:
        """Count those among a probe's events."""
        mine = events[events["kind"] == _ENTER]
        if not len(mine):
            return
        made = mine[(mine["result"] > 0) & (mine["result"] != mine["pid"])]  # threads are its own
        self._parents.update(zip(made["pid"].tolist(), made["result"].tolist(), strict=True))
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

    def others(
        self,
        pids: Set[int],
        texts: Mapping[int, Set[Text]] = _NONE,
        executed: Mapping[int, int] | None = None,
    ) -> int:
        """How many were made by processes that are not among these.

        Args:
            pids: those that are recorded.
            texts: what some of them name as memsc's text. Their children have it, too, until they
                execute something, and are no others until then.
            executed: when each process first executed something; None: that is not known.
        """
        found = 0
        for (pid, *_), (count, _, last) in self._found.items():
            if pid not in pids and self._inherited(pid, last, texts, executed) is None:
                found += count
        return found

    def elsewhere(
        self, texts: Mapping[int, Set[Text]], executed: Mapping[int, int] | None = None
    ) -> int:
        """How many were made by these processes, and not from what they name as memsc's text.

        By their children, too, until these execute something. Those of a program's loader are not
        counted, nor those of libraries that are set up before memsc is there: they end before what
        stands in a text first tells the session something, and begin after the last call from
        another. Nor is the return from a signal handler, which is the caller's own.
        """
        every: defaultdict[int, list[_Row]] = defaultdict(list)
        by_children = 0
        for (pid, number, address), (count, first, last) in self._found.items():
            if number == _RETURN:
                continue
            text = self._inherited(pid, last, texts, executed)
            if text is not None:
                by_children += count if address and not _within(address, text) else 0
            elif pid in texts:
                every[pid].append(_Row(number, address, count, first, last))
        return by_children + sum(_elsewhere(rows, texts[pid]) for pid, rows in every.items())

    def _inherited(
        self,
        pid: int,
        time: int,
        texts: Mapping[int, Set[Text]],
        executed: Mapping[int, int] | None,
    ) -> Set[Text] | None:
        """What a process then has from those that forked it as memsc's text; None if nothing."""
        if executed is None or time >= executed.get(pid, time + 1):
            return None
        seen = {pid}
        while (parent := self._parents.get(pid)) is not None and parent not in seen:
            if parent in texts:
                return texts[parent]
            if parent in executed:
                return None
            seen.add(parent)
            pid = parent
        return None


def _within(address: int, texts: Set[Text]) -> Text | None:
    return next((one for one in texts if one[0] <= address <= one[1]), None)


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
        text = _within(row.address, texts)
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
