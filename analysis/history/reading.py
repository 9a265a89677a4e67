# SPDX-License-Identifier: MIT
"""What a history keeps of a trace: what is followed, and under what conditions it was recorded."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from memsc.analysis.comparison import replicas
from memsc.analysis.comparison.replicas import PROGRAM, Replica
from memsc.analysis.data.estimates import Estimate, mean_of
from memsc.analysis.data.modes import WAIT
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.history.model import HistoryPoint, HistoryTrace
from memsc.analysis.trace import Trace
from memsc.tracer.format import open_trace

METRICS = ((TOTAL, "mean"), (TOTAL, "p50"), (TOTAL, "p99"), (PROGRAM, "mean"))
"""What is followed: a call's total time, and the program's."""

Key = tuple[str, str, str, str, str]
"""Arm, case, mode, stage and metric."""


@dataclass(frozen=True)
class Reading:
    """What is kept of a trace."""

    trace: HistoryTrace
    machine: dict[str, str]
    points: dict[Key, HistoryPoint]


def reading_of(path: str) -> Reading:
    """Reads a trace, a part at a time.

    Raises:
        MemscError: it cannot be read.
    """
    folder = open_trace(path)
    trace = Trace(folder)
    session, machine = trace.session, trace.session.environment
    withheld = trace.checks.withheld()
    points: dict[Key, HistoryPoint] = {}
    if trace.stages.chosen:
        withheld.append(trace.stages.chosen)
    else:
        points = dict(_points(trace))
    told = HistoryTrace(
        trace.name, path, session.created, session.memsc, session.build, session.command, withheld
    )
    conditions = {
        "memsc": session.memsc,
        "program": session.build or "not known",
        "command": shlex.join(session.command),
        "kernel": str(machine.kernel),
        "CPU": str(machine.cpu_model),
        "CPUs online": str(machine.cpus_online),
        "isolated CPUs": str(machine.isolated_cpus),
        "idle driver": str(machine.idle_driver),
        "governor": str(machine.cpufreq_governor),
    }
    return Reading(told, conditions, points)


def _points(trace: Trace) -> Iterator[tuple[Key, HistoryPoint]]:
    frame = trace.stages.df_stages(syscalls=False)
    frame = frame[(frame["stage"] == TOTAL) & (frame["mode"] != WAIT)]
    one = replicas.session(trace)
    for row in frame.to_dict("records"):
        cell = (str(row["arm"]), str(row["case"]), str(row["mode"]))
        for stage, metric in METRICS:
            if stage == PROGRAM:
                if found := _program(one, cell):
                    yield (*cell, stage, metric), found
            else:
                yield (*cell, stage, metric), _figure(row, metric)


def _figure(row: dict[Any, Any], metric: str) -> HistoryPoint:
    value, low, high = (_known(row[f"{metric}{end}_ns"]) for end in ("", "_low", "_high"))
    reason = row.get(f"{metric}_reason")
    basis = str(row["interval"]) if low is not None else "none"
    return HistoryPoint(0, value, low, high, basis, reason if value is None else None)


def _program(one: Replica, cell: tuple[str, str, str]) -> HistoryPoint | None:
    arm, case, mode = cell
    timed = one.timed.get((arm, case))
    seconds = one.seconds.get((arm, case))
    if not seconds or timed is None or (timed.mode, timed.syscall) != (mode, ALL):
        return None
    found = mean_of([second * 1e9 for second in seconds], f"{arm}/{case}/{PROGRAM}")
    if len(seconds) == 1:
        found = Estimate(found.value)
    basis = "rounds" if found.low is not None else "none"
    return HistoryPoint(0, found.value, found.low, found.high, basis, None)


def _known(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
