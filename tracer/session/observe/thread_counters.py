# SPDX-License-Identifier: MIT
"""Counts, by perf events, what a program's threads do from its beginning to its end.

Each thread that is there at the beginning, mostly one, is counted twice on each CPU: by itself, and
with all that it ever starts. The difference is what the others did, however short they lived.
"""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from memsc.probes.countable import COUNTERS, REFERENCE
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.tables import COUNTERS as TABLE
from memsc.tracer.format.tables import COUNTERS_SCHEMA, OTHERS, THREAD
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper import wire
from memsc.tracer.helper.kernel import perf, tasks
from memsc.tracer.helper.kernel.perf_counters import EVERYWHERE, READING
from memsc.tracer.session.observe.channel import Channel

_SPARE = 128  # descriptors left to others
_WORTH_TELLING_NS = 1_000_000
_TOO_OLD = "this kernel mixes up inherited counts of threads; Linux 6.12 or newer does not"
_TOO_MANY = "too many threads and CPUs for the descriptors this process may have (ulimit -n)"

Counts = dict[str, tuple[int, int, int]]
"""By event: value, ns enabled, ns running."""


@dataclass
class _Root:
    """A thread that was there at the beginning: its events alone and with all it starts, by CPU."""

    tid: int
    name: str
    alone: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    all: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])

    def descriptors(self) -> Iterator[int]:
        for side in (self.alone, self.all):
            for events in side.values():
                yield from events.values()


