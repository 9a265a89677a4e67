# SPDX-License-Identifier: MIT
"""What had a CPU instead of the program, as named intervals, from whichever probes a trace has.

The probe `noise` says it all. Without it, switches of `sched` and interrupts of `ipi` give a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import coded
from memsc.runtime.own_name import MEANINGS
from memsc.tracer.format import EVENTS, TraceFolder

TASK, SOFTIRQ, IRQ = 0, 1, 2
"""Levels: each takes the CPU from those before it."""

SOFTIRQS = (
    *("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"),
)
WAKES = ("interrupted by reschedule IPI", "interrupted by call IPI")
"""Interrupts by which one CPU has another look for a task to run."""
_VECTORS = {
    "timer": "interrupted by timer",
    "reschedule": WAKES[0],
    "call_function_single": WAKES[1],
    "call_function": WAKES[1],
    "irq_work": "interrupted by irq work",
    "platform": "interrupted by platform IPI",
    "thermal": "interrupted by thermal sensor",
    "shootdown": "TLB shoot-down",
}
_INSTANTS = {
    "fault_user": "page fault",
    "fault_kernel": "page fault",
    "flush_others": "TLB shoot-down",
    "migrate": "migrated",
}
_COLUMNS = ["time", "cpu", "pid", "tid", "kind"]


@dataclass(frozen=True, slots=True)
class Found:
    """Events as columns of one length.

    Attributes:
        frame: cpu, start, end (ns), level, pid, tid, name (what it was, or the thread's name), and
            `stolen` (ns); an instant has end == start, and `stolen` stands alone with level -1.
    """

    frame: pd.DataFrame

    def of(self, kind: str) -> pd.DataFrame:
        """`intervals`, `instants` or `stolen`, by time."""
        level, length = self.frame["level"], self.frame["end"] - self.frame["start"]
        chosen = {
            "intervals": (level >= 0) & (length > 0),
            "instants": (level >= 0) & (length == 0),
            "stolen": level < 0,
        }[kind]
        return self.frame[chosen].sort_values("start", ignore_index=True)


def intervals(trace: TraceFolder, start: Ints, end: Ints) -> Found:
    """Events that overlap any of some windows.

    Args:
        trace: an opened trace.
        start: begin of each window in nanoseconds; in any order, overlapping or not.
        end: of each.

    Memory grows with the events that are found, not with the trace.
    """
    windows = _Windows(start, end)
    names = interrupt_names(trace)
    source = _from_noise(trace, names, windows) if has_noise(trace) else _from_others(trace)
    parts = [_NOTHING]
    for frame in chain(source, _migrations(trace)):
        hit = frame[windows.hit(frame["start"].to_numpy(), frame["end"].to_numpy())]
        if len(hit):
            parts.append(hit)
    return Found(pd.concat(parts, ignore_index=True) if len(parts) > 1 else _NOTHING)


def has_noise(trace: TraceFolder) -> bool:
    """Whether the trace was made with the probe that sees everything."""
    status = trace.session.probes.get("noise")
    return (status is not None and status.attached) or f"{EVENTS}/noise" in trace.parts


def interrupt_names(trace: TraceFolder) -> Mapping[int, str]:
    """Names of the devices behind interrupt lines, as the session found them."""
    return trace.session.environment.interrupts or {}


def thread_name(name: str) -> str:
    """A thread's name without what tells it from its like: its CPU, its number.

    memsc's own processes are told as that.
    """
    if name in MEANINGS:
        return MEANINGS[name]
    return re.sub(r"/\d.*$|/u\d.*$", "", name) or "a thread without a name"


_NOTHING = pd.DataFrame(
    {
        **{n: pd.Series(dtype=np.int64) for n in ("cpu", "start", "end", "level", "pid", "tid")},
        "name": pd.Series(dtype=object),
        "stolen": pd.Series(dtype=np.int64),
    }
)


class _Windows:
    """The union of windows."""

    def __init__(self, start: Ints, end: Ints) -> None:
        order = np.argsort(start)
        self._start = start[order]
        self._until = np.maximum.accumulate(end[order]) if len(end) else end

    def hit(self, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which intervals (instants too) touch one."""
        first = np.searchsorted(self._until, start, "left")
        last = np.searchsorted(self._start, end, "right")
        return last > first


def _from_noise(
    trace: TraceFolder, names: Mapping[int, str], windows: _Windows
) -> Iterator[pd.DataFrame]:
    for whole in trace.batches(f"{EVENTS}/noise", [*_COLUMNS, "duration", "number", "name"]):
        time = whole["time"].to_numpy()
        # Few touch a window: names are made for those only.
        table = whole.filter(pa.array(windows.hit(time, time + whole["duration"].to_numpy())))
        if not table.num_rows:
            continue
        codes, kinds = coded(table, "kind")
        kind = np.array(kinds, object)[codes]
        number = table["number"].to_numpy()
        threads, labels = coded(table, "name")
        thread = np.array([thread_name(label) for label in labels], object)[threads]
        start = table["time"].to_numpy()
        label = np.array([_VECTORS.get(k, _INSTANTS.get(k, k)) for k in kinds], object)[codes]
        label = np.where(kind == "task", thread, label)
        for one, prefix, known in (
            ("softirq", "soft interrupt ", dict(enumerate(SOFTIRQS))),
            ("irq", "interrupted by ", names),
        ):
            mine = np.flatnonzero(kind == one)
            texts = {n: prefix + known.get(n, f"{one} {n}") for n in distinct(number[mine])}
            label[mine] = [texts[n] for n in number[mine]]
        stolen = kind == "stolen"
        level = np.where(kind == "task", TASK, np.where(kind == "softirq", SOFTIRQ, IRQ))
        yield pd.DataFrame(
            {
                "cpu": table["cpu"].to_numpy(),
                "start": start,
                "end": start + table["duration"].to_numpy(),
                "level": np.where(stolen, -1, level),
                "pid": table["pid"].to_numpy(),
                "tid": table["tid"].to_numpy(),
                "name": label,
                "stolen": np.where(stolen, number, 0),
            }
        )


def _migrations(trace: TraceFolder) -> Iterator[pd.DataFrame]:
    for table in trace.batches(f"{EVENTS}/sched"):
        codes, kinds = coded(table, "kind")
        if "migrate" not in kinds:
            continue
        moved = table.filter(pa.array(codes == kinds.index("migrate")))
        # The task that moves is what it is about, wherever that was decided.
        yield _frame(
            moved, moved["target_tid"].to_numpy(), moved["from_cpu"].to_numpy(), "migrated"
        )


def _frame(table: pa.Table, tid: Ints, cpu: Ints, name: str) -> pd.DataFrame:
    time = table["time"].to_numpy()
    columns = {"cpu": cpu, "start": time, "end": time, "tid": tid, "pid": table["pid"].to_numpy()}
    return pd.DataFrame(columns).assign(level=IRQ, name=name, stolen=0)


def _from_others(trace: TraceFolder) -> Iterator[pd.DataFrame]:
    for table in trace.batches(f"{EVENTS}/sched"):
        codes, kinds = coded(table, "kind")
        if "switch" not in kinds:
            continue
        frame = table.filter(pa.array(codes == kinds.index("switch"))).to_pandas()
        frame = frame.sort_values(["cpu", "time"], ignore_index=True)
        ends = frame.groupby("cpu")["time"].shift(-1)
        # A switch tells the process of the task that leaves: of one that comes, when it left once.
        owners = frame.drop_duplicates("tid").set_index("tid")["pid"]
        frame = frame.assign(end=ends)[ends.notna() & (frame["target_tid"] != 0)]
        yield pd.DataFrame(
            {
                "cpu": frame["cpu"],
                "start": frame["time"],
                "end": frame["end"].astype(np.int64),
                "level": TASK,
                "pid": frame["target_tid"].map(owners).fillna(0).astype(np.int64),
                "tid": frame["target_tid"],
                "name": "thread " + frame["target_tid"].astype(str),
                "stolen": 0,
            }
        )
    for table in trace.batches(f"{EVENTS}/ipi"):
        codes, kinds = coded(table, "kind")
        for kind in [one for one in kinds if one.endswith("_entry")]:
            mine = table.filter(pa.array(codes == kinds.index(kind)))
            label = _VECTORS[kind.removesuffix("_entry")]
            yield _frame(mine, mine["tid"].to_numpy(), mine["cpu"].to_numpy(), label)
