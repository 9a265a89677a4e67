# SPDX-License-Identifier: MIT
# pyarrow's published stubs leave type parameters open (see tracer/format.py).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Chrome's trace JSON: a timeline of the first calls of each arm, for Perfetto's viewer.

Each call is a slice on its thread's track, cut into stages, and a slice on its service CPU's track;
an arrow leads from one to the other and back. Times are CLOCK_MONOTONIC, in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from memsc.analysis.scan import chosen_rounds, rounds_in
from memsc.analysis.trace import Trace
from memsc.tracer.format import CALLS, FLAGS, STAGES, STAMPS, Clock

CALLS_PER_ARM = 2000
"""A viewer wants a timeline that fits a screen, not a million slices."""

_KEPT = ["arm", "case", "round", "tid", "syscall", "result", "service_cpu", "flags", *STAMPS]
# Service tracks stand beside the arm's threads, in a group of their own.
_SERVICE = 1

Event = dict[str, Any]


def write_chrome(trace: Trace, path: Path) -> str:
    """Writes the first calls of each arm; narrow the trace by `where` and windows for others."""
    frames = list(_first_calls(trace))
    events: list[Event] = []
    for group, frame in enumerate(frames):
        events += _named(2 * group, str(frame["arm"].iloc[0]), frame)
        events += _slices(2 * group, frame, trace.session.clock)
    other = {"clock": "CLOCK_MONOTONIC", "trace": trace.name, "memsc": trace.session.memsc}
    content = {"traceEvents": events, "displayTimeUnit": "ns", "otherData": other}
    path.write_text(json.dumps(content))
    return f"{sum(map(len, frames))} calls, the first of each arm; CLOCK_MONOTONIC"


def _first_calls(trace: Trace) -> Iterator[pd.DataFrame]:
    rounds = chosen_rounds(trace.folder, trace.selection)
    missing = dict.fromkeys(trace.arms, CALLS_PER_ARM)
    found: dict[str, list[pd.DataFrame]] = {}
    columns = list(dict.fromkeys([*_KEPT, *trace.selection.columns]))
    for part in trace.folder.batches(CALLS, columns):
        mask = trace.selection.mask(part)
        table = part if mask is None else part.filter(pa.array(mask))
        if not table.num_rows:
            continue
        for key, rows in rounds_in(table):
            if rounds is not None and key not in rounds:
                continue
            at = np.arange(table.num_rows)[rows][: missing.get(key.arm, 0)]
            if len(at):
                found.setdefault(key.arm, []).append(table.take(at).to_pandas())
                missing[key.arm] -= len(at)
        if not any(missing.values()):
            break
    for arm in trace.arms:
        if arm in found:
            yield pd.concat(found[arm], ignore_index=True)


def _named(group: int, arm: str, frame: pd.DataFrame) -> Iterator[Event]:
    def name(kind: str, pid: int, tid: int, text: str) -> Event:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": text}}

    yield name("process_name", group, 0, f"{arm}: application")
    yield name("process_name", group + _SERVICE, 0, f"{arm}: service")
    for tid in sorted(set(frame["tid"].tolist())):
        yield name("thread_name", group, tid, f"thread {tid}")
    for cpu in sorted(set(frame["service_cpu"].tolist())):
        yield name("thread_name", group + _SERVICE, cpu, f"CPU {cpu}")


def _slices(group: int, frame: pd.DataFrame, clock: Clock) -> Iterator[Event]:
    stamps = {name: clock.ns(frame[name].to_numpy(np.int64)) / 1000 for name in STAMPS}
    edges = np.stack([stamps[name] for name in STAMPS], axis=1).tolist()
    frame = frame.astype({"syscall": object})
    rows = frame[["tid", "syscall", "result", "service_cpu", "flags"]].itertuples(index=False)
    for number, ((tid, syscall, result, cpu, flags), times) in enumerate(
        zip(rows, edges, strict=True)
    ):
        names = [name for name, bit in FLAGS.items() if flags & bit]
        common = {"pid": group, "tid": tid, "cat": "call"}
        served = {"pid": group + _SERVICE, "tid": cpu, "cat": "service"}
        flow = {"name": "forwarded", "cat": "flow", "id": group * CALLS_PER_ARM + number}
        # Calls posted ahead overlap on their thread: only asynchronous slices may.
        if flags & FLAGS["async"]:
            whole = {"name": syscall, "cat": "call", "id": number, **common}
            yield {**whole, "ph": "b", "ts": times[0], "args": {"result": result, "flags": names}}
            yield {**whole, "ph": "e", "ts": times[-1]}
        else:
            yield _slice(common, syscall, times[0], times[-1], {"result": result, "flags": names})
            for stage, start, end in zip(STAGES, times[:-1], times[1:], strict=True):
                yield _slice(common, stage, start, end, {})
        yield _slice(served, syscall, times[2], times[3], {"result": result})
        yield {**flow, "ph": "s", "pid": group, "tid": tid, "ts": times[1]}
        yield {**flow, "ph": "t", "pid": group + _SERVICE, "tid": cpu, "ts": times[2]}
        yield {**flow, "ph": "f", "bp": "e", "pid": group, "tid": tid, "ts": times[4]}


def _slice(track: Event, name: str, start: float, end: float, args: Event) -> Event:
    shown = {"ph": "X", "name": name, "ts": start, "dur": max(end - start, 0.0)}
    return {**track, **shown, "args": args}
