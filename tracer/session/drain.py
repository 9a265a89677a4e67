# SPDX-License-Identifier: MIT
"""Drains the regions of one round while its processes come and go."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError
from memsc.runtime.library import syscall_name
from memsc.runtime.region import Counts, Region, regions
from memsc.tracer.format import RoundKey
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper.kernel import tasks
from memsc.tracer.session.pace import Pace
from memsc.tracer.session.snapshot import Filter

# Encoding costs the service's CPU more than copying does: it waits for its time, or until so many
# calls (64 bytes each) are held.
_HELD, _SAFE_S = 4_000_000, 5.0
_SNAPSHOT_SAFE_S = 1.0  # of which there is little
_FULL_ENOUGH = 0.25
_SHORTEST_MS, _LONGEST_MS = 10, 500


class Drain:
    """The regions of one round.

    Args:
        writer: where the calls go; a snapshot's filter gets them at once.
        key: the round.
        source: the folder where its processes make their region files; or the region of a program
            that runs already and goes on afterwards.

    Attributes:
        key: the round.
        outlived: processes that the program has left behind; they go on, unrecorded.
        interval_ms: until the next look. A look takes a millisecond of the service's CPU, so it
            is as rare as the rings' filling allows.
    """

    def __init__(self, writer: TraceWriter | Filter, key: RoundKey, source: Path | Region) -> None:
        self._writer = writer
        self._discards = False
        self._most, safe_s = _HELD, _SAFE_S
        if isinstance(writer, Filter):
            self._most, safe_s = 0, _SNAPSHOT_SAFE_S
        self._pace = Pace(safe_s)
        self.key = key
        self._folder = source if isinstance(source, Path) else None
        self._lock = _locked(self._folder) if self._folder else -1
        self._open: dict[Path, Region] = {}
        self._held: list[tuple[int, NDArray[Any]]] = []
        self._made = self._local = self._dropped = self._unfinished = 0
        self.interval_ms = 50
        self.eager = False  # take what there is at each look, for somebody who watches
        self._latest: list[NDArray[Any]] = []
        self.calls = 0
        self._taken: Counter[Path] = Counter()
        self.pids: set[int] = set()
        self.outlived: set[int] = set()
        if isinstance(source, Region):
            self._open[source.path] = source
            self.pids.add(source.pid)

    @property
    def counts(self) -> Counts:
        """Of all processes of the round that have been drained to their end."""
        return Counts(self._made, self._local, self._dropped, self._unfinished)

    def step(self) -> None:
        """Look once: take what is full enough, and close the regions of processes that ended."""
        self._discover()
        fullest = 0.0
        for path, region in list(self._open.items()):
            fullest = max(fullest, region.fill)
            if region.finished or not _alive(region):
                self._close(path, region)
            elif self.eager or region.fill > _FULL_ENOUGH:
                self._take(region)
        # At the rate seen, the next look finds the fullest ring just full enough.
        next_ms = self.interval_ms * _FULL_ENOUGH / max(fullest, 0.1)
        self.interval_ms = int(min(max(next_ms, _SHORTEST_MS), _LONGEST_MS))

    def take_latest(self) -> NDArray[Any] | None:
        """The calls taken since this was last asked, if eager and any; read them only."""
        latest, self._latest = self._latest, []
        return np.concatenate(latest) if latest else None

    def dropped(self) -> int:
        """Calls lost so far."""
        running = sum(region.counts().dropped for region in self._open.values())
        return self._dropped + running

    @property
    def due(self) -> bool:
        """Whether it is time to `save`."""
        return self._pace.due(self._rows)

    def save(self) -> None:
        """Write all there is, that of rings hardly filled too: kill -9 then costs none of it."""
        for region in self._open.values():
            self._take(region)
        self._write()
        if self._writer.flush():
            self._pace.restart()

    def finish(self) -> None:
        """Take everything and write it: the processes have ended.

        Raises:
            MemscError: a region could not be read; all others were.
        """
        unread = self._discover()
        for path, region in list(self._open.items()):
            self._close(path, region)
        self._write()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if unread is not None:
            raise unread

    def _discover(self) -> MemscError | None:
        """Open the regions that are new; why one of them cannot be."""
        unread: MemscError | None = None
        if self._folder is None:
            return None
        for path in regions(self._folder):
            if path in self._open:
                continue
            try:
                region = Region(path, exclusive=True)
            except MemscError as error:
                if isinstance(error.__cause__, OSError) and path.exists():
                    unread = error
                continue  # being made; if it is never finished, it holds nothing
            self._open[path] = region
            self.pids.add(region.pid)
        return unread

    def _take(self, region: Region) -> bool:
        """Take what can be taken at once; whether there was any."""
        if self._discards:
            region.skip()
            return False
        records = region.drain()
        if not len(records):
            return False
        self._held.append((region.pid, records))
        self._taken[region.path] += len(records)
        if self.eager:
            self._latest.append(records)
        self.calls += len(records)
        if self._rows > self._most:
            self._write()
        return True

    def _close(self, path: Path, region: Region) -> None:
        outlives = self._folder is not None and not region.finished and _alive(region)
        if outlives:
            region.recording = False
            self.outlived.add(region.pid)
        for _ in range(region.drains):
            if not self._take(region):
                break
        counts = region.counts()
        self._local += counts.local
        self._dropped += counts.dropped
        if outlives:  # what it calls from now on is counted there, too
            self._made += self._taken[path] + counts.dropped
        else:
            self._made += counts.made
            self._unfinished += 0 if region.finished else counts.unfinished
        del self._open[path]
        region.close()
        if self._folder is not None:
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Write nothing any more: from now on rings are emptied for the program's sake alone.

        It takes no memory, which may be just what is lacking.
        """
        self._discards = True
        self._held = []

    @property
    def _rows(self) -> int:
        return sum(len(held) for _, held in self._held)

    def _write(self) -> None:
        held, self._held = self._held, []
        for pid, records in held:
            self._writer.calls(self.key, pid, records, syscall_name)


def _locked(folder: Path) -> int:
    """Tells programs whose rings are full that somebody will empty them, as long as he lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _alive(region: Region) -> bool:
    return tasks.start_time(region.pid) == int(region["start_time"])
