# SPDX-License-Identifier: MIT
"""The probes of a session: which of them can be used, what they saw, what they lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager

import msgspec

from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.tracer.attach import Helper, Loaded
from memsc.tracer.elevate import Elevation
from memsc.tracer.format import ProbeStatus
from memsc.tracer.snapshot import Filter
from memsc.tracer.stacks import Stacks
from memsc.tracer.writer import TraceWriter

DISTURBING = ("stages", "syscalls")  # attached in check rounds alone
STATIC = "stages"
CALIBRATING_HITS = 2003
PROBE_EVERY = 13  # calls; with all of them passing the probes a round would say little else
_FULL_ENOUGH = 0.25


class Probing:
    """Probes from their loading to their last count. Those that cannot be used say why.

    Args:
        writer: where events go.
        wanted: names of the probes.
        elevation: where the privileged helper comes from.

    Attributes:
        status: what the trace says of each.
        usable: names of those that can be attached.
        notes: what the user should be told.
        snapshot: gets the round's events instead of the writer.
    """

    def __init__(self, writer: TraceWriter, wanted: Sequence[str], elevation: Elevation) -> None:
        self._elevation = elevation
        self._writer = writer
        self._wanted = tuple(wanted)
        self._helper: Helper | None = None
        self._stacks: Stacks | None = None
        self._seen = dict.fromkeys(wanted, 0)
        self._dropped_before: dict[str, int] = {}
        self.status = {name: ProbeStatus(attached=False) for name in wanted}
        self.usable: set[str] = set()
        self.notes: list[str] = []
        self.snapshot: Filter | None = None

    def load(self, cpus: Collection[int]) -> None:
        """Start the helper, compile, and attach what disturbs nothing."""
        if not self._wanted:
            return
        try:
            self._helper = Helper(self._elevation.channel())
            loaded = self._helper.load(self._wanted)
            self._helper.watch(cpus)
            steady = [name for name in self._wanted if loaded[name].usable]
            loaded |= self._helper.attach(*(name for name in steady if name not in DISTURBING))
        except MemscError as error:
            self.abandon()
            reason = f"{error.why}; {error.remedy}"
            self.status = {
                name: ProbeStatus(attached=False, reason=reason) for name in self._wanted
            }
            self.notes.append(f"no probes: {error}")
            return
        if self._helper.warning:
            self.notes.append(self._helper.warning)
        self.usable = {name for name in self._wanted if loaded[name].usable}
        self.status = {name: _status(loaded[name]) for name in self._wanted}

    def of_round(self, check: bool) -> list[str]:
        """The probes a round has."""
        chosen = [name for name in self._wanted if name in self.usable]
        return [name for name in chosen if check or name not in DISTURBING]

    def switch(self, probes: Sequence[str], *, on: bool) -> None:
        """Attach probes, or detach them.

        Raises:
            MemscError: the helper has died.
        """
        if self._helper is not None and probes:
            if on:
                self._helper.attach(*probes)
            else:
                self._helper.detach(*probes)

    @contextmanager
    def accounting(self) -> Generator[Callable[[], dict[str, tuple[int, int]]]]:
        """The kernel takes account of each probe meanwhile; gives what tells nanoseconds and hits.

        Raises:
            MemscError: the helper has died, or the kernel keeps no such account.
        """
        helper = self._helper
        if helper is None:
            yield dict
            return
        before = helper.costs(account=True)

        def costs() -> dict[str, tuple[int, int]]:
            return {
                name: (ns - before[name][0], hits - before[name][1])
                for name, (ns, hits) in helper.costs(account=True).items()
            }

        try:
            yield costs
        finally:
            if helper.alive():
                helper.costs(account=False)

    def discard(self, probes: Sequence[str]) -> None:
        """Forget what probes saw up to now, and what they lost of it."""
        if self._helper is not None and probes:
            for name in probes:
                self._helper.drain(name)
                self._dropped_before[name] = self._helper.dropped(name)

    @contextmanager
    def detached(self, really: bool) -> Generator[None]:
        """Without any probe meanwhile, if asked for."""
        steady = [name for name in self._wanted if name in self.usable - set(DISTURBING)]
        if not really or self._helper is None or not steady:
            yield
            return
        self._helper.detach(*steady)
        try:
            yield
        finally:
            if self._helper.alive():
                self._helper.attach(*steady)

    def begin(self, probes: Sequence[str], pid: int) -> None:
        """Track a process, and see what it does from here on.

        Raises:
            MemscError: the helper has died.
        """
        if self._helper is None or not probes:
            return
        self._helper.track(pid)
        if any(find(name).tables for name in probes):
            if self._stacks is None:
                self._stacks = Stacks(self._writer, self._helper)
            self._stacks.begin(pid)
        disturbing = [name for name in DISTURBING if name in probes]
        if disturbing:
            self._helper.attach(*disturbing)
        self._helper.recording = True

    def end(self, probes: Sequence[str]) -> None:
        """See nothing more; never fails, for the program's end must be dealt with."""
        if self._helper is not None and probes and self._helper.alive():
            self._helper.recording = False

    def drain(self, probes: Sequence[str], *, everything: bool) -> None:
        """Write what probes saw: everything, or only from rings that fill up."""
        if self._helper is None:
            return
        if self._stacks is not None:
            self._stacks.look()
        for name in probes:
            if not everything and self._helper.fill(name) < _FULL_ENOUGH:
                continue
            events = self._helper.drain(name)
            probe = find(name)
            if self._stacks is not None and probe.tables:
                events = self._stacks.translate(probe.tables[0], events)
            units = {column.name: column.unit for column in probe.columns}
            (self.snapshot or self._writer).events(name, events, {"kind": probe.kind_names}, units)
            self._seen[name] += len(events)

    def finish_round(self, probes: Sequence[str]) -> None:
        """Write everything a round's probes saw, and detach those that disturb."""
        self.drain(probes, everything=True)
        if self._stacks is not None:
            self._stacks.finish_round([table for name in probes for table in find(name).tables])
            self.notes += [note for note in self._stacks.notes if note not in self.notes]
        disturbing = [name for name in DISTURBING if name in probes]
        if self._helper is not None and disturbing:
            self._helper.detach(*disturbing)

    def close(self) -> None:
        """Detach all, and take the last counts."""
        if self._helper is None:
            return
        try:
            losses = self._helper.losses()
        except MemscError as error:
            # A dead helper takes its counts along: not known is not zero.
            self.notes.append(f"no probes from some point on: {error}")
            for name, probe in self.status.items():
                self.status[name] = msgspec.structs.replace(probe, lost=None, reason=error.why)
            self._helper = None
            return
        for name, probe in self.status.items():
            if probe.attached:
                lost = losses[name].total - self._dropped_before.get(name, 0)
                self.status[name] = msgspec.structs.replace(probe, seen=self._seen[name], lost=lost)
        self.abandon()

    def abandon(self) -> None:
        """Detach all, without counts."""
        if self._stacks is not None:
            self._stacks.close()
            self._stacks = None
        if self._helper is not None:
            self._helper.close()
            self._helper = None


def _status(loaded: Loaded) -> ProbeStatus:
    if loaded.usable:
        return ProbeStatus(attached=True, seen=0, lost=0)
    return ProbeStatus(attached=False, reason=f"{loaded.reason}; {loaded.remedy}")
