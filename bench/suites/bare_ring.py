# SPDX-License-Identifier: MIT
"""A bare ring between the same two CPUs: what handing a call over costs at the least.

`memsc-work ring` searches for its best variant on the machine at hand and then does the work. What
memsc takes beside it is memsc's own doing; what the ring takes beside a direct call is the
machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.session.work import Work

NAME: str = "bare-ring"
"""Of the arm."""


def arms(placed: Sequence[Launch]) -> list[Launch]:
    """It as an arm, on the CPUs of the others; none where both sides would be on one."""
    launch = max(placed, key=lambda arm: len(arm.service_cpus))
    if not launch.service_cpus or launch.app_cpus == launch.service_cpus:
        return []
    return [replace(launch, transport="direct", service="inline", peer=NAME)]


def is_it(launch: Launch) -> bool:
    """Whether an arm is the ring."""
    return launch.peer == NAME


def work(plain: Work, launch: Launch, folder: Path, *, recorded: bool = False) -> Work:
    """The same work by the ring.

    Args:
        plain: what memsc-work does by itself: `sync` or `batch`.
        launch: the arm.
        folder: for what is written.
        recorded: of `sync`: each call is stamped five times and recorded, by the ring itself.
    """
    _, what, *more, timings = plain.command
    if recorded:
        what = "recorded"
    elif what == "sync":
        what, more = "calls", ["getppid", str(folder), *more]
    measures = folder / "measures"
    measures.unlink(missing_ok=True)
    cpus = (str(launch.app_cpus[0]), str(launch.service_cpus[0]))
    command = (str(WORK), "ring", *cpus, what, *more, timings, str(measures))
    return replace(plain, command=command, measures=measures)
