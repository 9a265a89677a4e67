# SPDX-License-Identifier: MIT
"""What had a CPU instead of the program, as named intervals, from whichever probes a trace has.

The probe `noise` says it all. Without it, switches of `sched` and interrupts of `ipi` give a part.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.overlap import Ints
from memsc.analysis.data.rounds import coded
from memsc.runtime.own_name import MEANINGS
from memsc.tracer.format import EVENTS, TraceFolder, columns_of
from memsc.tracer.format.arrays import numbers

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
OWN = ("page fault", "migrated")
"""Instants that are a thread's own, or nothing to it."""
_COLUMNS = ["time", "cpu", "pid", "tid", "kind"]
# A long call may hold millions of events: they are kept as small as their values are.
_TYPES = {
    "cpu": np.int32,
    "start": np.int64,
    "end": np.int64,
    "level": np.int8,
    "pid": np.int32,
    "tid": np.int32,
    "name": np.int32,
    "stolen": np.int64,
}


@dataclass(frozen=True, slots=True)
class Found:
    """Events as columns of one length.

    Attributes:
        frame: cpu, start, end (ns), level, pid, tid, name (what it was, or the thread's name; a
            category), and `stolen` (ns); an instant has end == start, and `stolen` stands alone
            with level -1.
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
        return self.frame[chosen].sort_values("start", ignore_index=True, kind="stable")


def intervals(
    trace: TraceFolder,
    start: Ints,
    end: Ints,
    cpus: Sequence[Ints] = (),
    threads: Collection[int] | None = None,
) -> Found:
    """Events that overlap any of some windows.

    Args:
        trace: an opened trace.
        start: begin of each window in nanoseconds; in any order, overlapping or not.
        end: of each.
        cpus: CPUs that each window is about, a column for each of them; all CPUs if there is none.
        threads: of what befalls a thread alone (page faults, moves) only that of these threads and
            processes; None: of all.

    Memory grows with the events that are found, not with the trace.
    """
    windows, labels = _Windows(start, end, cpus), _Labels()
    names = interrupt_names(trace)
    noise = has_noise(trace)
    source = _from_noise(trace, names, windows) if noise else _from_others(trace)
    known = None if threads is None else np.array(sorted(threads), np.int64)
    parts: list[_Columns] = []
    for found in chain(source, _migrations(trace)):
        hit = windows.hit(found["cpu"], found["start"], found["end"])
        if known is not None:
            own = np.isin(found["name"], OWN)
            own[own] = ~(np.isin(found["tid"][own], known) | np.isin(found["pid"][own], known))
            hit &= ~own
        if hit.any():
            kept = {name: values[hit] for name, values in found.items()}
            kept["name"] = labels.places(kept["name"])
            parts.append({name: kept[name].astype(kind) for name, kind in _TYPES.items()})
    nothing = {name: np.zeros(0, kind) for name, kind in _TYPES.items()}
    columns: dict[str, Any] = {}
    for name in _TYPES:
        columns[name] = np.concatenate([nothing[name], *(part.pop(name) for part in parts)])
    columns["name"] = pd.Categorical.from_codes(columns["name"], labels.known)
    return Found(pd.DataFrame(columns, copy=False))


_Columns = dict[str, NDArray[Any]]


class _Labels:
    """Names of events, each once."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}

    @property
    def known(self) -> pd.Index:
        return pd.Index(list(self._place), dtype=object)

    def places(self, names: NDArray[np.object_]) -> NDArray[np.int64]:
        codes, found = pd.factorize(names)
        return np.array([self._place.setdefault(n, len(self._place)) for n in found])[codes]


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


