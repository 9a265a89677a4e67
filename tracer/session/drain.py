# SPDX-License-Identifier: MIT
"""Drains the regions of one round while its processes come and go."""

from __future__ import annotations

import os
import select
from collections import Counter
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.carried import Carried
from memsc.runtime.errors import MemscError
from memsc.runtime.launch import HANDOFFS, POLLED, TRANSPORTS
from memsc.runtime.library import missed_reason, syscall_name
from memsc.runtime.region import Counts, Region
from memsc.runtime.session_socket import Message, SessionSocket
from memsc.tracer.format import RoundKey
from memsc.tracer.session.observe.entries import Text, is_text
from memsc.tracer.session.pace import Pace
from memsc.tracer.session.sink import Sink
from memsc.tracer.state.backlog import Backlog

_FULL_ENOUGH = 0.25
_SHORTEST_MS, _LONGEST_MS = 10, 500
_MESSAGES = 100
_MOST = 1 << 48  # calls that a program is believed


@dataclass
class _Open:
    """A region that is being drained.

    Args:
        region: it.
        pid: its process, as this one sees it.
        process: a descriptor of the process (pidfd), -1 if it has ended.
        file: where its memory has a name, if it has.
        taken: calls taken of it.
    """

    region: Region
    pid: int
    process: int
    file: Path | None = None
    taken: int = 0

    @property
    def alive(self) -> bool:
        """Whether its process is still there."""
        if self.process < 0:
            return False
        ended = select.poll()  # by its number alone: there may be thousands
        ended.register(self.process, select.POLLIN)
        return not ended.poll(0)

    def close(self) -> None:
        """Let go of both."""
        self.region.close()
        if self.process >= 0:
            os.close(self.process)
        self.process = -1


