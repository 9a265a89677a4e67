# SPDX-License-Identifier: MIT
"""Streams a trace's calls into sketches: one part in memory at a time, whatever the trace's size.

A sketch belongs to a *cell* (arm, case, system call, mode) and, in it, to a *block*: a stretch of
one round. Blocks are what intervals are made of. They belong to the round, not to the cell, so a
block of two system calls is the same stretch of time for both. When a round has too many of them,
neighbours merge in pairs; that depends only on the order of the parts, so any machine gets the same
blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.modes import MODES, modes_of
from memsc.analysis.data.outside import Fills, timed_rounds
from memsc.analysis.data.rounds import Rows, chosen_rounds, coded, rounds_in, split
from memsc.analysis.data.selection import Selection
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.data.timed import TimedRounds
from memsc.runtime.errors import MemscError
from memsc.tracer.format import (
    CALLS,
    STAMPS,
    Part,
    Round,
    RoundKey,
    TraceFolder,
    read_part,
    read_rounds,
)
from memsc.tracer.format.ahead import ahead
from memsc.tracer.format.arrays import numbers

MOST_BLOCKS = 16
"""Of one round; fewer where an arm has many rounds, so that memory stays bounded."""
BLOCKS_OF_AN_ARM = 256
BLOCKS_OF_A_PART = 8
SMALLEST_BLOCK = 256
ALL = "all"
"""Stands for every system call together."""

Progress = Callable[[int], None]


class Cell(NamedTuple):
    """Calls that are reported together; `mode` is one of `memsc.analysis.data.modes.MODES`."""

    arm: str
    case: str
    syscall: str
    mode: str


class BlockKey(NamedTuple):
    """A stretch of one round."""

    round: int
    block: int


@dataclass(slots=True)
class Cells:
    """Sketches by cell and block, and what calls fill of the time measured around them.

    Attributes:
        sketches: by cell, then block.
        blocks: how many blocks each round has.
        most: how many a round of each arm and case may have.
        fills: of the selected calls.
    """

    sketches: dict[Cell, dict[BlockKey, Sketch]] = field(default_factory=dict)
    blocks: dict[RoundKey, int] = field(default_factory=dict)
    most: dict[tuple[str, str], int] = field(default_factory=dict)
    fills: Fills = field(default_factory=Fills)

    def add(self, part: Cells) -> None:
        """Appends the cells of the part that comes next in the trace."""
        shifts = {key: self.blocks.get(key, 0) for key in part.blocks}
        for cell, found in part.sketches.items():
            mine = self.sketches.setdefault(cell, {})
            for key, sketch in found.items():
                shift = shifts[RoundKey(cell.arm, cell.case, key.round)]
                mine[BlockKey(key.round, key.block + shift)] = sketch
        for key, count in part.blocks.items():
            self.blocks[key] = shifts[key] + count
            while self.blocks[key] > self.most.get((key.arm, key.case), MOST_BLOCKS):
                self._halve(key)

    def _halve(self, key: RoundKey) -> None:
        self.blocks[key] = (self.blocks[key] + 1) // 2
        for cell, found in self.sketches.items():
            if (cell.arm, cell.case) != (key.arm, key.case):
                continue
            pairs: dict[BlockKey, list[Sketch]] = {}
            for block in [block for block in found if block.round == key.round]:
                pair = BlockKey(key.round, block.block // 2)
                pairs.setdefault(pair, []).append(found.pop(block))
            found.update({pair: Sketch.merge(sketches) for pair, sketches in pairs.items()})

    def whole(self, cell: Cell) -> Sketch:
        """All calls of a cell."""
        return Sketch.merge(list(self.sketches[cell].values()))

    def of_round(self, cell: Cell, number: int) -> Sketch:
        """Calls of a cell in one round that has any."""
        found = self.sketches[cell].items()
        return Sketch.merge([sketch for key, sketch in found if key.round == number])

    def with_all(self) -> Cells:
        """Adds, for each arm, case and mode, the cell of every system call together."""
        together: dict[Cell, dict[BlockKey, list[Sketch]]] = {}
        for cell, found in self.sketches.items():
            blocks = together.setdefault(cell._replace(syscall=ALL), {})
            for key, sketch in found.items():
                blocks.setdefault(key, []).append(sketch)
        merged = {
            cell: {key: Sketch.merge(sketches) for key, sketches in sorted(blocks.items())}
            for cell, blocks in together.items()
        }
        return Cells({**merged, **self.sketches}, self.blocks, self.most, self.fills)


def scan(
    trace: TraceFolder,
    selection: Selection | None = None,
    progress: Progress | None = None,
    units: float | None = None,
    timed: TimedRounds | None = None,
) -> Cells:
    """Sketches the selected calls of a trace.

    Args:
        trace: an opened trace.
        selection: filters; by default all calls outside check rounds.
        progress: called with the number of rows after each part.
        units: units to a cycle, where sketches of other clocks are to be merged with these; by
            default they are in cycles.
        timed: the table `timings`, if others need it, too.
    """
    selection, parts = selection or Selection(), trace.parts.get(CALLS, [])
    rounds = chosen_rounds(trace, selection)
    # Of chosen calls nobody can tell which were the last ones.
    known = {} if selection.cut else timed_rounds(trace, timed or TimedRounds(trace))
    fills = Fills(known, whole=not selection.cut)
    cells = Cells(most=_most_blocks(trace.session.rounds), fills=fills)
    for part, table in _read_ahead(parts, selection, rounds):
        if table is not None:
            cells.add(sketch_table(table, rounds, units, fills))
        if progress:
            progress(part.rows)
    return cells


def _most_blocks(rounds: Iterable[Round]) -> dict[tuple[str, str], int]:
    """How many blocks a round of each arm and case may have."""
    count = Counter((r.arm, r.case) for r in rounds if not r.check)
    return {
        key: min(max(BLOCKS_OF_AN_ARM // number, 1), MOST_BLOCKS) for key, number in count.items()
    }


def _read_ahead(
    parts: Iterable[Part], selection: Selection, rounds: Collection[RoundKey] | None
) -> Iterator[tuple[Part, pa.Table | None]]:
    """Each part and its selected rows, if it may have any; the next is read meanwhile."""
    parts = list(parts)
    jobs = (partial(_selected, part, selection, rounds) for part in parts)
    yield from zip(parts, ahead(jobs), strict=True)


def _selected(
    part: Part, selection: Selection, rounds: Collection[RoundKey] | None
) -> pa.Table | None:
    columns = dict.fromkeys(
        ["arm", "case", "round", "tid", "syscall", "flags", *STAMPS, *selection.columns]
    )
    wanted = list(columns)
    table = read_part(part, wanted) if rounds is None else read_rounds(part, wanted, rounds)
    mask = None if table is None else selection.mask(table)
    if table is None or mask is None or mask.all():
        return table
    return table.filter(pa.array(mask))


def sketch_table(
    table: pa.Table,
    rounds: Collection[RoundKey] | None = None,
    units: float | None = None,
    fills: Fills | None = None,
) -> Cells:
    """Sketches rows of the table `calls`, in memory (see `scan`); what they fill goes to fills."""
    cells = Cells()
    if not table.num_rows:
        return cells
    stamps = [numbers(table[stamp]) for stamp in STAMPS]
    if units is not None:
        stamps = [np.zeros(table.num_rows, np.int64), *since_called(stages_of(table), units)]
    flags = numbers(table["flags"])
    for key, rows in rounds_in(table):
        if rounds is not None and key not in rounds:
            continue
        if fills is not None:
            fills.add(key, table, rows)
        count = _length(rows, table.num_rows)
        blocks = min(max(count // SMALLEST_BLOCK, 1), BLOCKS_OF_A_PART)
        cells.blocks[key] = blocks
        edges = np.linspace(0, count, blocks + 1).astype(np.int64)
        inner = _Inner(table, rows)
        for block in range(blocks):
            for cell, chosen in inner.cells(key, int(edges[block]), int(edges[block + 1])):
                sketch = Sketch.of(stamps, flags, chosen)
                if units is None:
                    _possible(int(sketch.mins.min()), int(sketch.maxs.max()))
                cells.sketches.setdefault(cell, {})[BlockKey(key.round, block)] = sketch
    return cells


def stages_of(table: pa.Table) -> NDArray[np.int64]:
    """The four stages and the total of each row: shape (5, n), cycles."""
    stages = np.empty((len(STAMPS), table.num_rows), np.int64)
    stamps = [numbers(table[stamp]) for stamp in STAMPS]
    for i in range(len(STAMPS) - 1):
        np.subtract(stamps[i + 1], stamps[i], out=stages[i])
    np.subtract(stamps[-1], stamps[0], out=stages[-1])
    if stages.size:
        _possible(int(stages.min()), int(stages.max()))
    return stages


def _possible(low: int, high: int) -> None:
    # Sums of such stages would be wrong: no call takes a month, and no two CPUs that memsc records
    # on are a second apart. What they are apart is measured, and a check.
    if high >= _LONGEST or low <= -_FARTHEST_BACK:
        how = "months apart" if high >= _LONGEST else "seconds back in time"
        why = f"the stamps of one are {how}: the counter jumped, or a part was changed"
        raise MemscError("cannot use the calls", why, "record again")


_LONGEST = 1 << 53
_FARTHEST_BACK = 1 << 32


def since_called(stages: NDArray[np.int64], units: float) -> NDArray[np.int64]:
    """When each stage ends, since its call began, in another unit: so many to a cycle.

    What is rounded is this, and no stage: so stages still sum to their total exactly.
    """
    return np.rint(np.cumsum(stages[:-1], axis=0) * units).astype(np.int64)


def _length(rows: Rows, total: int) -> int:
    return total if isinstance(rows, slice) else len(rows)


class _Inner:
    """Splits a round's rows by system call and mode."""

    def __init__(self, table: pa.Table, rows: Rows) -> None:
        syscall, self.names = coded(table, "syscall")
        self.codes = (syscall * len(MODES) + modes_of(table))[rows].astype(np.int64)
        self.rows = rows

    def cells(self, key: RoundKey, start: int, end: int) -> Iterator[tuple[Cell, Rows]]:
        for code, chosen in split(self.codes[start:end]):
            call, mode = divmod(code, len(MODES))
            cell = Cell(key.arm, key.case, self.names[call], MODES[mode])
            local = slice(start, end) if isinstance(chosen, slice) else chosen + start
            yield cell, local if isinstance(self.rows, slice) else self.rows[local]
