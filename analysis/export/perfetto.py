# SPDX-License-Identifier: MIT
"""A timeline in Perfetto's own format, written as the trace is read.

Each call is a slice on its thread's track, cut into stages, and a slice on its service CPU's track;
an arrow leads from post through the service to complete. The kernel's events stand on a track per
probe and CPU. Calls of a thread that overlap, because they were posted ahead, take tracks of their
own beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from memsc.analysis.data.distinct import distinct
from memsc.analysis.data.rounds import coded
from memsc.analysis.export.kernel_events import SWITCH, Events, kernel_events
from memsc.analysis.export.perfetto_file import (
    BEGIN,
    END,
    INSTANT,
    PerfettoFile,
    always,
    annotation,
    event,
    flow,
    named,
)
from memsc.analysis.export.protobuf import Part
from memsc.analysis.export.timeline import edges_of, first_calls, flag_names, lanes
from memsc.analysis.trace import Trace
from memsc.tracer.format import FLAGS, NAME, STAGES, STAMPS, RoundKey

CALLS_PER_ARM = 20_000
"""What Perfetto's viewer shows at ease; all calls of a long trace would be gigabytes."""

_BUFFER = 1 << 20
DIRECT = "direct"
_BEHIND = 1 << 16
_LEADING = ("time", "cpu", "kind")


def write_perfetto(trace: Trace, path: Path, per_arm: int | None = CALLS_PER_ARM) -> str:
    """Writes the first calls of each arm with what the kernel did meanwhile.

    Args:
        trace: the trace; narrow it by `where` and windows for other calls than the first.
        path: the file.
        per_arm: calls of each arm; None for all.
    """
    with path.open("wb", _BUFFER) as file:
        out = _Timeline(PerfettoFile(file, trace.session.clock), trace)
        for key, table in first_calls(trace, per_arm):
            out.calls(key, table)
        start, end = out.windows()
        for events in kernel_events(trace.folder, start, end) if len(start) else ():
            out.events(events)
    which = "the first of each arm" if per_arm is not None else "all"
    said = f"{out.number} calls, {which}, {out.seen} kernel events"
    clock = "CLOCK_MONOTONIC"
    if trace.session.clock.boottime_offset_ns is not None:
        clock += " with a snapshot to CLOCK_BOOTTIME"
    return f"{said}; {clock}"


