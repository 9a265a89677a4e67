# SPDX-License-Identifier: MIT
"""Which programs of a run memsc carried, and which not and why, by what they said themselves.

A program that is to be carried says so when it starts; what executes one says that before
(`runtime/layer/stats.h`). So a process whose last word is that it executes something is not carried
from there on. What such a program starts in turn says nothing: of that only the kernel knows, whose
word is held against theirs if there is one (`tracer.session.observe.kernel_view`).
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.runtime.printable import printable
from memsc.runtime.program import check
from memsc.runtime.session_socket import Message

NOT_LOADED = "started without memsc's variables, or ended at once"
FILTERED = "it put itself under a seccomp filter"
TRACED = "it is traced by another program"
GAINS = "it is set-uid, set-gid or has capabilities, and may not be given a library"
BY_ANOTHER = "executed by a program that is not recorded either"
_LEAVES = {"filter": FILTERED, "traced": TRACED}
"""Why a program goes on without memsc, by how it says that."""
COMM = 15  # bytes that the kernel has of a program's name


@dataclass(frozen=True)
class _Executing:
    path: str
    obstacle: str | None
    began: int | None


class Carried:
    """The programs of a run, as they come and go.

    Attributes:
        started: names of those that were carried, how often.
        left: those that were not, or not to their end, as (path or name, why), how often: those of
            which that is settled. `directly` has them all.
    """

    def __init__(self) -> None:
        self.started = Counter[str]()
        self.left = Counter[tuple[str, str]]()
        self._executing: dict[int, _Executing] = {}
        self._running: dict[int, str] = {}
        self._whys: dict[str, str | None] = {}
        # By process: programs that were carried, and those that never were.
        self._carried: defaultdict[int, list[str]] = defaultdict(list)
        self._never: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)

    def executes(self, pid: int, path: str, began: int | None = None) -> None:
        """Note that a process executes a program, which does not know that it is asked."""
        self._executing[pid] = _Executing(path, None, began)

    def leaves(self, name: str, why: str) -> None:
        """Note that a program, or one of its processes, is not carried any more."""
        self.left[name, why] += 1

    def _never_carried(self, pid: int, name: str, why: str) -> None:
        self.left[name, why] += 1
        self._never[pid].append((name, why))

    def add(self, message: Message) -> None:
        """Note what a process said; what is none of it is passed over: it may say anything."""
        pid, said = message.pid, message.said
        why = said.get("why")
        why = printable(why) if isinstance(why, str) else None
        if isinstance(path := said.get("executes"), str):
            self._settle(pid, message.began)
            self._executing[pid] = _Executing(printable(path), why, message.began)
        elif isinstance(name := said.get("starts"), str):
            before = self._executing.get(pid)
            if before is not None and (why := before.obstacle or self._uncarriable(before.path)):
                # It is another one, which that has executed.
                self._never_carried(pid, before.path, why)
                self._executing.pop(pid)
            self._settle(pid, message.began)
            self._running[pid] = printable(name)
            self.started[printable(name)] += 1
            self._carried[pid].append(printable(name))
        elif isinstance(name := said.get("leaves"), str):
            before = self._executing.pop(pid, None)
            if self._running.pop(pid, None) is None:
                # Its file, if still there, tells more than it does, which knows its name alone.
                path = before.path if before is not None and Path(before.path).exists() else None
                told = self._uncarriable(path) if path is not None else None
                self._never_carried(
                    pid, path if path and told else printable(name), told or why or "?"
                )
            else:
                self.leaves(printable(name), why or "?")
        elif isinstance(name := said.get("program"), str):
            self._settle(pid, message.began)
            self._running.pop(pid, None)
            if (end := said.get("end")) in _LEAVES:
                self.leaves(printable(name), _LEAVES[end])

    def _uncarriable(self, path: str) -> str | None:
        """Why no such program can be carried, as far as its file tells; None if it can be."""
        if path not in self._whys:
            why = why_not(path)
            self._whys[path] = None if why in (NOT_LOADED, GAINS) else why
        return self._whys[path]

    def _settle(self, pid: int, began: int | None) -> None:
        """What a process executed before: it speaks again, so that failed, or was carried."""
        before = self._executing.pop(pid, None)
        if before is not None and None not in (began, before.began) and began != before.began:
            # Another process, with the number of one that was not heard of again.
            self._never_carried(pid, before.path, _why(before))

    @property
    def running(self) -> Counter[str]:
        """Those that are carried and have not said that they end, by name."""
        return Counter(self._running.values())

    def directly(self) -> Counter[tuple[str, str]]:
        """All that were not carried, as (path or name, why), how often."""
        return self.left + Counter((one.path, _why(one)) for one in self._executing.values())

    def unrecorded(
        self, executed: Mapping[int, Sequence[str]] | None = None
    ) -> tuple[int, Counter[tuple[str, str]]]:
        """How many programs there were, and which of them were not recorded, or not to their end.

        Args:
            executed: programs by process, as the kernel saw them, in order and cut to `COMM` bytes;
                None: nobody asked it, and what programs that are not carried execute is not known.

        Returns:
            Their number, and (path or name, why) with how often.
        """
        never = {pid: list(found) for pid, found in self._never.items()}
        for pid, one in self._executing.items():
            never.setdefault(pid, []).append((one.path, _why(one)))
        in_part = self.left - Counter(each for found in self._never.values() for each in found)
        if executed is None:
            found = Counter(each for mine in never.values() for each in mine)
            return self.started.total() + found.total(), found + in_part
        found = Counter[tuple[str, str]]()
        for pid, names in executed.items():
            missing = max(len(names) - len(self._carried.get(pid, ())), 0)
            # Of those that a process wanted to execute the last ones, if the kernel refused some.
            known = never.get(pid, [])[-missing:] if missing else []
            found.update(known)
            others = _without(names, [*self._carried.get(pid, ()), *(path for path, _ in known)])
            found.update((name, BY_ANOTHER) for name in others[: missing - len(known)])
        return sum(map(len, executed.values())), found + in_part


def _without(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names less those taken, which may be paths; the last ones first."""
    less = Counter(path.rpartition("/")[2].encode()[:COMM] for path in taken)
    rest: list[str] = []
    others: list[str] = []
    for name in names:
        if less[name.encode()] > 0:
            less[name.encode()] -= 1
            others.append(name)
        else:
            rest.append(name)
    return [*reversed(rest), *reversed(others)]


def _why(executing: _Executing) -> str:
    return executing.obstacle or why_not(executing.path)


def why_not(path: str) -> str:
    """Why a program cannot be carried, as far as its file tells."""
    try:
        check(path)
    except MemscError as error:
        return error.why
    return GAINS if _gains(path) else NOT_LOADED


def _gains(path: str) -> bool:
    """Whether some users gain rights by a program: the loader then gives it no library."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the path as it was given
        if mode & (stat.S_ISUID | stat.S_ISGID):
            return True
        os.getxattr(path, "security.capability")
    except OSError:
        return False
    return True
