# SPDX-License-Identifier: MIT
"""What the rounds of a session run, and in which order."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memsc.runtime.launch import Launch


@dataclass(frozen=True)
class Work:
    """What a round runs.

    Args:
        case: its name in the trace.
        command: program and arguments.
        layered: the program knows nothing of memsc and is given the C-library layer; without, it
            brings libmemsc itself.
        timings: file it writes its intervals to, as 64-bit cycle counts; None if it does not.
        measures: file it writes what else it found to, names and numbers as JSON.
        per_interval: calls that one interval covers.
        timed: time the program as a whole, as one interval over all its calls.
        quiet: throw its output away.
        errors: file that its standard error goes to; None leaves it where ours goes.
        ring_records: records of each call ring; None leaves the launch's.
        ring_holds_all: nothing needs draining before it has ended, so nothing disturbs it.
        bare: detach every probe, to measure what those cost that are always there.
        beside: a program that runs beside it, on the service's CPU.
        isolated: keep everything else off the application's CPUs meanwhile.
        launch: what steers it in place of its arm's launch, whose arm and CPUs it shares.
    """

    case: str
    command: tuple[str, ...]
    layered: bool = True
    timings: Path | None = None
    measures: Path | None = None
    per_interval: int = 1
    timed: bool = False
    quiet: bool = False
    errors: IO[bytes] | None = None
    ring_records: int | None = None
    ring_holds_all: bool = False
    bare: bool = False
    beside: tuple[str, ...] = ()
    isolated: bool = False
    launch: Launch | None = None


def is_piped() -> bool:
    """Whether others read this process's standard output, through a pipe or a socket."""
    try:
        mode = os.fstat(1).st_mode
    except OSError:  # it has none
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def interleaved(arms: Sequence[str], rounds: int) -> list[tuple[str, int]]:
    """Arm and number of each round: A B C, C B A, A B C, …; drift falls on all arms alike."""
    order: list[tuple[str, int]] = []
    for number in range(rounds):
        turn = list(arms) if number % 2 == 0 else list(reversed(arms))
        order += [(arm, number) for arm in turn]
    return order
