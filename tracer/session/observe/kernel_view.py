# SPDX-License-Identifier: MIT
"""The kernel's view of a round: which programs were executed, and how many calls were made where.

What programs say of themselves is held against it (`memsc.runtime.carried`).
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray

from memsc.probes.programs import PROBE as PROGRAMS
from memsc.probes.syscalls import PROBE as SYSCALLS
from memsc.runtime.carried import Carried
from memsc.runtime.printable import printable
from memsc.tracer.format import Coverage, Unrecorded
from memsc.tracer.session.observe.entries import Entries, Text


class KernelView:
    """What the kernel has said since the round began.

    Attributes:
        absent: why it says nothing; None while it does.
    """

    def __init__(self) -> None:
        self.absent: str | None = "no probe was asked for"
        self.begin(asked=False)

    def begin(self, *, asked: bool = True) -> None:
        """Start over.

        Args:
            asked: whether it is asked in this round.
        """
        self._asked = asked
        self._executed: dict[int, list[str]] = {}
        self._first: dict[int, int] = {}
        self._entries: Entries | None = None
        self._lost = 0

    def take(self, probe: str, events: NDArray[np.void]) -> None:
        """Take in events of a probe; those of most say nothing of this."""
        if probe == PROGRAMS.name:
            columns = (events[name].tolist() for name in ("pid", "name", "time"))
            for pid, name, time in zip(*columns, strict=True):
                found = printable(name.decode(errors="replace"))
                self._executed.setdefault(pid, []).append(found)
                self._first[pid] = min(time, self._first.get(pid, time))
        elif probe == SYSCALLS.name:
            if self._entries is None:
                self._entries = Entries()
            self._entries.add(events)

    def lost(self, probe: str, events: int) -> None:
        """Note how many events of a probe were lost in the round."""
        if events and probe == PROGRAMS.name:
            self._lost += events
        elif events and probe == SYSCALLS.name:
            self._entries = None

    @property
    def executed(self) -> dict[int, list[str]] | None:
        """Programs by process; None if that is not known."""
        return None if self.absent or self._lost or not self._asked else self._executed

    def coverage(
        self,
        carried: Carried,
        pids: Set[int],
        texts: Mapping[int, Set[Text]],
        missed: dict[str, int],
        beside: int,
    ) -> Coverage:
        """What there was to record, and what of it was not.

        Args:
            carried: what programs said of themselves.
            pids: processes that are recorded.
            texts: where they make their calls, as they told.
            missed: calls that they made unrecorded, by why.
            beside: calls that they made on the service's CPUs.
        """
        executed = self.executed
        programs, found = carried.unrecorded(executed)
        entries, first = self._entries, None if executed is None else self._first
        why = self.absent or (f"{self._lost} events were lost" if self._lost else None)
        if why is None and executed is None:
            why = "the round had no probe"
        return Coverage(
            programs=programs,
            by="layer" if executed is None else "kernel",
            by_reason=why,
            unrecorded=[
                Unrecorded(name, reason, times)
                for (name, reason), times in sorted(found.items(), key=lambda one: -one[1])
            ],
            missed=missed,
            beside=beside,
            unseen=None if entries is None else entries.others(pids | texts.keys(), texts, first),
            # Of one that did not tell where its calls come from, none is known to be its own.
            elsewhere=None
            if entries is None or pids - texts.keys()
            else entries.elsewhere(texts, first),
        )
