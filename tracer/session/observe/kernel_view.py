# SPDX-License-Identifier: MIT
"""The kernel's view of a round: which programs were executed, and how many calls were made where.

What programs say of themselves is held against it (`memsc.runtime.carried`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from memsc.probes.programs import PROBE as PROGRAMS
from memsc.probes.syscalls import PROBE as SYSCALLS
from memsc.runtime.carried import Carried
from memsc.runtime.printable import printable
from memsc.tracer.format import Coverage, Unrecorded

_ENTER = SYSCALLS.kind_names.index("enter")


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
        self._entered: Counter[int] | None = None
        self._lost = 0

    def take(self, probe: str, events: NDArray[np.void]) -> None:
        """Take in events of a probe; those of most say nothing of this."""
        if probe == PROGRAMS.name:
            for pid, name in zip(events["pid"].tolist(), events["name"].tolist(), strict=True):
                found = printable(name.decode(errors="replace"))
                self._executed.setdefault(pid, []).append(found)
        elif probe == SYSCALLS.name:
            mine = events["pid"][events["kind"] == _ENTER]
            pids, counts = np.unique(mine, return_counts=True)
            entered = self._entered if self._entered is not None else Counter[int]()
            entered.update(dict(zip(pids.tolist(), counts.tolist(), strict=True)))
            self._entered = entered

    def lost(self, probe: str, events: int) -> None:
        """Note how many events of a probe were lost in the round."""
        if events and probe == PROGRAMS.name:
            self._lost += events
        elif events and probe == SYSCALLS.name:
            self._entered = None

    @property
    def executed(self) -> dict[int, list[str]] | None:
        """Programs by process; None if that is not known."""
        return None if self.absent or self._lost or not self._asked else self._executed

    def coverage(
        self, carried: Carried, pids: Collection[int], missed: dict[str, int], beside: int
    ) -> Coverage:
        """What there was to record, and what of it was not.

        Args:
            carried: what programs said of themselves.
            pids: processes that are recorded.
            missed: calls that they made unrecorded, by why.
            beside: calls that they made on the service's CPUs.
        """
        executed = self.executed
        programs, found = carried.unrecorded(executed)
        entered = self._entered
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
            unseen=None
            if entered is None
            else sum(calls for pid, calls in entered.items() if pid not in pids),
        )
