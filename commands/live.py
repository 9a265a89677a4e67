# SPDX-License-Identifier: MIT
"""What a session sees while it runs, in 80 columns: rates, stages, losses, slow calls.

Drawn by the session's own process, beside the service and never on the application's CPUs, and only
when the session looks at its rings anyway: twice a second at most.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from memsc.runtime.library import syscall_name
from memsc.tracer.format import STAGES, STAMPS

if TYPE_CHECKING:
    from memsc.tracer.session.drain import Drain
    from memsc.tracer.session.session import TraceSession

_SLOW_CALLS = 8
_FOOT = """\
  the slowest of each half second
  not counted here: calls that do not reach memsc; see --probes syscalls"""


class View:
    """The picture of one session.

    Args:
        ns_per_cycle: of its clock.
        program: what it runs.
        executed: tells which programs the kernel saw, as in `Carried.unrecorded`.
        every: one of so many calls is recorded.
    """

    def __init__(
        self,
        ns_per_cycle: float,
        program: str,
        executed: Callable[[], dict[int, list[str]] | None] = lambda: None,
        every: int = 1,
    ) -> None:
        self._every = every
        self._executed = executed
        self._ns = ns_per_cycle
        self._program = program
        self._began = self._last = time.monotonic()
        self._calls = 0
        self._slow: deque[tuple[float, str, list[float]]] = deque(maxlen=_SLOW_CALLS)
        self._means: list[float] = []
        self._rate = 0.0
        self._lost = 0
        self._unrecorded = ""
        self._missing = Counter[tuple[str, str]]()

    def look(self, drain: Drain) -> None:
        """Take in what was drained since the last look."""
        now = time.monotonic()
        self._rate = (drain.calls - self._calls) / max(now - self._last, 1e-9)
        self._last, self._calls, self._lost = now, drain.calls, drain.dropped()
        programs, now_missing = drain.carried.unrecorded(self._executed())
        # One that is just starting has not said so yet.
        found, self._missing = now_missing & self._missing, now_missing
        missing = [f"{name} ({why})" for (name, why), _ in found.most_common(2)]
        if missing:
            names = ", ".join(missing)
            self._unrecorded = f"! {found.total()} of {programs} programs unrecorded: {names}"
        batch = drain.take_latest()
        if batch is None:
            return
        stamps = [batch[stamp].astype("i8") for stamp in STAMPS]
        stages = [(b - a) * self._ns for a, b in pairwise(stamps)]
        self._means = [float(stage.mean()) for stage in stages]
        slowest = int((stamps[-1] - stamps[0]).argmax())
        name = syscall_name(int(batch["number"][slowest]))
        self._slow.appendleft((now, name, [float(stage[slowest]) for stage in stages]))

    def __rich__(self) -> RenderableType:
        """The picture as it is now."""
        since = time.monotonic() - self._began
        head = Text(f"{self._program} · {since:.0f} s · Ctrl-C ends it", "bold", no_wrap=True)
        lost = Text(f"{self._lost:,} lost", "red" if self._lost else "green")
        calls, rate = f"{self._calls:,} calls", f"{self._rate:,.0f} calls/s"
        if self._every > 1:
            calls, rate = f"{calls} recorded, one of {self._every}", f"{rate} of these"
        counts = Text.assemble(f"{calls} · {rate} · ", lost)
        grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for name in ("", *STAGES, "total"):
            grid.add_column(name, justify="right" if name else "left", min_width=10, no_wrap=True)
        if self._means:
            cells = [*self._means, sum(self._means)]
            grid.add_row("mean ns, lately", *(f"{value:,.0f}" for value in cells))
        now = time.monotonic()
        for when, name, stages in self._slow:
            cells = [*stages, sum(stages)]
            label = f"{name[:15]} {now - when:3.0f} s ago"
            grid.add_row(label, *(f"{value:,.0f}" for value in cells), style="dim")
        said = [Text(self._unrecorded, "yellow")] if self._unrecorded else []
        return Group(head, counts, *said, Text(), grid, Text(_FOOT, "dim"))


@contextmanager
def shown(session: TraceSession, program: str) -> Generator[None]:
    """Draw what a session sees, on standard error; the terminal is given back as it was."""
    kernel = session.probing.kernel
    every = session.record_every
    view = View(session.clock.fit().ns_per_cycle, program, lambda: kernel.executed, every)
    console = Console(stderr=True)
    with Live(view, console=console, screen=True, auto_refresh=False) as live:

        def look(drain: Drain) -> None:
            view.look(drain)
            live.refresh()

        with session.shown_to(look):
            yield
