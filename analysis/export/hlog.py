# SPDX-License-Identifier: MIT
"""HdrHistogram's interval log (`.hlog`): one tagged histogram per round, in its V2 encoding."""

from __future__ import annotations

import base64
import struct
import zlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.histogram import Histogram, middle
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.sketch import QUANTITIES, TOTAL, Sketch
from memsc.analysis.trace import Trace
from memsc.tracer.format import RoundKey

DIGITS = 3
HIGHEST = 1 << 62

_TOTAL = QUANTITIES.index(TOTAL)
# Three significant digits need 2048 sub-buckets: see HdrHistogram's description of its buckets.
_HALF = 10
_COOKIE, _COMPRESSED = 0x1C849303 | 0x10, 0x1C849304 | 0x10


def write_hlog(trace: Trace, path: Path) -> str:
    """Total latency of every round, nanoseconds, tagged `arm.case.mode`."""
    clock, start = trace.session.clock, trace.start_cycles
    starts = {r.key: r for r in trace.session.rounds}
    rows: list[tuple[float, str]] = []
    for cell in trace.stages.cells():
        if cell.syscall != ALL:
            continue
        rounds: dict[int, list[Sketch]] = {}
        for key, sketch in trace.cells.sketches[cell].items():
            rounds.setdefault(key.round, []).append(sketch)
        for index, sketches in rounds.items():
            whole, known = Sketch.merge(sketches), starts.get(RoundKey(cell.arm, cell.case, index))
            since, length = 0.0, int(whole.sums[_TOTAL]) * clock.ns_per_cycle * 1e-9
            if known and known.start_cycles is not None and known.end_cycles is not None:
                since = (known.start_cycles - start) * clock.ns_per_cycle * 1e-9
                length = (known.end_cycles - known.start_cycles) * clock.ns_per_cycle * 1e-9
            largest = int(whole.maxs[_TOTAL]) * clock.ns_per_cycle * 1e-6
            tag = ".".join((cell.arm, cell.case, cell.mode)).replace(",", "_").replace(" ", "_")
            data = encode(whole.histograms[_TOTAL], clock.ns_per_cycle)
            rows.append((since, f"Tag={tag},{since:.3f},{length:.3f},{largest:.3f},{data}"))
    epoch = f"{_epoch(trace):.3f} (seconds since epoch)"
    head = ["#[Histogram log format version 1.3]"]
    # Rounds are given since the first one's start: readers add the base to them.
    head += [f"#[StartTime: {epoch}]", f"#[BaseTime: {epoch}]"]
    head.append('"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"')
    path.write_text(
        "\n".join([*head, *(line for _, line in sorted(rows))]) + "\n", encoding="utf-8"
    )
    return f"{len(rows)} rounds, nanoseconds"


def _epoch(trace: Trace) -> float:
    """When time 0 of the rounds was, in seconds of the calendar.

    Traces made before that clock was noted know only when they were made, to the second.
    """
    clock = trace.session.clock
    if clock.realtime_offset_ns is None:
        with suppress(ValueError):  # whoever wrote the trace may have written anything
            return datetime.fromisoformat(trace.session.created).timestamp()
        return 0.0
    start = clock.ns(np.array([trace.start_cycles], np.int64))
    return (int(start[0]) + clock.realtime_offset_ns) * 1e-9


def encode(histogram: Histogram, scale: float) -> str:
    """A histogram as HdrHistogram's V2 compressed base64.

    Args:
        histogram: of integer values.
        scale: what they are multiplied with before they are rounded to integers.
    """
    values = np.rint(middle(histogram.bins) * scale).astype(np.int64)
    index = _index(values)
    counts = np.bincount(index, histogram.counts).astype(np.int64) if len(index) else index
    body = _runs(counts)
    head = struct.pack(">iiiiqqd", _COOKIE, len(body), 0, DIGITS, 1, HIGHEST, 1.0)
    packed = zlib.compress(head + body)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED, len(packed)) + packed).decode()


def _index(values: NDArray[np.int64]) -> NDArray[np.int64]:
    length = np.frexp(np.maximum(values, 1).astype(np.float64))[1]
    bucket = np.maximum(length - (_HALF + 1), 0).astype(np.int64)
    return (bucket << _HALF) + (values >> bucket)


def _runs(counts: NDArray[np.int64]) -> bytes:
    """Counts as zigzag numbers; a run of zeros is one negative number."""
    out = bytearray()
    last = 0
    for at in np.flatnonzero(counts).tolist():
        if at > last:
            out += _number(-(at - last))
        out += _number(int(counts[at]))
        last = at + 1
    return bytes(out)


def _number(value: int) -> bytes:
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    # Eight groups of seven bits, and a ninth byte that holds eight.
    while rest >= 0x80 and len(out) < 8:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
