# SPDX-License-Identifier: MIT
"""Opens traces for a command, with a progress bar on stderr where that is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memsc.analysis.fleet.fleet import Fleet
    from memsc.analysis.history.history import History
    from memsc.analysis.trace import Trace


@contextmanager
def opened(path: str) -> Generator[Trace]:
    """A trace; the bar advances by the rows read and goes when the work is done."""
    with opened_all([path]) as traces:
        yield traces[0]


@contextmanager
def opened_all(paths: Sequence[str]) -> Generator[list[Trace]]:
    """The same of several traces."""
    from memsc.analysis.trace import Trace
    from memsc.tracer.format import CALLS, open_trace

    _give_back()
    folders = [open_trace(path) for path in paths]
    if not sys.stderr.isatty():
        yield [Trace(folder) for folder in folders]
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        what = folders[0].path.name if len(folders) == 1 else f"{len(folders)} traces"
        rows = sum(folder.rows(CALLS) for folder in folders)
        task = bar.add_task(f"reading {what}", total=rows)
        yield [Trace(one, progress=lambda rows: bar.advance(task, rows)) for one in folders]


def calculate_alone() -> None:
    """Keeps numpy from threads of its own; to be called before numpy is imported.

    They wait for work by turning, beside those that read ahead: half of what an interval took.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _give_back() -> None:
    """Lets Arrow use the allocator that soonest gives back what parts needed, where it has it."""
    import pyarrow as pa

    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


@contextmanager
def opened_many(places: Sequence[str], cluster: str | None, skip_failed: bool) -> Generator[Fleet]:
    """The traces at some places; the bar advances by a trace as it is summarised."""
    from rich.console import Console
    from rich.progress import Progress

    from memsc.analysis.fleet.fleet import open_many

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("finding traces", total=None)
        fleet = open_many(
            places, cluster=cluster, skip_failed=skip_failed, progress=lambda _: bar.advance(task)
        )
        total = len(fleet.partitions)
        bar.update(task, description=f"reading {total} traces", total=total)
        yield fleet


@contextmanager
def opened_history(places: Sequence[str], skip_failed: bool) -> Generator[History]:
    """Sessions in the order of time; the bar advances by a trace as it is read."""
    from rich.console import Console
    from rich.progress import Progress

    from memsc.analysis.history.history import over_time

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("finding traces", total=None)
        found = over_time(places, skip_failed=skip_failed, progress=lambda _: bar.advance(task))
        total = len(found.paths)
        bar.update(task, description=f"reading {total} traces", total=total)
        yield found