class _Windows:
    """The union of windows, of each CPU or of all."""

    def __init__(self, start: Ints, end: Ints, cpus: Sequence[Ints]) -> None:
        self._of_all = None if len(cpus) else _union(start, end)
        self._of_cpu: dict[int, tuple[Ints, Ints]] = {}
        for cpu in distinct(np.concatenate(cpus)) if len(cpus) else ():
            about = np.logical_or.reduce([column == cpu for column in cpus])
            self._of_cpu[int(cpu)] = _union(start[about], end[about])

    def hit(self, cpu: Ints, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which intervals (instants too) touch one."""
        if self._of_all:
            return _touch(self._of_all, start, end)
        out = np.zeros(len(cpu), np.bool_)
        for one, windows in self._of_cpu.items():
            mine = np.flatnonzero(cpu == one)
            out[mine] = _touch(windows, start[mine], end[mine])
        return out


def _union(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(start)
    return start[order], np.maximum.accumulate(end[order]) if len(end) else end


def _touch(windows: tuple[Ints, Ints], start: Ints, end: Ints) -> NDArray[np.bool_]:
    begins, until = windows
    return np.searchsorted(begins, end, "right") > np.searchsorted(until, start, "left")


def _from_noise(
    trace: TraceFolder, names: Mapping[int, str], windows: _Windows
) -> Iterator[_Columns]:
    for whole in trace.batches(f"{EVENTS}/noise", [*_COLUMNS, "duration", "number", "name"]):
        time, cpu = numbers(whole["time"]), numbers(whole["cpu"])
        # Few touch a window: names are made for those only.
        hit = windows.hit(cpu, time, time + numbers(whole["duration"]))
        table = whole.filter(pa.array(hit))
        if not table.num_rows:
            continue
        codes, kinds = coded(table, "kind")
        kind = np.array(kinds, object)[codes]
        number = numbers(table["number"])
        threads, labels = coded(table, "name")
        thread = np.array([thread_name(label) for label in labels], object)[threads]
        start = numbers(table["time"])
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
        yield {
            "cpu": numbers(table["cpu"]),
            "start": start,
            "end": start + numbers(table["duration"]),
            "level": np.where(stolen, -1, level),
            "pid": numbers(table["pid"]),
            "tid": numbers(table["tid"]),
            "name": label,
            "stolen": np.where(stolen, number, 0),
        }


def _migrations(trace: TraceFolder) -> Iterator[_Columns]:
    name, columns = f"{EVENTS}/sched", ["time", "pid", "target_tid", "from_cpu", "kind"]
    if any(set(columns) - set(columns_of(part)) for part in trace.parts.get(name, [])[:1]):
        return  # moves were not recorded
    for table in trace.batches(name, columns):
        codes, kinds = coded(table, "kind")
        if "migrate" not in kinds:
            continue
        moved = table.filter(pa.array(codes == kinds.index("migrate")))
        # The task that moves is what it is about, wherever that was decided.
        yield _instants(moved, numbers(moved["target_tid"]), numbers(moved["from_cpu"]), "migrated")


def _instants(table: pa.Table, tid: Ints, cpu: Ints, name: str) -> _Columns:
    time = numbers(table["time"])
    same = {"level": IRQ, "name": name, "stolen": 0}
    columns = {"cpu": cpu, "start": time, "end": time, "tid": tid, "pid": numbers(table["pid"])}
    alike = {
        key: np.full(len(time), one, object if key == "name" else None) for key, one in same.items()
    }
    return columns | alike


def _from_others(trace: TraceFolder) -> Iterator[_Columns]:
    for table in trace.batches(f"{EVENTS}/sched", [*_COLUMNS, "target_tid"]):
        codes, kinds = coded(table, "kind")
        if "switch" not in kinds:
            continue
        switches = table.filter(pa.array(codes == kinds.index("switch"))).drop_columns(["kind"])
        frame = switches.to_pandas().sort_values(["cpu", "time"], ignore_index=True)
        ends = frame.groupby("cpu")["time"].shift(-1)
        # A switch tells the process of the task that leaves: of one that comes, when it left once.
        owners = frame.drop_duplicates("tid").set_index("tid")["pid"]
        frame = frame.assign(end=ends)[ends.notna() & (frame["target_tid"] != 0)]
        tid = frame["target_tid"].to_numpy(np.int64)
        threads, place = np.unique(tid, return_inverse=True)
        yield {
            "cpu": frame["cpu"].to_numpy(np.int64),
            "start": frame["time"].to_numpy(np.int64),
            "end": frame["end"].to_numpy(np.int64),
            "level": np.full(len(frame), TASK),
            "pid": frame["target_tid"].map(owners).fillna(0).to_numpy(np.int64),
            "tid": tid,
            "name": np.array([f"thread {one}" for one in threads], object)[place],
            "stolen": np.zeros(len(frame), np.int64),
        }
    for table in trace.batches(f"{EVENTS}/ipi", _COLUMNS):
        codes, kinds = coded(table, "kind")
        for kind in [one for one in kinds if one.endswith("_entry")]:
            mine = table.filter(pa.array(codes == kinds.index(kind)))
            label = _VECTORS[kind.removesuffix("_entry")]
            yield _instants(mine, numbers(mine["tid"]), numbers(mine["cpu"]), label)