class Drain:
    """The regions of one round.

    Args:
        sink: where the calls go.
        key: the round.
        source: where its processes hand over their regions; or the region of a program that runs
            already and goes on afterwards.
        service_cpus: where its programs are not to run.
        eager: take what there is at each look, for somebody who watches.
        backlog: where calls are kept until they are in the trace; None: in memory alone.

    Attributes:
        key: the round.
        beside: calls made on the service's CPUs.
        carried: which of its programs are recorded.
        pids: processes that are recorded.
        texts: where their instructions are that make calls, as they told.
        outlived: processes that the program has left behind; they go on, unrecorded.
        interval_ms: until the next look. A look takes a millisecond of the service's CPU, so it
            is as rare as the rings' filling allows.
    """

    def __init__(
        self,
        sink: Sink,
        key: RoundKey,
        source: SessionSocket | Region,
        service_cpus: frozenset[int] = frozenset(),
        *,
        eager: bool = False,
        backlog: Backlog | None = None,
    ) -> None:
        self._sink = sink
        self._discards = False
        self._pace = Pace(sink.safe_s)
        self.key = key
        self._socket = source if isinstance(source, SessionSocket) else None
        self._open: list[_Open] = []
        self._backlog = Backlog() if backlog is None else backlog
        self._missed = Counter[str]()
        self.interval_ms = 50
        self._eager = eager
        self._latest: list[NDArray[Any]] = []
        self.calls = self.beside = 0
        self._service_cpus = np.array(sorted(service_cpus))
        self.carried = Carried()
        self.pids: set[int] = set()
        self.texts: dict[int, set[Text]] = {}
        self.handoffs: set[str] = set()  # of HANDOFFS, by the regions
        self.outlived: set[int] = set()
        if isinstance(source, Region):
            self._add(_Open(source, source.pid, os.pidfd_open(source.pid)))

    def _add(self, opened: _Open) -> None:
        self._open.append(opened)
        if self._backlog.folder is not None and self._socket is not None:
            opened.file = opened.region.file_in(self._backlog.folder)
            if opened.file is None:
                self._backlog.state.unnamed += 1
                self._backlog.note()
        self.pids.add(opened.pid)
        if (handoff := _handoff(opened.region)) is not None:
            self.handoffs.add(handoff)

    @property
    def counts(self) -> Counts:
        """Of all processes of the round that have been drained to their end."""
        state = self._backlog.state
        counts = (state.made, state.local, state.dropped, state.unfinished)
        return Counts(*counts, skipped=state.skipped)

    @property
    def missed(self) -> dict[str, int]:
        """Calls that could have been recorded and were not, by why, as programs have counted."""
        return dict(self._missed)

    def step(self) -> None:
        """Look once: take what is full enough, and close the regions of processes that ended."""
        said = self._listen()
        # As many messages as may wait on any system, less what comes while this is under way.
        fullest = _FULL_ENOUGH * said / _MESSAGES
        for opened in list(self._open):
            fill = opened.region.fill
            fullest = max(fullest, fill)
            if opened.region.finished or not opened.alive:
                self._close(opened)
            elif self._eager or fill > _FULL_ENOUGH:
                self._take(opened)
        # At the rate seen, the next look finds the fullest ring just full enough.
        next_ms = self.interval_ms * _FULL_ENOUGH / max(fullest, 0.1)
        self.interval_ms = int(min(max(next_ms, _SHORTEST_MS), _LONGEST_MS))

    def take_latest(self) -> NDArray[Any] | None:
        """The calls taken since this was last asked, if eager and any; read them only."""
        latest, self._latest = self._latest, []
        return np.concatenate(latest) if latest else None

    def dropped(self) -> int:
        """Calls lost so far."""
        running = sum(opened.region.counts().dropped for opened in self._open)
        return self._backlog.state.dropped + running

    @property
    def due(self) -> bool:
        """Whether it is time to `save`."""
        return self._pace.due(self._backlog.rows)

    def save(self) -> None:
        """Write all there is, that of rings hardly filled too: kill -9 then costs none of it."""
        for opened in self._open:
            self._take(opened)
        if self._write(lasting=True):
            self._pace.restart()

    def goes_on(self) -> bool:
        """Whether processes that the program has started still run."""
        self._listen()
        return self._socket is not None and any(opened.alive for opened in self._open)

    def finish(self) -> None:
        """Take everything and write it: the processes have ended."""
        self._listen()
        for opened in list(self._open):
            self._close(opened)
        self._write(lasting=self._backlog.folder is not None)
        self._backlog.close()
        if self._socket is not None:
            self._socket.close()

    def _listen(self) -> int:
        """Hear what processes have said, and open what they have handed over; how much it was."""
        if self._socket is None:
            return 0
        count = 0
        while messages := self._socket.receive():
            count += len(messages)
            for message in messages:
                if is_text(text := message.said.get("text")):
                    self.texts.setdefault(message.pid, set()).add((text[0], text[1]))
                if "region" in message.said:
                    self._receive(message)
                else:
                    self.carried.add(message)
                    self._note_missed(message.said.get("unrecorded"))
                message.close()
        return count

    def _note_missed(self, calls: Any) -> None:
        """Note what a program has missed while it had no region; it may say anything."""
        if not isinstance(calls, dict):
            return
        said = cast("dict[object, object]", calls)
        for why in takewhile(bool, map(missed_reason, count())):
            made = said.get(why)
            if why and isinstance(made, int) and 0 < made < _MOST:
                self._missed[why] += made

    def _receive(self, message: Message) -> None:
        """Take a region out of a message; a process whose region cannot be read is not recorded."""
        name = f"process {message.pid}"
        if message.descriptor < 0:
            why = "memsc had too many files open" if message.refused else "it handed over no memory"
            self.carried.leaves(name, why)
            return
        descriptor, message.descriptor = message.descriptor, -1
        try:
            region = Region(Path(name), descriptor=descriptor, exclusive=True)
        except MemscError as error:
            self.carried.leaves(name, f"its region cannot be read: {error.why}")
            return
        process, message.process = message.process, -1
        self._add(_Open(region, message.pid, process))

    def _take(self, opened: _Open) -> bool:
        """Take what can be taken at once; whether there was any."""
        if self._discards:
            opened.region.skip()
            return False
        before = opened.taken
        for slot, start, records in opened.region.taken():
            self._backlog.add(opened.region, opened.pid, slot, start, records)
            opened.taken += len(records)
            if self._eager:
                self._latest.append(records)
            if len(self._service_cpus):
                self.beside += int(np.isin(records["app_cpu"], self._service_cpus).sum())
        self.calls += opened.taken - before
        if self._backlog.rows > self._sink.most_held:
            self._write(lasting=self._backlog.folder is not None)
        return opened.taken > before

    def _close(self, opened: _Open) -> None:
        region = opened.region
        outlives = self._socket is not None and not region.finished and opened.alive
        if outlives:
            region.recording = False
            self.outlived.add(opened.pid)
        for _ in range(region.drains):
            if not self._take(opened):
                break
        counts, state = region.counts(), self._backlog.state
        state.local += counts.local
        for number, calls in enumerate(counts.missed):
            if calls:
                self._missed[missed_reason(number) or "?"] += calls
        state.dropped += counts.dropped
        state.skipped += counts.skipped
        if outlives:  # what it calls from now on is counted there, too
            state.made += opened.taken + counts.dropped + counts.skipped
        else:
            state.made += counts.made
            state.unfinished += counts.unfinished
        self._forget(opened)
        self._open.remove(opened)
        opened.close()

    def _forget(self, opened: _Open) -> None:
        """Have its file removed: all of it is in the backlog, and that must be known before."""
        state = self._backlog.state
        if opened.file is not None or self._socket is None:  # one that ran before keeps its file
            state.closed = opened.region.inode
        elif state.unnamed:
            state.unnamed -= 1
        self._backlog.note()
        if opened.file is not None:
            opened.file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Write nothing any more: from now on rings are emptied for the program's sake alone.

        It takes no memory, which may be just what is lacking.
        """
        self._discards = True
        self._backlog.drop()

    def _write(self, *, lasting: bool) -> bool:
        """Give all there is to the trace, and have it written; whether that was any."""
        for pid, comm, records in self._backlog.take():
            self._sink.calls(self.key, pid, records, syscall_name, comm)
        if not lasting:
            return False
        written = self._sink.flush()
        self._backlog.settled()
        return written


def _handoff(region: Region) -> str | None:
    """How its two sides pass a line; None where they do not, or a damaged header does not tell."""
    transport, handoff = int(region["transport"]), int(region["handoff"])
    if transport >= len(TRANSPORTS) or TRANSPORTS[transport] not in POLLED:
        return None
    return HANDOFFS[handoff] if handoff < len(HANDOFFS) else None
