# SPDX-License-Identifier: MIT
"""The probes of a session: which of them can be used, what they saw, what they lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from memsc.probes.counters import PROBE as COUNTERS
from memsc.probes.declaration import find
from memsc.probes.programs import PROBE as PROGRAMS
from memsc.runtime.errors import MemscError
from memsc.tracer.format import Counters, ProbeStatus, RoundKey
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.observe.channel import Elevation
from memsc.tracer.session.observe.kernel_view import KernelView
from memsc.tracer.session.observe.probe_client import Helper, Loaded, loading
from memsc.tracer.session.observe.thread_counters import Counting
from memsc.tracer.session.sink import Sink

if TYPE_CHECKING:
    from memsc.tracer.session.observe.stacks import Stacks

CALIBRATING_HITS = 2003
_FULL_ENOUGH = 0.25


class Probing:
    """Probes from their loading to their last count. Those that cannot be used say why.

    Args:
        writer: where what is no event goes: counters, and the tables of stacks.
        wanted: names of the probes.
        elevation: where the privileged helper comes from.
        every: of how many calls one passes a probe's static places, where it is not as declared.

    Attributes:
        status: what the trace says of each.
        usable: names of those that can be attached.
        counters: what is counted, if it is; None without.
        notes: what the user should be told.
        kernel: what the kernel says of the round's programs.
    """

    def __init__(
        self,
        writer: TraceWriter,
        wanted: Sequence[str],
        elevation: Elevation,
        every: Mapping[str, int],
    ) -> None:
        self._elevation = elevation
        self._writer = writer
        self._wanted = tuple(wanted)
        self._every = every
        self._helper: Helper | None = None
        self._counting: Counting | None = None
        self._stacks: Stacks | None = None
        self._seen = dict.fromkeys(wanted, 0)
        self._dropped_before: dict[str, int] = {}
        self._dropped_at: dict[str, int] = {}  # when the round began
        self.status = {name: ProbeStatus(attached=False) for name in wanted}
        self.usable: set[str] = set()
        self.counters: Counters | None = None
        self.notes: list[str] = []
        self.kernel = KernelView()

    def begin_loading(self) -> None:
        """Have the helper start and load while others do something else; `load` comes later."""
        if wanted := _programs(self._wanted):
            request, arguments = loading(_with_own(wanted))
            self._elevation.begin(request, **arguments)

    def load(self, app: Collection[int], service: Collection[int]) -> None:
        """Start the helper, compile, and attach what disturbs nothing.

        Args:
            app: CPUs of the application.
            service: CPUs of the service.
        """
        if COUNTERS.name in self._wanted:
            self._offer(app, service)
        wanted = _programs(self._wanted)
        if not wanted:
            return
        try:
            self._helper = Helper(self._elevation.started())
            loaded = self._helper.load(_with_own(wanted))
            self._helper.watch({*app, *service})
            usable = [name for name in (*wanted, PROGRAMS.name) if loaded[name].usable]
            loaded |= self._helper.attach(*_steady(usable))
        except MemscError as error:
            self._let_go()
            self._refuse(wanted, error)
            self.kernel.absent = error.why
            self.notes.append(f"no probes: {error}")
            return
        if self._helper.warning:
            self.notes.append(self._helper.warning)
        self.kernel.absent = loaded[PROGRAMS.name].reason
        self.usable |= {name for name in wanted if loaded[name].usable}
        self.status |= {name: _status(loaded[name]) for name in wanted}

    def _offer(self, app: Collection[int], service: Collection[int]) -> None:
        try:
            channel = self._elevation.started()
            self._counting = Counting(self._writer, channel, app, service)
        except MemscError as error:
            self._refuse([COUNTERS.name], error)
            self.notes.append(f"no counters: {error}")
            return
        self.counters = self._counting.described
        self.usable.add(COUNTERS.name)
        self.status[COUNTERS.name] = ProbeStatus(attached=True, seen=0, lost=0)

    def _refuse(self, names: Sequence[str], error: MemscError) -> None:
        reason = f"{error.why}; {error.remedy}"
        self.status |= {name: ProbeStatus(attached=False, reason=reason) for name in names}

    @property
    def needs_check_round(self) -> bool:
        """Whether some that can be used are attached in check rounds alone."""
        return bool(_disturbing(self.usable))

    @property
    def calibrated(self) -> list[str]:
        """Those that can be used and tell by their first events what a hit costs."""
        return [name for name in self._wanted if name in self.usable and find(name).calibrated]

    def of_round(self, check: bool) -> list[str]:
        """The probes a round has."""
        chosen = [name for name in self._wanted if name in self.usable]
        return chosen if check else _steady(chosen)

    def switch(self, probes: Sequence[str], *, on: bool) -> None:
        """Attach probes, or detach them.

        Raises:
            MemscError: the helper has died.
        """
        programs = _programs(probes)
        if self._helper is not None and programs:
            if on:
                self._helper.attach(*programs)
            else:
                self._helper.detach(*programs)

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
        if self._counting is not None:
            self._counting.discard()
        if self._helper is not None:
            for name in _programs(probes):
                self._helper.drain(name)
                self._dropped_before[name] = self._helper.dropped(name)

    @contextmanager
    def detached(self, really: bool) -> Generator[None]:
        """Without any probe meanwhile, if asked for."""
        steady = _steady(_programs([name for name in self._wanted if name in self.usable]))
        if not really or self._helper is None or not steady:
            yield
            return
        self._helper.detach(*steady)
        try:
            yield
        finally:
            if self._helper.alive():
                self._helper.attach(*steady)

    def begin(self, probes: Sequence[str], pid: int, *, running: bool = False) -> None:
        """Track a process, and see what it does from here on.

        Args:
            probes: those of the round.
            pid: a program on hold, or one that runs.
            running: it runs.

        Raises:
            MemscError: the helper has died.
        """
        if self._counting is not None and COUNTERS.name in probes:
            self._counting.begin(pid, running=running)
        programs = _programs(probes)
        if self._helper is None or not programs:
            self.kernel.begin(asked=False)
            return
        self._helper.track(pid)
        watched = [*programs, *self._kernel_probe]
        self._dropped_at = {name: self._helper.dropped(name) for name in watched}
        for name in self._kernel_probe:
            self._helper.drain(name)
        self.kernel.begin()
        if any(find(name).tables or find(name).walks for name in programs):
            if self._stacks is None:
                # Slow to import, and most sessions look at no stacks.
                from memsc.tracer.session.observe.stacks import Stacks  # noqa: PLC0415

                self._stacks = Stacks(self._writer, self._helper)
            self._stacks.begin(pid)
        disturbing = _disturbing(programs)
        if disturbing:
            for name, loaded in self._helper.attach(*disturbing).items():
                self.status[name] = msgspec.structs.replace(
                    self.status[name], uncounted=dict(loaded.uncounted)
                )
        self._helper.recording = True

    @property
    def _kernel_probe(self) -> list[str]:
        """The probe that nobody chooses, which tells what is executed; none where it cannot be."""
        return [] if self.kernel.absent else [PROGRAMS.name]

    def every(self, probes: Sequence[str]) -> int:
        """Of how many calls of a round one passes the static probes."""
        static = [name for name in probes if find(name).static_places]
        # What is to be seen of calls that are disturbed anyway comes first.
        chosen = _disturbing(static) or static
        return min((self._every.get(name, find(name).every) for name in chosen), default=1)

    @property
    def news(self) -> list[int]:
        """Descriptors that can be read when a program has mapped something: then `look`."""
        return self._stacks.news if self._stacks is not None else []

    def look(self) -> None:
        """Take what programs have mapped, which their stacks are walked by."""
        if self._stacks is not None:
            self._stacks.look()

    def end(self, probes: Sequence[str]) -> None:
        """See nothing more; never fails, for the program's end must be dealt with."""
        if self._helper is not None and _programs(probes) and self._helper.alive():
            self._helper.recording = False

    def drain(self, probes: Sequence[str], sink: Sink, *, everything: bool) -> None:
        """Write what probes saw: everything, or only from rings that fill up."""
        if self._counting is not None:
            self._counting.look()
        if self._helper is None:
            return
        if self._stacks is not None:
            self._stacks.look()
        for name in self._kernel_probe:
            self.kernel.take(name, self._helper.drain(name))
        for name in _programs(probes):
            if not everything and self._helper.fill(name) < _FULL_ENOUGH:
                continue
            events = self._helper.drain(name)
            self.kernel.take(name, events)
            probe = find(name)
            if self._stacks is not None and probe.walks:
                events = self._stacks.translate(probe.tables[0] if probe.tables else "", events)
            units = {column.name: column.unit for column in probe.columns}
            sink.events(name, events, {"kind": probe.kind_names}, units)
            self._seen[name] += len(events)

    def finish_round(
        self, probes: Sequence[str], sink: Sink, key: RoundKey | None = None
    ) -> dict[str, int]:
        """Write everything a round's probes saw, and detach those that disturb.

        Args:
            probes: those of the round.
            sink: where their events go.
            key: the round; without, what was counted is dropped.

        Returns:
            How many events found a full ring since the round began, by probe.
        """
        self.drain(probes, sink, everything=True)
        if self._counting is not None and key is not None:
            self._counting.finish(key)
            self.counters = self._counting.described
            self.notes += [note for note in self._counting.notes if note not in self.notes]
        if self._stacks is not None:
            tables = [table for name in _programs(probes) for table in find(name).tables]
            self._stacks.finish_round(tables)
            self.notes += [note for note in self._stacks.notes if note not in self.notes]
        disturbing = _disturbing(probes)
        if self._helper is None:
            return {}
        if disturbing:
            self._helper.detach(*disturbing)
        lost = {
            name: self._helper.dropped(name) - self._dropped_at.get(name, 0)
            for name in (*_programs(probes), *self._kernel_probe)
        }
        for name, events in lost.items():
            self.kernel.lost(name, events)
        return {name: lost[name] for name in _programs(probes)}

    def close(self) -> None:
        """Detach all, and take the last counts."""
        if self._counting is not None:
            seen = self._counting.rows
            self.status[COUNTERS.name] = ProbeStatus(attached=True, seen=seen, lost=0)
        if self._helper is None:
            self.abandon()
            return
        try:
            losses = self._helper.losses()
        except MemscError as error:
            # A dead helper takes its counts along: not known is not zero.
            self.notes.append(f"no probes from some point on: {error}")
            for name in _programs(list(self.status)):
                lost = msgspec.structs.replace(self.status[name], lost=None, reason=error.why)
                self.status[name] = lost
            self._helper = None
            return
        for name, probe in self.status.items():
            if probe.attached and name in losses:
                lost = losses[name].total - self._dropped_before.get(name, 0)
                self.status[name] = msgspec.structs.replace(probe, seen=self._seen[name], lost=lost)
        self.abandon()

    def abandon(self) -> None:
        """Detach all, without counts."""
        if self._counting is not None:
            self._counting.discard()
            self._counting = None
        self._let_go()

    def _let_go(self) -> None:
        if self._stacks is not None:
            self._stacks.close()
            self.notes += [note for note in self._stacks.notes if note not in self.notes]
            self._stacks = None
        if self._helper is not None:
            self._helper.close()
            self._helper = None


def _programs(probes: Sequence[str]) -> list[str]:
    """Those that are BPF programs: counters are not."""
    return [name for name in probes if find(name).hooks]


def _with_own(programs: Sequence[str]) -> list[str]:
    """They, and the one that nobody chooses."""
    return [*programs, PROGRAMS.name]


def _steady(probes: Iterable[str]) -> list[str]:
    """Those that stay attached from round to round."""
    return [name for name in probes if not find(name).disturbs]


def _disturbing(probes: Iterable[str]) -> list[str]:
    return [name for name in probes if find(name).disturbs]


def _status(loaded: Loaded) -> ProbeStatus:
    if loaded.usable:
        return ProbeStatus(attached=True, seen=0, lost=0)
    return ProbeStatus(attached=False, reason=f"{loaded.reason}; {loaded.remedy}")
