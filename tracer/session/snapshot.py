# SPDX-License-Identifier: MIT
"""Keeps what lies around slow calls, and of all others only their number.

It stands between a round's rings and the trace's writer, and takes what that takes. A call is known
to be slow when it is over; what lay before it must be at hand then. So everything is held for a
moment, `HELD_NS` and the window's length, and then written or forgotten, batch by batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.spans import Ints, union
from memsc.tracer.format import STAGES, STAMPS, Clock, RoundKey, Snapshot
from memsc.tracer.format.session_file import Measured
from memsc.tracer.format.writer import Names, TraceWriter

HELD_NS = 500_000_000
"""Of a call that takes longer, what was about in the time before this may be missing."""
WINDOW_NS = 1_000_000
TOTAL: Final = "total"

_SCALES = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIME = r"(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>ns|us|µs|ms|s)"


def parse(expression: str, window: str | None = None, count: int | None = None) -> Snapshot:
    """What a user asks to keep.

    Args:
        expression: as `total>50us`: `total` or a stage, and a time in ns, us, ms or s.
        window: what is kept before and after such a call, a time; by default 1 ms.
        count: slow calls after which a round stops; None goes on.

    Raises:
        MemscError: one of them is none.
    """
    what = f"--snapshot {expression}"
    found = re.fullmatch(rf"\s*(?P<stage>\w+)\s*>\s*{_TIME}\s*", expression)
    if found is None:
        why = "it is not of the form STAGE>TIME"
        raise MemscError(what, why, "write it like 'total>50us', in quotes", USAGE)
    known: dict[str, Measured] = {one: one for one in (TOTAL, *STAGES)}
    stage = known.get(found["stage"])
    if stage is None:
        why = f"there is no stage {found['stage']}"
        raise MemscError(what, why, f"one of {', '.join(known)}", USAGE)
    around = WINDOW_NS if window is None else _window(window)
    if count is not None and count < 1:
        raise MemscError(
            f"--snapshot-count {count}", "less than one", "give a positive number", USAGE
        )
    threshold = round(float(found["value"]) * _SCALES[found["unit"]])
    return Snapshot(expression.strip(), stage, threshold, around, count)


def _window(text: str) -> int:
    found = re.fullmatch(_TIME, text.strip())
    window = round(float(found["value"]) * _SCALES[found["unit"]]) if found else -1
    if not 0 <= window <= _SCALES["s"]:
        why = "it is no time up to 1s"
        raise MemscError(f"--snapshot-window {text}", why, "write it like 1ms", USAGE)
    return window


@dataclass
class _Held:
    """A batch, when each of its rows began and ended (ns), and how to write some of them."""

    start: Ints
    end: Ints
    write: Callable[[NDArray[np.bool_]], None]


class Filter:
    """One round's snapshots, on the way to the writer: a `memsc.tracer.session.sink.Sink`.

    Args:
        writer: where to what is kept goes.
        wish: what that is.
        clock: tells the time of stamps.

    Attributes:
        over: calls over the threshold so far.
        kept: calls that were kept so far, with those around.
    """

    most_held = 0
    safe_s = 1.0  # there is little of it
    eager = True

    def __init__(self, writer: TraceWriter, wish: Snapshot, clock: Callable[[], Clock]) -> None:
        self._writer = writer
        self._wish = wish
        self._clock = clock
        self._held: list[_Held] = []
        self._starts: Ints = np.empty(0, np.int64)  # windows, apart and in order
        self._ends: Ints = np.empty(0, np.int64)
        self._last: int | None = None  # end of the last window, once there are enough
        self.over = self.kept = 0

    def calls(
        self, key: RoundKey, pid: int, records: NDArray[np.void], names: Names, comm: str = ""
    ) -> None:
        """Drained calls; as `TraceWriter.calls`."""
        if not len(records):
            return
        clock = self._clock()
        start, end = (clock.ns(records[name].astype(np.int64)) for name in (STAMPS[0], STAMPS[-1]))
        self._look(records, start, end, clock.ns_per_cycle)

        def write(mask: NDArray[np.bool_]) -> None:
            self._writer.calls(key, pid, records[mask], names, comm)
            self.kept += int(np.count_nonzero(mask))

        self._held.append(_Held(start, end, write))

    def events(
        self,
        probe: str,
        events: NDArray[np.void],
        names: Mapping[str, Names],
        units: Mapping[str, str] | None = None,
    ) -> None:
        """A probe's events; as `TraceWriter.events`."""
        if not len(events):
            return
        end = events["time"].astype(np.int64)
        long = "duration" in (events.dtype.names or ())
        start = end - np.maximum(events["duration"].astype(np.int64), 0) if long else end

        def write(mask: NDArray[np.bool_]) -> None:
            self._writer.events(probe, events[mask], names, units)

        self._held.append(_Held(start, end, write))

    def flush(self) -> bool:
        """Of what was kept; as `TraceWriter.flush`."""
        return self._writer.flush()

    def _look(self, records: NDArray[Any], start: Ints, end: Ints, ns_per_cycle: float) -> None:
        stage = self._wish.stage
        first = 0 if stage == TOTAL else STAGES.index(stage)
        last = len(STAMPS) - 1 if stage == TOTAL else first + 1
        cycles = records[STAMPS[last]].astype(np.int64) - records[STAMPS[first]].astype(np.int64)
        over = np.flatnonzero(cycles * ns_per_cycle > self._wish.threshold_ns)
        if self._wish.count is not None:
            # As many as were asked for have a window; what else comes meanwhile is counted.
            wanted = over[np.argsort(end[over], kind="stable")]
            wanted = wanted[: max(self._wish.count - self.over, 0)]
        else:
            wanted = over
        self.over += len(over)
        if len(wanted):
            window = self._wish.window_ns
            self._starts, self._ends = union(
                np.append(self._starts, start[wanted] - window),
                np.append(self._ends, end[wanted] + window),
            )
        if self._last is None and self._wish.count is not None and self.over >= self._wish.count:
            self._last = int(self._ends[-1])

    def enough(self, now_ns: int) -> bool:
        """Whether as many slow calls as were asked for are over, and what follows them."""
        return self._last is not None and now_ns > self._last

    def settle(self, now_ns: int | None = None) -> None:
        """Write or forget what cannot become interesting any more.

        Args:
            now_ns: a time of CLOCK_MONOTONIC before which everything was taken; None: all there is.
        """
        before = None if now_ns is None else now_ns - HELD_NS - self._wish.window_ns
        held: list[_Held] = []
        for batch in self._held:
            if before is not None and batch.end.max() >= before:
                held.append(batch)
                continue
            mask = self._inside(batch.start, batch.end)
            if mask.any():
                batch.write(mask)
        self._held = held
        if before is None:
            return
        # A window is needed while anything that may begin in it is held or may come.
        floor = min((int(batch.start.min()) for batch in held), default=before)
        gone = int(np.searchsorted(self._ends, min(floor, before)))
        self._starts, self._ends = self._starts[gone:], self._ends[gone:]

    def counts(self) -> dict[str, int]:
        """Of calls, as fields of `Round`."""
        return {"over": self.over, "kept": self.kept}

    def _inside(self, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which of some spans touch a window."""
        if not len(self._ends):
            return np.zeros(len(start), np.bool_)
        first = np.searchsorted(self._ends, start)
        touches = self._starts[np.minimum(first, len(self._starts) - 1)] <= end
        return (first < len(self._ends)) & touches
