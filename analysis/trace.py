# SPDX-License-Identifier: MIT
"""An opened trace: filters, windows and the domains of analysis.

A domain is imported when it is first asked for: most commands need one or two of them.
"""

from __future__ import annotations

import html
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from memsc.analysis.data.order import few, in_order, natural
from memsc.analysis.data.scan import Cells, Progress, scan
from memsc.analysis.data.selection import Selection, names, whole_numbers
from memsc.analysis.data.timed import TimedRounds
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer import format as fmt

if TYPE_CHECKING:
    from memsc.analysis.domains.agreement import Agreement
    from memsc.analysis.domains.checks import Checks
    from memsc.analysis.domains.counters import Counters
    from memsc.analysis.domains.noise import Noise
    from memsc.analysis.domains.paths import Paths
    from memsc.analysis.domains.ratios import Ratios
    from memsc.analysis.domains.stacks import Stacks
    from memsc.analysis.domains.stage_counters import StageCounters
    from memsc.analysis.domains.stages import Stages
    from memsc.analysis.domains.tail import Tail
    from memsc.analysis.domains.timings import Timings
    from memsc.analysis.domains.totals import Totals
    from memsc.analysis.domains.wakeup import Wakeup

T = TypeVar("T")


class Trace:
    """A finished trace and a selection of its calls.

    Cheap to make: nothing is read until a domain asks for it, and then it is streamed. `where` and
    slices give further traces on the same folder.

    Args:
        folder: the opened folder.
        selection: which calls.
        progress: called with the rows of each part as it is read.
    """

    def __init__(
        self,
        folder: fmt.TraceFolder,
        selection: Selection | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self.selection = selection or Selection()
        self._progress = progress

    @property
    def session(self) -> fmt.Session:
        """What the session says about itself, its machine and its rounds."""
        return self.folder.session

    @property
    def name(self) -> str:
        """The folder's name without its suffix."""
        return self.folder.path.name.removesuffix(fmt.SUFFIX)

    @property
    def arms(self) -> list[str]:
        """Arms that are looked at, in the order they are shown."""
        chosen = self.selection.arms
        return in_order([arm for arm in self.session.arms if chosen is None or arm in chosen])

    @property
    def start_cycles(self) -> int:
        """Time 0 of windows: the first round's start, or else the clock's anchor."""
        starts = [r.start_cycles for r in self.session.rounds if r.start_cycles is not None]
        return min(starts, default=self.session.clock.anchor_cycles)

    @cached_property
    def cells(self) -> Cells:
        """Sketches of the selected calls; the one pass over the table `calls`."""
        found = scan(self.folder, self.selection, self._progress, timed=self._timed)
        return found.with_all()

    @cached_property
    def _timed(self) -> TimedRounds:
        return TimedRounds(self.folder)

    @cached_property
    def stages(self) -> Stages:
        """Where the time of a call goes."""
        from memsc.analysis.domains.stages import Stages

        snapshot = self.session.snapshot
        chosen = snapshot.why if snapshot else None
        return Stages(lambda: self.cells, self.session.clock.ns_per_cycle, self.arms, chosen)

    @cached_property
    def tail(self) -> Tail:
        """What slow calls are made of."""
        from memsc.analysis.causes.blame import Blame
        from memsc.analysis.domains.tail import Tail

        blame = Blame(self.folder, self.selection, lambda: self.cells, self.start_cycles)
        return Tail(self.stages, blame)

    @cached_property
    def noise(self) -> Noise:
        """What took the CPUs away."""
        from memsc.analysis.domains.noise import Noise

        return Noise(self.folder, self.selection)

    @cached_property
    def wakeup(self) -> Wakeup:
        """How one CPU wakes a thread on another, step by step."""
        from memsc.analysis.domains.wakeup import Wakeup

        return Wakeup(self.folder, self.selection)

    @cached_property
    def counters(self) -> Counters:
        """What threads did, as perf events counted it."""
        from memsc.analysis.domains.counters import Counters

        return Counters(self.folder, self.selection)

    @cached_property
    def stage_counters(self) -> StageCounters:
        """What the CPUs did in each stage, as counters of theirs tell."""
        from memsc.analysis.domains.stage_counters import StageCounters

        return StageCounters(self.folder, self.selection)

    @cached_property
    def timings(self) -> Timings:
        """What the workload measured from outside."""
        from memsc.analysis.domains.timings import Timings

        return Timings(self.folder, self.arms, self.selection, self._timed)

    @cached_property
    def totals(self) -> Totals:
        """Calls, their time and their errors: by system call, program, process and thread."""
        from memsc.analysis.domains.totals import Totals

        return Totals(self.folder, self.selection)

    @cached_property
    def ratios(self) -> Ratios:
        """Arms against each other, against direct execution and against the limit."""
        from memsc.analysis.domains.ratios import Ratios

        return Ratios(self.stages, self.timings)

    @cached_property
    def checks(self) -> Checks:
        """Whether the trace may be believed."""
        from memsc.analysis.domains.checks import Checks

        return Checks(self.folder, lambda: self.cells, self.arms)

    @cached_property
    def stacks(self) -> Stacks:
        """Where threads are, on the CPU and off it."""
        from memsc.analysis.domains.stacks import Stacks

        return Stacks(self.folder, self.selection)

    @cached_property
    def paths(self) -> Paths:
        """Where in the program calls are made."""
        from memsc.analysis.domains.paths import Paths

        return Paths(self.folder, lambda: self.cells, self.selection)

    @cached_property
    def agreement(self) -> Agreement:
        """Stamps against the static probes, an observer that knows nothing of them."""
        from memsc.analysis.domains.agreement import Agreement

        return Agreement(self.folder, self.selection)

    def where(
        self,
        *,
        arm: str | Collection[str] | None = None,
        case: str | Collection[str] | None = None,
        syscall: str | Collection[str] | None = None,
        tid: int | Collection[int] | None = None,
        pid: int | Collection[int] | None = None,
        comm: str | Collection[str] | None = None,
        outcome: str | None = None,
        checks: bool | None = None,
    ) -> Trace:
        """The same trace with fewer calls.

        Args:
            arm: one name or several.
            case: likewise.
            syscall: likewise.
            tid: one thread or several.
            pid: one process or several.
            comm: one command name or several: what the kernel called a process when it began to be
                recorded. Threads that rename themselves go by their process.
            outcome: "ok" or "error".
            checks: look at the check rounds instead of the measured ones.

        Raises:
            MemscError: an arm, case or outcome that does not exist; later, once calls are read:
                the trace does not know command names, for an earlier memsc has made it.

        Example:
            >>> reads = t.where(arm="memsc", syscall="read")
            >>> reads.stages.df_stages()["syscall"].unique().tolist()
            ['all', 'read']
        """
        self._know("arm", names(arm), in_order(self.session.arms))
        cases = {r.case for r in self.session.rounds}
        self._know("case", names(case), sorted(cases, key=natural))
        now = self.selection
        chosen = replace(
            now,
            arms=_both(now.arms, names(arm)),
            cases=_both(now.cases, names(case)),
            syscalls=_both(now.syscalls, names(syscall)),
            tids=_both(now.tids, whole_numbers(tid)),
            pids=_both(now.pids, whole_numbers(pid)),
            comms=_both(now.comms, names(comm)),
            outcome=outcome or now.outcome,
            checks=now.checks if checks is None else checks,
        )
        return Trace(self.folder, chosen, self._progress)

    def __getitem__(self, window: slice) -> Trace:
        """Calls that began in a window of seconds since the first round's start.

        Example:
            >>> sides = [w.stages.df_stages(syscalls=False) for w in (t[:0.5], t[0.5:])]
            >>> int(sum(side.query("stage == 'total'")["n"].sum() for side in sides))
            8232
        """
        if window.step is not None:
            raise MemscError("cannot take a window", "it has a step", "write t[a:b]", USAGE)
        now = self.selection
        start, end = (self._cycles(bound) for bound in (window.start, window.stop))
        if now.start is not None:
            start = now.start if start is None else max(start, now.start)
        if now.end is not None:
            end = now.end if end is None else min(end, now.end)
        return Trace(self.folder, replace(now, start=start, end=end), self._progress)

    def _know(self, kind: str, wanted: frozenset[str] | None, known: list[str]) -> None:
        # A session that was cut short may not know of its rounds.
        lacking = sorted(wanted - set(known)) if wanted and known else []
        if lacking:
            what = f"cannot select {kind} {', '.join(lacking)} of {self.name}"
            raise MemscError(what, "there is none", f"its {kind}s are {few(known)}", USAGE)

    def _cycles(self, seconds: float | None) -> int | None:
        if seconds is None:
            return None
        return self.start_cycles + int(np.rint(seconds * 1e9 / self.session.clock.ns_per_cycle))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:right'>{arm.calls or '?'}</td>"
            f"<td style='text-align:right'>{'?' if arm.lost is None else arm.lost}</td></tr>"
            for name, arm in ((name, self.session.arms[name]) for name in self.arms)
        )
        title = html.escape(self.name)
        head = "<tr><th>arm</th><th>calls</th><th>lost</th></tr>"
        return f"<b>memsc trace {title}</b><table>{head}{rows}</table>"


def open_one(path: str | Path, progress: Progress | None = None) -> Trace:
    """Opens a trace.

    Args:
        path: the folder `NAME.memsc`.
        progress: called with the rows of each part as it is read.

    Raises:
        MemscError: not a trace, damaged, or newer than this memsc.

    Example:
        >>> ma.open("notebooks/traces/calls.memsc").arms
        ['direct', 'ipi', 'memsc']
    """
    return Trace(fmt.open_trace(path), progress=progress)


def _both(a: frozenset[T] | None, b: frozenset[T] | None) -> frozenset[T] | None:
    if a is None or b is None:
        return a if b is None else b
    return a & b
