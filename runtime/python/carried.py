# SPDX-License-Identifier: MIT
"""Which programs of a run memsc carried, and which not and why, by what they said themselves.

A program that is to be carried says so when it starts; whoever executes one says that before
(`runtime/layer/stats.h`). So a process whose last word is that it executes something is not carried
from there on. What such a program starts in turn says nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from memsc.runtime.errors import MemscError
from memsc.runtime.printable import printable
from memsc.runtime.program import check
from memsc.runtime.session_socket import Message

NOT_LOADED = "started without memsc's variables, or ended at once"
FILTERED = "it put itself under a seccomp filter"


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

    def executes(self, pid: int, path: str, began: int | None = None) -> None:
        """Note that a process executes a program, which does not know that it is asked."""
        self._executing[pid] = _Executing(path, None, began)

    def leaves(self, name: str, why: str) -> None:
        """Note that a program, or one of its processes, is not carried any more."""
        self.left[name, why] += 1

    def add(self, message: Message) -> None:
        """Note what a process said; what is none of it is passed over: it may say anything."""
        pid, said = message.pid, message.said
        why = said.get("why")
        why = printable(why) if isinstance(why, str) else None
        if isinstance(path := said.get("executes"), str):
            self._settle(pid, message.began)
            self._executing[pid] = _Executing(printable(path), why, message.began)
        elif isinstance(name := said.get("starts"), str):
            self._settle(pid, message.began)
            self._running[pid] = printable(name)
            self.started[printable(name)] += 1
        elif isinstance(name := said.get("leaves"), str):
            self._executing.pop(pid, None)
            self.leaves(printable(name), why or "?")
        elif isinstance(name := said.get("program"), str):
            self._running.pop(pid, None)
            if said.get("end") == "filter":
                self.leaves(printable(name), FILTERED)

    def _settle(self, pid: int, began: int | None) -> None:
        """What a process executed before: it speaks again, so that failed, or was carried."""
        before = self._executing.pop(pid, None)
        if before is not None and None not in (began, before.began) and began != before.began:
            # Another process, with the number of one that was not heard of again.
            self.leaves(before.path, _why(before))

    @property
    def running(self) -> Counter[str]:
        """Those that are carried and have not said that they end, by name."""
        return Counter(self._running.values())

    def directly(self) -> Counter[tuple[str, str]]:
        """All that were not carried, as (path or name, why), how often."""
        return self.left + Counter((one.path, _why(one)) for one in self._executing.values())


def _why(executing: _Executing) -> str:
    return executing.obstacle or why_not(executing.path)


def why_not(path: str) -> str:
    """Why a program cannot be carried, as far as its file tells."""
    try:
        check(path)
    except MemscError as error:
        return error.why
    return NOT_LOADED
