# SPDX-License-Identifier: MIT
"""One trace of a fleet, summarised: a pure function of its files, so any machine may do it.

Hosts count cycles of different lengths, so a fleet's sketches are in sixteenths of a nanosecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memsc.analysis.data.scan import BlockKey, Cell, scan
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.domains.checks import Checks
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.tracer.format import Arm, Environment, TraceFolder, open_trace

UNITS = 16
"""Of a fleet's sketches, to the nanosecond."""
MOST_BLOCKS = 4
"""Of a cell of one trace: intervals are over traces, and the sketches of all are in memory."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Where one trace of a fleet lies, and whose it is.

    Attributes:
        path: of the folder, absolute, or with its protocol (`s3://…`).
        host: as a folder `host=NAME` above it says, or else the folder it lies in: a session
            names no host, on purpose.
        run: the trace's name.
    """

    path: str
    host: str
    run: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a fleet keeps of one trace.

    Attributes:
        cells: sketches in units of 1/`UNITS` ns, in few blocks, by cell.
        withheld: why this trace's figures may not be trusted; empty if they may.
        unrecorded: what ran and was not recorded.
        uncounted: what nobody counted that may have been called besides.
    """

    partition: Partition
    created: str
    memsc: str
    environment: Environment
    arms: dict[str, Arm]
    cells: dict[Cell, list[Sketch]]
    withheld: list[str]
    unrecorded: list[str]
    uncounted: list[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """A trace that could not be read: which, and why."""

    partition: Partition
    what: str
    why: str
    remedy: str


def summarise_partition(partition: Partition, selection: Selection) -> Summary | Failure:
    """Reads one trace, a part at a time.

    What is wrong with the trace is an answer, not an exception: the work was done, and doing it
    elsewhere would change nothing.
    """
    try:
        folder = open_trace(partition.path)
        return _summary(partition, folder, selection)
    except MemscError as error:
        return Failure(partition, error.what, error.why, error.remedy)


def _summary(partition: Partition, folder: TraceFolder, selection: Selection) -> Summary:
    session = folder.session
    Trace(folder).stages.need_sample(f"cannot count in {folder.path.name}")
    cells = scan(folder, selection, units=session.clock.ns_per_cycle * UNITS).with_all()
    checks = Checks(folder, lambda: cells, Trace(folder).arms, 1 / UNITS)
    few = {cell: _few(blocks) for cell, blocks in cells.sketches.items()}
    return Summary(
        partition,
        session.created,
        session.memsc,
        session.environment,
        session.arms,
        few,
        checks.withheld(),
        checks.unrecorded(),
        checks.uncounted(),
    )


def _few(blocks: dict[BlockKey, Sketch]) -> list[Sketch]:
    order = sorted(blocks)
    groups = np.array_split(np.arange(len(order)), min(len(order), MOST_BLOCKS))
    return [Sketch.merge([blocks[order[i]] for i in group]) for group in groups]
