# SPDX-License-Identifier: MIT
"""Where calls come from, for profiler.firefox.com: its processed profile format, as JSON.

A thread of each arm is a thread there. Each call whose path was taken is a sample, of the weight of
the calls that it stands for, in milliseconds; and a marker, with its stages. Version 47 of the
format: every later reader takes it, and brings it up to its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from memsc.analysis.domains.stacks import Frame
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.tracer.format import STAGES

VERSION = 47
_CATEGORIES = (("System calls", "blue"), ("Program", "green"))
_SYSCALL, _PROGRAM = range(2)
_MS = 1e-6  # of a nanosecond
_LIBRARY = 1  # a resource's type

Json = dict[str, Any]


@dataclass(slots=True)
class _Tables:
    """A thread's tables; each string, function and stack is there once."""

    strings: dict[str, int] = field(default_factory=dict[str, int])
    resources: dict[str, int] = field(default_factory=dict[str, int])
    frames: dict[Frame, int] = field(default_factory=dict[Frame, int])
    stacks: dict[tuple[int | None, int], int] = field(
        default_factory=dict["tuple[int | None, int]", int]
    )

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def stack(self, frames: list[Frame]) -> int:
        prefix: int | None = None
        for one in frames:
            # Where in its function a call is made does not matter to a view by functions.
            shown = Frame(one.shown, one.module, 0)
            self.resources.setdefault(one.module, len(self.resources))
            frame = self.frames.setdefault(shown, len(self.frames))
            prefix = self.stacks.setdefault((prefix, frame), len(self.stacks))
        if prefix is None:
            raise ValueError("a stack has a frame")
        return prefix

    def encoded(self) -> Json:
        count = len(self.frames)
        modules = [self.string(module.rsplit("/", 1)[-1]) for module in self.resources]
        names = [self.string(frame.function) for frame in self.frames]
        kinds = [_SYSCALL if f.module == "" else _PROGRAM for f in self.frames]
        none, zeros = [None] * count, [0] * count
        return {
            "frameTable": {
                "length": count,
                "address": [-1] * count,
                "inlineDepth": zeros,
                "category": kinds,
                "subcategory": zeros,
                "func": list(range(count)),
                "nativeSymbol": none,
                "innerWindowID": none,
                "implementation": none,
                "line": none,
                "column": none,
                "optimizations": none,
            },
            "funcTable": {
                "length": count,
                "name": names,
                "isJS": [False] * count,
                "relevantForJS": [False] * count,
                "resource": [self.resources[frame.module] for frame in self.frames],
                "fileName": none,
                "lineNumber": none,
                "columnNumber": none,
            },
            "resourceTable": {
                "length": len(modules),
                "lib": [None] * len(modules),
                "name": modules,
                "host": [None] * len(modules),
                "type": [_LIBRARY] * len(modules),
            },
            "stackTable": {
                "length": len(self.stacks),
                "prefix": [prefix for prefix, _ in self.stacks],
                "frame": [frame for _, frame in self.stacks],
                "category": [kinds[frame] for _, frame in self.stacks],
                "subcategory": [0] * len(self.stacks),
            },
            "nativeSymbols": {
                "length": 0,
                **{name: [] for name in ("libIndex", "address", "name", "functionSize")},
            },
            "stringArray": list(self.strings),
        }


def write_firefox(trace: Trace, path: Path) -> str:
    """Samples and markers of the calls whose path was taken.

    Raises:
        MemscError: the probe `paths` was not attached, or no call was looked at.
    """
    calls = trace.paths.df_calls()
    if calls.empty:
        raise MemscError(
            f"cannot export {trace.name} as firefox", "no call was looked at", "record for longer"
        )
    clock = trace.session.clock
    starts = [r.start_ns for r in trace.session.rounds if r.start_ns is not None]
    start = min(starts, default=clock.anchor_ns)
    calls["at"] = (clock.ns(calls["called"].to_numpy()) - start) * _MS
    stands_for = _scales(trace, calls)
    threads = [
        _thread(trace, f"{arm}", int(str(tid)), mine, stands_for)
        for (arm, tid), mine in calls.groupby(["arm", "tid"], sort=False)
    ]
    profile = {
        "meta": _meta(trace, (start + (clock.realtime_offset_ns or 0)) * _MS, calls),
        "libs": [],
        "threads": threads,
        "pages": [],
        "counters": [],
        "profilerOverhead": [],
    }
    path.write_text(json.dumps(profile), encoding="utf-8")
    return f"{len(calls)} calls of {len(threads)} threads, samples and markers"


