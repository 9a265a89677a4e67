# SPDX-License-Identifier: MIT
"""Perfetto's trace format: the clock, tracks, interned names, and packets by the column.

Field numbers are those of Perfetto's `trace_packet.proto`, `track_event.proto`,
`track_descriptor.proto`, `interned_data.proto` and `clock_snapshot.proto`. All packets make one
sequence. Times are CLOCK_MONOTONIC; where the session knows it, the snapshot ties that to
CLOCK_BOOTTIME, which is Perfetto's own clock, so that a trace of the system can be laid beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.export.protobuf import Nested, Part, data, encode, hole, number
from memsc.tracer.format import Clock

REALTIME, MONOTONIC, BOOTTIME = 1, 3, 6
BEGIN, END, INSTANT = 1, 2, 3
_SEQUENCE = 1
_AT_ONCE = 1 << 14
"""Packets made at once: megabytes, whatever the part."""
_CLEARED, _NEEDED = 1, 2
_EXPLICIT = 3
_SEPARATE = 2
_NAMES, _KEYS, _TEXTS = 2, 3, 29
"""Fields of InternedData: names of events, names of annotations, their texts."""

Columns = Mapping[str, NDArray[np.int64]]


class PerfettoFile:
    """Writes packets; names and tracks are declared when they are first met.

    Args:
        file: opened for writing bytes.
        clock: the session's.
    """

    def __init__(self, file: BinaryIO, clock: Clock) -> None:
        self._file = file
        self._tracks: dict[Hashable, int] = {}
        self._interned: dict[tuple[int, str], int] = {}
        self._packet(data(6, _snapshot(clock)))
        defaults = data(59, number(58, MONOTONIC))
        self._packet(number(13, _CLEARED) + defaults)

    def track(self, key: Hashable, name: str, parent: int | None = None, rank: int = 0) -> int:
        """A track's number, the same for the same key.

        Args:
            key: what it is for.
            name: how a viewer calls it.
            parent: the track it stands under.
            rank: its place among its siblings.
        """
        if key not in self._tracks:
            self._tracks[key] = uuid = len(self._tracks) + 1
            body = number(1, uuid) + data(2, name) + number(11, _EXPLICIT) + number(12, rank)
            # Two threads may have one name: they are two tracks all the same.
            body += number(15, _SEPARATE) + (number(5, parent) if parent is not None else b"")
            self._packet(data(60, body))
        return self._tracks[key]

    def name(self, text: str) -> int:
        """The number of an event's name."""
        return self._intern(_NAMES, text)

    def key(self, text: str) -> int:
        """The number of an annotation's name."""
        return self._intern(_KEYS, text)

    def text(self, text: str) -> int:
        """The number of an annotation's text."""
        return self._intern(_TEXTS, text)

    def write(self, parts: Iterable[Part], columns: Columns) -> None:
        """Writes the packets of `parts` once for each row of the columns."""
        shape, rows = tuple(parts), len(next(iter(columns.values())))
        for at in range(0, rows, _AT_ONCE):
            some = {name: values[at : at + _AT_ONCE] for name, values in columns.items()}
            self._file.write(encode(shape, some))

    def _intern(self, field: int, text: str) -> int:
        if (field, text) not in self._interned:
            self._interned[field, text] = found = len(self._interned) + 1
            entry = data(field, number(1, found) + data(2, text))
            self._packet(number(13, _NEEDED) + data(12, entry))
        return self._interned[field, text]

    def _packet(self, body: bytes) -> None:
        self._file.write(data(1, body + number(10, _SEQUENCE)))


def event(kind: int, time: str, *parts: Part) -> Part:
    """A packet with a track event.

    Args:
        kind: `BEGIN`, `END` or `INSTANT`.
        time: the column its time stands in.
        parts: what else it has; the track stands in the column `track`.
    """
    inner = (number(9, kind), *hole(11, "track"), *parts)
    stamp = (*hole(8, time), number(10, _SEQUENCE), number(13, _NEEDED))
    return Nested(1, (*stamp, Nested(11, inner)))


def named(column: str) -> tuple[Part, ...]:
    """An event's name, whose number stands in a column."""
    return hole(10, column)


def always(name: int) -> bytes:
    """The same name for each event."""
    return number(10, name)


def flow(column: str, *, last: bool = False) -> tuple[Part, ...]:
    """An arrow through the events that share a number."""
    return hole(48 if last else 47, column, fixed=True)


def annotation(key: int, column: str, *, text: bool = False) -> Part:
    """A number, or the number of a text, beside an event."""
    return Nested(4, (number(1, key), *hole(17 if text else 4, column)))


def _snapshot(clock: Clock) -> bytes:
    known = {MONOTONIC: 0, BOOTTIME: clock.boottime_offset_ns, REALTIME: clock.realtime_offset_ns}
    clocks = [
        data(1, number(1, name) + number(2, clock.anchor_ns + offset))
        for name, offset in known.items()
        if offset is not None
    ]
    primary = MONOTONIC if clock.boottime_offset_ns is None else BOOTTIME
    return b"".join(clocks) + number(2, primary)
