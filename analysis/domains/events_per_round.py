# SPDX-License-Identifier: MIT
"""What the kernel did while calls were forwarded: counted per round from the probes' events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.outside import Fills
from memsc.analysis.data.rounds import coded
from memsc.analysis.data.windows import Windows
from memsc.analysis.domains.busy import Busy, busy
from memsc.tracer.format import EVENTS, RoundKey, TraceFolder
from memsc.tracer.format.arrays import numbers

COUNTS = {
    "app_syscalls": ("syscalls", "system calls of application threads"),
    "ipis_to_app_cpu": ("ipi", "interrupts sent to the application CPU"),
    "ipis_to_service_cpu": ("ipi", "interrupts sent to the service CPU"),
    "ipis_taken_by_app_cpu": ("ipi", "interrupts taken by the application CPU"),
    "ipis_taken_by_service_cpu": ("ipi", "interrupts taken by the service CPU"),
    "wakeups_without_ipi": ("ipi", "wake-ups that needed no interrupt"),
    "app_cpu_switches": ("sched", "context switches on the application CPU"),
    "app_sleeps": ("sched", "times an application thread slept"),
    "app_preemptions": ("sched", "times an application thread was preempted"),
}
"""What is counted, the probe it comes from, and what it is."""

# `irq_work` interrupts are a CPU's own and `*_exit` is the same interrupt again.
_TAKEN = ("reschedule_entry", "call_function_single_entry", "call_function_entry")
STILL_RUNNABLE = (0, 256)

Marks = dict[str, NDArray[np.bool_]]


def df_events_per_round(
    trace: TraceFolder, apart: Collection[str] = (), fills: Fills | None = None
) -> pd.DataFrame:
    """Counts of kernel events between the first and the last forwarded call of each round.

    Args:
        trace: an opened trace.
        apart: arms of which to tell what waiting brought: a pass more over their calls.
        fills: what is known of when calls were made.

    Returns:
        One row per round that had probes: arm, case, round, check, calls, local, and the columns of
        `COUNTS`, NaN where the round did not have that probe; of the arms `apart` also `waits`
        (calls whose caller slept, or whose service had to be woken) and per count NAME_aside: those
        in it that fell into such calls, or came while nothing was forwarded (see
        `memsc.analysis.domains.busy`).
    """
    known = {r.key: r for r in trace.session.rounds if r.probes}
    windows = Windows.of(trace, known.keys(), fills)
    frame = windows.rounds[["arm", "case", "round", "calls"]].copy()
    keys = [RoundKey(*key) for key in frame[["arm", "case", "round"]].itertuples(False)]
    rounds = [known[key] for key in keys]
    spans = busy(trace, {key for key in keys if key.arm in apart})
    calm = [spans.get(key) for key in keys]
    frame["check"] = [r.check for r in rounds]
    frame["local"] = [r.local for r in rounds]
    frame["waits"] = [one.waits if one else np.nan for one in calm]
    for probe, mark in _MARKS.items():
        counts = _count(trace, probe, windows, calm, mark)
        had = np.array([probe in r.probes for r in rounds], np.bool_)
        for name, values in counts.items():
            frame[name] = np.where(had, values, np.nan)
    return frame


def _count(
    trace: TraceFolder,
    probe: str,
    windows: Windows,
    calm: list[Busy | None],
    mark: Callable[[pa.Table, NDArray[np.int64], Windows, _Cpus], Marks],
) -> Mapping[str, NDArray[np.int64]]:
    names = [name for name, (source, _) in COUNTS.items() if source == probe]
    names += [f"{name}_aside" for name in names]
    counts = {name: np.zeros(len(windows.rounds), np.int64) for name in names}
    cpus = _Cpus(trace, windows)
    for table in trace.batches(f"{EVENTS}/{probe}", _NEEDED[probe]):
        rounds = windows.rounds_at(numbers(table["time"]))
        inside = rounds >= 0
        if not inside.any():
            continue
        whole = bool(inside.all())
        events = table if whole else table.filter(pa.array(inside))
        rounds = rounds if whole else rounds[inside]
        aside = _aside(numbers(events["time"]), rounds, calm, own=probe == "syscalls")
        for name, marked in mark(events, rounds, windows, cpus).items():
            for column, chosen in ((name, marked), (f"{name}_aside", marked & aside)):
                counts[column] += np.bincount(rounds[chosen], minlength=len(windows.rounds))
    return counts


def _aside(
    time: NDArray[np.int64], rounds: NDArray[np.int64], calm: list[Busy | None], *, own: bool
) -> NDArray[np.bool_]:
    out = np.zeros(len(time), np.bool_)
    for number in distinct(rounds).tolist():
        spans = calm[number]
        if spans is not None:
            mine = rounds == number
            out[mine] = spans.aside(time[mine], own=own)
    return out


class _Cpus:
    """Which CPUs are whose in each round."""

    def __init__(self, trace: TraceFolder, windows: Windows) -> None:
        arms = [trace.session.arms[arm] for arm in windows.rounds["arm"]]
        self.app = self._table([arm.app_cpus for arm in arms])
        self.service = self._table([arm.service_cpus for arm in arms])

    @staticmethod
    def _table(cpus: list[list[int]]) -> NDArray[np.bool_]:
        width = 1 + max((cpu for some in cpus for cpu in some), default=0)
        # The last column stands for every CPU that is nobody's.
        table = np.zeros((len(cpus), width + 1), np.bool_)
        for row, some in enumerate(cpus):
            table[row, some] = True
        return table

    @staticmethod
    def hit(
        table: NDArray[np.bool_], rounds: NDArray[np.int64], cpu: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        nobody = table.shape[1] - 1
        return table[rounds, np.where((cpu >= 0) & (cpu < nobody), cpu, nobody)]


def _syscalls(table: pa.Table, rounds: NDArray[np.int64], windows: Windows, _: _Cpus) -> Marks:
    time, tid = numbers(table["time"]), numbers(table["tid"])
    return {"app_syscalls": _kind(table, "enter") & windows.in_thread(rounds, tid, time)}


def _ipi(table: pa.Table, rounds: NDArray[np.int64], _: Windows, cpus: _Cpus) -> Marks:
    sent, taken = _kind(table, "send"), _kind(table, *_TAKEN)
    target, cpu = numbers(table["target_cpu"]), numbers(table["cpu"])
    to_app = cpus.hit(cpus.app, rounds, target)
    to_service = cpus.hit(cpus.service, rounds, target)
    return {
        "ipis_to_app_cpu": sent & to_app,
        "ipis_to_service_cpu": sent & to_service,
        "ipis_taken_by_app_cpu": taken & cpus.hit(cpus.app, rounds, cpu),
        "ipis_taken_by_service_cpu": taken & cpus.hit(cpus.service, rounds, cpu),
        "wakeups_without_ipi": _kind(table, "wake_idle") & (to_app | to_service),
    }


def _sched(table: pa.Table, rounds: NDArray[np.int64], windows: Windows, cpus: _Cpus) -> Marks:
    switch = _kind(table, "switch")
    time, tid = numbers(table["time"]), numbers(table["tid"])
    left = switch & windows.in_thread(rounds, tid, time)
    state = numbers(table["state"])
    runnable = np.logical_or.reduce([state == one for one in STILL_RUNNABLE])
    return {
        "app_cpu_switches": switch & cpus.hit(cpus.app, rounds, numbers(table["cpu"])),
        "app_sleeps": left & ~runnable,
        "app_preemptions": left & runnable,
    }


_NEEDED = {
    "syscalls": ["time", "tid", "kind"],
    "ipi": ["time", "cpu", "target_cpu", "kind"],
    "sched": ["time", "cpu", "tid", "state", "kind"],
}
_MARKS = {"syscalls": _syscalls, "ipi": _ipi, "sched": _sched}


def _kind(table: pa.Table, *wanted: str) -> NDArray[np.bool_]:
    codes, names = coded(table, "kind")
    return np.array([name in wanted for name in names], np.bool_)[codes]