class Counting:
    """The counters of a session's rounds, one round after the other.

    Args:
        writer: where the table goes.
        channel: the privileged helper.
        app: CPUs of the application.
        service: CPUs of the service.

    Raises:
        MemscError: nothing can be counted here.

    Attributes:
        rows: written so far.
        notes: what the user should be told.
    """

    def __init__(
        self, writer: TraceWriter, channel: Channel, app: Collection[int], service: Collection[int]
    ) -> None:
        self._writer = writer
        self._channel = channel
        self._app, self._service = set(app), set(service)
        self._pid = 0
        self._roots: dict[int, _Root] = {}
        self._elsewhere_ns = 0
        self._together: str | None = None  # why CPUs are not told apart
        self.rows = 0
        self.notes: list[str] = []
        self._offer()

    def _offer(self) -> None:
        """See what this process could count of itself."""
        pid, cpu = os.getpid(), min(self._app | self._service, default=0)
        try:
            reply = self._try(pid, cpu)
        except OSError:
            self._together = _TOO_OLD
            try:
                reply = self._try(pid, EVERYWHERE)
            except OSError as error:
                why = error.strerror or str(error)
                remedy = "use a kernel with CONFIG_PERF_EVENTS"
                raise MemscError("counting", why, remedy) from error
        reasons: dict[str, str] = reply["reasons"]
        self._events = {
            one.name: fmt.CounterEvent(
                one.unit,
                one.meaning,
                one.name not in reasons,
                reasons.get(one.name),
                kernel=one.device in ("software", "msr") or bool(reply["kernel"]),
            )
            for one in COUNTERS
        }

    def _try(self, pid: int, cpu: int) -> wire.Message:
        reply, descriptors = self._ask(pid, pid, cpu, inherit=True, on_exec=True)
        for descriptor in descriptors:
            os.close(descriptor)
        return reply

    def _ask(
        self, pid: int, tid: int, cpu: int, *, inherit: bool, on_exec: bool
    ) -> tuple[wire.Message, list[int]]:
        wish = {"pid": pid, "tid": tid, "cpu": cpu, "inherit": inherit, "on_exec": on_exec}
        reply, descriptors = self._channel.ask("counters", **wish)
        if reply.get("errno"):
            raise OSError(int(reply["errno"]), str(reply["why"]))
        return reply, descriptors

    @property
    def described(self) -> fmt.Counters:
        """What the session says of them."""
        reason = self._together
        return fmt.Counters(self._events, reason is None, reason, self._elsewhere_ns)

    def begin(self, pid: int, *, running: bool) -> None:
        """Count a process and all it starts.

        Args:
            pid: its number.
            running: from now on; else from when it executes its program.

        Raises:
            MemscError: it may not be counted, or has ended.
        """
        self.discard()
        self._pid = pid
        try:
            threads = tasks.threads_of(pid)
            cpus = self._app | self._service | tasks.affinity(pid)
            needed = 2 * len(threads) * len(cpus) * len(COUNTERS) + _SPARE
            if needed > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
                self._together = self._together or _TOO_MANY
            for tid in sorted(threads):
                self._open(tid, [EVERYWHERE] if self._together else sorted(cpus), running)
        except OSError as error:
            self.discard()
            why = error.strerror or str(error)
            raise MemscError(f"counting process {pid}", why, "see `memsc doctor`") from error

    def _open(self, tid: int, cpus: Sequence[int], running: bool) -> None:
        root = self._roots[tid] = _Root(tid, _name(self._pid, tid))
        for cpu in cpus:
            for inherit, side in ((False, root.alone), (True, root.all)):
                reply, descriptors = self._ask(
                    self._pid, tid, cpu, inherit=inherit, on_exec=not running
                )
                side[cpu] = dict(zip(reply["names"], descriptors, strict=True))
        if running:
            for descriptor in root.descriptors():
                fcntl.ioctl(descriptor, perf.ENABLE, 0)

    def look(self) -> None:
        """See what the threads are called by now: a program names itself when it begins."""
        for root in self._roots.values():
            root.name = _name(self._pid, root.tid) or root.name

    def finish(self, key: fmt.RoundKey) -> None:
        """Write what was counted in a round, whose program has ended or is left to itself."""
        if not self._roots:
            return
        rows: list[tuple[object, ...]] = []
        ran, here = dict[int, int](), dict[int, int]()
        for tid, thread, side, counts in self._told():
            _, anywhere, could = counts[REFERENCE]
            if tid:
                ran[tid] = max(ran.get(tid, 0), anywhere)
                here[tid] = here.get(tid, 0) + could
            for event, (value, _, running) in counts.items():
                who = (*key, self._pid, tid, thread, side, THREAD, event)
                rows.append((*who, value, could, min(running, could)))
        self._elsewhere_ns += sum(max(ran[tid] - here[tid], 0) for tid in ran)
        self._writer.add_rows(TABLE, COUNTERS_SCHEMA, rows)
        self.rows += len(rows)
        if self._elsewhere_ns > _WORTH_TELLING_NS:
            cpus = ", ".join(map(str, sorted(self._app | self._service)))
            self._note(f"counters: threads ran on other CPUs than {cpus}, too: not counted there")
        self.discard()

    def _told(self) -> Iterator[tuple[int, str, str, Counts]]:
        """Number, name, side and counts: of each thread, then of all others, on each side."""
        others: dict[str, list[Counts]] = {}
        for root in self._roots.values():
            mine: dict[str, list[Counts]] = {}
            for cpu, events in root.all.items():
                side, alone = self._side(cpu), _read(root.alone[cpu])
                mine.setdefault(side, []).append(alone)
                others.setdefault(side, []).append(_less(_read(events), alone))
            for side, parts in mine.items():
                yield root.tid, root.name, side, _sum(parts)
        for side, parts in others.items():
            yield 0, OTHERS, side, _sum(parts)

    def _side(self, cpu: int) -> str:
        if cpu == EVERYWHERE or cpu in self._app & self._service:
            return "both"
        return "service" if cpu in self._service else "app"

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def discard(self) -> None:
        """Stop, and forget what was counted since `begin`."""
        for root in self._roots.values():
            for descriptor in root.descriptors():
                os.close(descriptor)
        self._roots = {}


def _read(events: dict[str, int]) -> Counts:
    size = READING.size
    found = {name: READING.unpack(os.read(events[name], size)) for name in events}
    return {name: (value, enabled, running) for name, (value, enabled, running) in found.items()}


def _less(whole: Counts, part: Counts) -> Counts:
    # One after the other is read: what still runs may have gone on in between.
    return {
        name: (max(a - part[name][0], 0), max(b - part[name][1], 0), max(c - part[name][2], 0))
        for name, (a, b, c) in whole.items()
    }


def _sum(parts: Sequence[Counts]) -> Counts:
    """Of several CPUs. The kernel says on each how long a thread was enabled on all of them."""
    out: Counts = {}
    for part in parts:
        for name, (value, enabled, running) in part.items():
            before = out.get(name, (0, 0, 0))
            out[name] = (before[0] + value, max(before[1], enabled), before[2] + running)
    return out


def _name(pid: int, tid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/task/{tid}/comm").read_bytes()[:-1].decode(errors="replace")
    return ""