class _Timeline:
    def __init__(self, file: PerfettoFile, trace: Trace) -> None:
        self.file, self.trace = file, trace
        self.number = self.seen = 0
        self._busy: dict[object, tuple[int, int]] = {}
        self._windows: dict[RoundKey, tuple[int, int]] = {}
        self._threads: dict[int, str] = {}

    def windows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When the calls that were written began and ended, round by round."""
        found = np.array(sorted(self._windows.values()), np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def calls(self, key: RoundKey, table: pa.Table) -> None:
        """A part of one round."""
        table = table.take(np.argsort(table["called"].to_numpy(), kind="stable"))
        edges = edges_of(table, self.trace.session.clock)
        low, high = int(edges[0].min()), int(edges[-1].max())
        before = self._windows.get(key, (low, high))
        self._windows[key] = min(low, before[0]), max(high, before[1])
        columns = dict(zip(STAMPS, edges, strict=True)) | self._common(table)
        columns["track"] = self._applications(key, table, edges)
        if self.trace.session.arms[key.arm].transport == DIRECT:
            self.file.write(self._direct(), columns)
        else:
            self.file.write(self._forwarded(), columns)
            columns["track"] = self._services(key, table, edges)
            self.file.write(self._served(), columns)
        self.number += table.num_rows

    def _common(self, table: pa.Table) -> dict[str, NDArray[np.int64]]:
        codes, names = coded(table, "syscall")
        name = np.array([self.file.name(text) for text in names], np.int64)
        found, index = np.unique(table["flags"].to_numpy(), return_inverse=True)
        texts = [", ".join(flag_names(int(bits))) or "none" for bits in found]
        flags = np.array([self.file.text(text) for text in texts], np.int64)
        number = np.arange(self.number + 1, self.number + 1 + table.num_rows)
        result = table["result"].to_numpy()
        return {"name": name[codes], "flags": flags[index], "number": number, "result": result}

    def _applications(
        self, key: RoundKey, table: pa.Table, edges: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        tids = table["tid"].to_numpy()
        out = np.empty(len(tids), np.int64)
        # In the order of rounds, before the service.
        rank = len(self._windows)
        for tid in distinct(tids).tolist():
            self._threads.setdefault(tid, f"{key.arm} application")
            rows = np.flatnonzero(tids == tid)
            name = f"application thread {tid} · {key.case}, round {key.round}"
            out[rows] = self._lanes(
                self._arm(key.arm), (key, tid), name, rank, edges[[0, -1]][:, rows]
            )
        return out

    def _services(
        self, key: RoundKey, table: pa.Table, edges: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        cpus = table["service_cpu"].to_numpy()
        pooled = (table["flags"].to_numpy() & FLAGS["pooled"]) > 0
        out = np.empty(len(cpus), np.int64)
        for cpu in distinct(cpus).tolist():
            for pool in (False, True):
                rows = np.flatnonzero((cpus == cpu) & (pooled == pool))
                if len(rows):
                    rows = rows[np.argsort(edges[2][rows], kind="stable")]
                    name = f"service CPU {cpu}{' · calls that wait' if pool else ''}"
                    place = (key.arm, cpu, pool)
                    out[rows] = self._lanes(
                        self._arm(key.arm), place, name, _BEHIND + cpu, edges[2:4][:, rows]
                    )
        return out

    def _arm(self, arm: str) -> int:
        return self.file.track(arm, f"memsc: {arm}", rank=self.trace.arms.index(arm))

    def _lanes(
        self, parent: int, key: object, name: str, rank: int, spans: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """A track for each span (start and end in two rows): more than one where they overlap."""
        file, (start, end) = self.file, spans
        lane = lanes(start, end)
        busy, used = self._busy.get(key, (int(start[0]), 0))
        # What the part before left unfinished keeps its tracks.
        lane += used if busy > start[0] else 0
        top = int(lane.max()) + 1
        self._busy[key] = max(busy, int(end.max())), max(used, top)
        tracks = [
            file.track((key, i), name if i == 0 else f"{name} · {i + 1}", parent, rank)
            for i in range(top)
        ]
        return np.array(tracks, np.int64)[lane]

    def _told(self) -> tuple[Part, ...]:
        result = annotation(self.file.key("result"), "result")
        flags = annotation(self.file.key("flags"), "flags", text=True)
        return (*named("name"), result, flags)

    def _direct(self) -> Iterator[Part]:
        yield event(BEGIN, STAMPS[0], *self._told())
        yield event(END, STAMPS[-1])

    def _forwarded(self) -> Iterator[Part]:
        yield event(BEGIN, STAMPS[0], *self._told())
        arrows = {"post": flow("number"), "complete": flow("number", last=True)}
        for stage, start, end in zip(STAGES, STAMPS[:-1], STAMPS[1:], strict=True):
            yield event(BEGIN, start, always(self.file.name(stage)), *arrows.get(stage, ()))
            yield event(END, end)
        yield event(END, STAMPS[-1])

    def _served(self) -> Iterator[Part]:
        yield event(BEGIN, "picked", *self._told(), *flow("number"))
        yield event(END, "executed")

    def events(self, events: Events) -> None:
        """A part of one probe's events."""
        file, table = self.file, events.table
        cpus = table["cpu"].to_numpy()
        kernel = file.track("kernel", "kernel", rank=len(self.trace.arms))
        found, index = np.unique(cpus, return_inverse=True)
        tracks = [
            file.track(("kernel", events.probe, cpu), f"CPU {cpu} · {events.probe}", kernel, cpu)
            for cpu in found.tolist()
        ]
        columns: dict[str, NDArray[np.int64]] = {"track": np.array(tracks, np.int64)[index]}
        told: list[Part] = []
        for field in table.schema:
            if field.name in _LEADING:
                continue
            if field.type == NAME:
                codes, names = coded(table, field.name)
                values = np.array([file.text(text) for text in names], np.int64)[codes]
            else:
                values = table[field.name].to_numpy()
            columns[f"own {field.name}"] = values
            told.append(
                annotation(file.key(field.name), f"own {field.name}", text=field.type == NAME)
            )
        time = table["time"].to_numpy()
        columns["name"] = self._named(events.kind)
        happens = columns | {"time": time}
        instant = event(INSTANT, "time", *named("name"), *told)
        file.write([instant], _rows(happens, events.instants))
        begins = _rows(columns, events.begins)
        begins |= {"start": time[events.begins], "end": time[events.ends]}
        begins["name"] = self._slices(events)
        file.write([event(BEGIN, "start", *named("name"), *told), event(END, "end")], begins)
        self.seen += table.num_rows

    def _named(self, kind: NDArray[np.object_]) -> NDArray[np.int64]:
        found, index = np.unique(kind.astype(str), return_inverse=True)
        return np.array([self.file.name(text) for text in found.tolist()], np.int64)[index]

    def _slices(self, events: Events) -> NDArray[np.int64]:
        """Names of what lasts: the task that runs, or the interrupt."""
        kind = events.kind[events.begins]
        names = np.array([text.removesuffix("_entry") for text in kind], object)
        runs = kind == SWITCH
        if runs.any():
            tids = events.table["target_tid"].to_numpy()[events.begins][runs]
            found, index = np.unique(tids, return_inverse=True)
            tasks = [f"{self._threads.get(tid, 'task')} {tid}" for tid in found.tolist()]
            names[runs] = np.array(tasks, object)[index]
        return self._named(names)


def _rows(
    columns: dict[str, NDArray[np.int64]], rows: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    return {name: np.ascontiguousarray(values[rows]) for name, values in columns.items()}
