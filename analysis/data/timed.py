# SPDX-License-Identifier: MIT
"""What programs measured around their calls: the one pass over the table `timings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.counting import count_times
from memsc.analysis.data.histogram import Histogram
from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import rounds_in
from memsc.tracer.format import TIMINGS, RoundKey, TraceFolder
from memsc.tracer.format.arrays import numbers

FINE = 16
"""Cycles per call are binned in sixteenths: an interval may cover calls shorter than a cycle."""

# A round is cut into blocks too, or one round would have no interval at all.
_BLOCKS = 8
_MOST_BLOCKS = 16
_READ = ["arm", "case", "round", "recording", "calls", "cycles"]


class Timed(NamedTuple):
    """What is timed together."""

    arm: str
    case: str
    recording: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring intervals of one round; mergeable, like a sketch of calls."""

    calls: int
    cycles: int
    histogram: Histogram

    @staticmethod
    def of(calls: Ints, cycles: Ints) -> Block:
        """Intervals, and how many calls each covers: at least one."""
        found = count_times(cycles, calls, FINE)
        return Block(int(calls.sum()), int(cycles.sum()), Histogram(*found))

    @staticmethod
    def merge(blocks: Sequence[Block]) -> Block:
        """All of them as one."""
        return Block(
            sum(block.calls for block in blocks),
            sum(block.cycles for block in blocks),
            Histogram.merge([block.histogram for block in blocks]),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    blocks: dict[Timed, dict[int, list[Block]]] = field(default_factory=dict)
    recorded: dict[RoundKey, tuple[int, int]] = field(default_factory=dict)


class TimedRounds:
    """The table `timings` of a trace, read when it is first needed, and once for all who do.

    Args:
        trace: an opened trace.
    """

    def __init__(self, trace: TraceFolder) -> None:
        self._trace = trace

    @property
    def blocks(self) -> dict[Timed, dict[int, list[Block]]]:
        """Outside check rounds: by what is timed together, then turn."""
        return self._found.blocks

    @property
    def recorded(self) -> dict[RoundKey, tuple[int, int]]:
        """Of each round with recording on that timed calls: how many, and the cycles they took."""
        return {key: sums for key, sums in self._found.recorded.items() if sums[0]}

    @cached_property
    def _found(self) -> _Found:
        found = _Found()
        rounds = self._trace.session.rounds
        checks, turns = {r.key for r in rounds if r.check}, {r.key: r.turn for r in rounds}
        for key, recording, calls, cycles in self._intervals():
            if recording:
                before = found.recorded.get(key, (0, 0))
                sums = before[0] + int(calls.sum()), before[1] + int(cycles.sum())
                found.recorded[key] = sums
            counted = _chosen(calls > 0, calls, cycles)
            if not len(counted[0]) or key in checks:
                continue
            of_turns = found.blocks.setdefault(Timed(key.arm, key.case, recording), {})
            # One that a killed session did not finish stands beside no other.
            blocks = of_turns.setdefault(turns.get(key, -1 - key.round), [])
            pieces = min(len(counted[0]), _BLOCKS)
            cut = (np.array_split(values, pieces) for values in counted)
            blocks += [Block.of(*both) for both in zip(*cut, strict=True)]
            while len(blocks) > _MOST_BLOCKS:
                blocks[:] = [Block.merge(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
        return found

    def _intervals(self) -> Iterator[tuple[RoundKey, bool, Ints, Ints]]:
        for table in self._trace.batches(TIMINGS, _READ):
            calls, cycles, recording = (numbers(table[n]) for n in ("calls", "cycles", "recording"))
            for key, rows in rounds_in(table):
                on = recording[rows] != 0
                for flag in (False, True):
                    mine = _chosen(on == flag, calls[rows], cycles[rows])
                    if len(mine[0]):
                        yield key, flag, *mine


def _chosen(which: NDArray[np.bool_], calls: Ints, cycles: Ints) -> tuple[Ints, Ints]:
    # Mostly all or none: that costs no copy.
    if which.all():
        return calls, cycles
    if not which.any():
        return calls[:0], cycles[:0]
    return calls[which], cycles[which]