def _scales(trace: Trace, calls: pd.DataFrame) -> dict[tuple[str, ...], float]:
    """How much time of all calls a nanosecond of a sampled one stands for, by cell."""
    keys = ["arm", "case", "syscall"]
    whole = trace.paths.df_paths().groupby(keys)["total_ns"].sum()
    sampled = calls.groupby(keys)["total_ns"].sum()
    ratio = whole.div(sampled.where(sampled > 0)).fillna(1.0)
    rows = ratio.reset_index().itertuples(index=False, name=None)
    return {(str(arm), str(case), str(syscall)): float(value) for arm, case, syscall, value in rows}


def _thread(
    trace: Trace, arm: str, tid: int, calls: pd.DataFrame, stands_for: dict[tuple[str, ...], float]
) -> Json:
    tables, rows = _Tables(), calls.to_dict("records")
    stacks: list[int] = []
    weights: list[float] = []
    data: list[Json] = []
    for row in rows:
        frames = [*trace.paths.path(int(row["stack"])).frames, Frame(f"{row['syscall']}()", "", 0)]
        stacks.append(tables.stack(frames))
        key = (arm, str(row["case"]), str(row["syscall"]))
        weights.append(float(row["total_ns"]) * _MS * stands_for.get(key, 1.0))
        spent = {stage: float(row[f"{stage}_ns"]) * _MS for stage in STAGES}
        data.append({"type": "memsc", "case": row["case"], "result": int(row["result"]), **spent})
    names = [tables.string(str(row["syscall"])) for row in rows]
    starts = [float(row["at"]) for row in rows]
    ends = [at + float(row["total_ns"]) * _MS for at, row in zip(starts, rows, strict=True)]
    return {
        "name": f"{arm} {tid}",
        "isMainThread": False,
        "processType": "default",
        "processName": arm,
        "processStartupTime": 0,
        "processShutdownTime": None,
        "registerTime": 0,
        "unregisterTime": None,
        "pausedRanges": [],
        "pid": arm,
        "tid": tid,
        "samples": {
            "length": len(rows),
            "stack": stacks,
            "time": starts,
            "weight": weights,
            "weightType": "tracing-ms",
        },
        "markers": {
            "length": len(rows),
            "name": names,
            "startTime": starts,
            "endTime": ends,
            "phase": [1] * len(rows),  # an interval
            "category": [_SYSCALL] * len(rows),
            "data": data,
        },
        **tables.encoded(),
    }


def _meta(trace: Trace, start_ms: float, calls: pd.DataFrame) -> Json:
    shown = ["marker-chart", "marker-table"]
    fields = [
        {"key": "case", "label": "case", "format": "string"},
        {"key": "result", "label": "result", "format": "integer"},
        *({"key": stage, "label": stage, "format": "duration"} for stage in STAGES),
    ]
    span = float(calls["at"].max() - calls["at"].min())
    return {
        "version": 24,  # of what a browser writes
        "preprocessedProfileVersion": VERSION,
        "product": f"memsc: {' '.join(trace.session.command) or trace.name}",
        "startTime": start_ms,
        "interval": span / max(len(calls) - 1, 1) or 1.0,
        "processType": 0,
        "stackwalk": 1,
        "debug": False,
        "symbolicated": True,
        "pausedRanges": [],
        "usesOnlyOneStackType": True,
        "doesNotUseFrameImplementation": True,
        "sourceCodeIsNotOnSearchfox": True,
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
        "extensions": {"length": 0, "baseURL": [], "id": [], "name": []},
        "categories": [
            {"name": name, "color": color, "subcategories": ["Other"]}
            for name, color in _CATEGORIES
        ],
        "markerSchema": [{"name": "memsc", "display": shown, "data": fields}],
    }
