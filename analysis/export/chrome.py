# SPDX-License-Identifier: MIT
"""Chrome's trace JSON: a timeline of the first calls of each arm, for Perfetto's viewer.

Each call is a slice on its thread's track, cut into stages, and a slice on its service CPU's track;
an arrow leads from one to the other and back. Times are CLOCK_MONOTONIC, in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from memsc.analysis.export.timeline import CALLS_PER_ARM, edges_of, first_calls, flag_names
from memsc.analysis.trace import Trace
from memsc.tracer.format import FLAGS, STAGES, Clock

# Service tracks stand beside the arm's threads, in a group of their own.
_SERVICE = 1

Event = dict[str, Any]


def write_chrome(trace: Trace, path: Path, per_arm: int | None = CALLS_PER_ARM) -> str:
    """Writes the first calls of each arm, None for all of them.

    Narrow the trace by `where` and windows for others. Everything is held in memory: what is long
    is better written for Perfetto (`memsc.analysis.export.perfetto`).
    """
    frames = list(_frames(trace, per_arm))
    events: list[Event] = []
    for group, frame in enumerate(frames):
        events += _named(2 * group, str(frame["arm"].iloc[0]), frame)
        events += _slices(2 * group, frame, trace.session.clock)
    other = {"clock": "CLOCK_MONOTONIC", "trace": trace.name, "memsc": trace.session.memsc}
    content = {"traceEvents": events, "displayTimeUnit": "ns", "otherData": other}
    path.write_text(json.dumps(content), encoding="utf-8")
    which = "the first of each arm" if per_arm is not None else "all"
    return f"{sum(map(len, frames))} calls, {which}; CLOCK_MONOTONIC"


def _frames(trace: Trace, per_arm: int | None) -> Iterator[pd.DataFrame]:
    found: dict[str, list[pd.DataFrame]] = {}
    for key, table in first_calls(trace, per_arm):
        found.setdefault(key.arm, []).append(table.to_pandas())
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
    edges = (edges_of(frame, clock) / 1000).T.tolist()
    frame = frame.astype({"syscall": object})
    rows = frame[["tid", "syscall", "result", "service_cpu", "flags"]].itertuples(index=False)
    for number, ((tid, syscall, result, cpu, flags), times) in enumerate(
        zip(rows, edges, strict=True)
    ):
        names = flag_names(flags)
        common = {"pid": group, "tid": tid, "cat": "call"}
        served = {"pid": group + _SERVICE, "tid": cpu, "cat": "service"}
        flow = {"name": "forwarded", "cat": "flow", "id": f"{group}-{number}"}
        told = {"result": result, "flags": ", ".join(names) or "none"}
        # Calls posted ahead overlap on their thread: only asynchronous slices may.
        if flags & FLAGS["async"]:
            whole = {"name": syscall, "cat": "call", "id": f"{group}-{number}", **common}
            yield {**whole, "ph": "b", "ts": times[0], "args": told}
            yield {**whole, "ph": "e", "ts": times[-1]}
        else:
            span = (times[0], times[-1])
            yield from _ends(common, syscall, span, told, _stages(common, times))
        if flags & FLAGS["pooled"]:  # likewise: what waits in the pool overlaps others
            waits = {"name": syscall, "id": f"{group}-{number}-pool", **served}
            yield {**waits, "ph": "b", "ts": times[2]}
            yield {**waits, "ph": "e", "ts": times[3]}
        else:
            yield from _ends(served, syscall, (times[2], times[3]), {"result": result})
        yield {**flow, "ph": "s", "pid": group, "tid": tid, "ts": times[1]}
        yield {**flow, "ph": "t", "pid": group + _SERVICE, "tid": cpu, "ts": times[2]}
        yield {**flow, "ph": "f", "bp": "e", "pid": group, "tid": tid, "ts": times[4]}


def _stages(track: Event, times: list[float]) -> Iterator[Event]:
    for stage, start, end in zip(STAGES, times[:-1], times[1:], strict=True):
        # Of what begins and ends at once, readers cannot tell which comes first.
        if end > start:
            yield from _ends(track, stage, (start, end))


def _ends(
    track: Event,
    name: str,
    span: tuple[float, float],
    args: Event | None = None,
    inside: Iterable[Event] = (),
) -> Iterator[Event]:
    # Beginning and end, not beginning and length: these add up to an end that rounding may move
    # past the next beginning, and a reader then puts one slice into the other. What is told stands
    # at the end, or speedscope takes what is told otherwise for another frame.
    told = {"args": args} if args else {}
    yield {**track, "ph": "B", "name": name, "ts": span[0]}
    yield from inside
    yield {**track, "ph": "E", "name": name, "ts": span[1], **told}
