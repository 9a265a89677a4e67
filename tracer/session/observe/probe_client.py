# SPDX-License-Identifier: MIT
"""The session's side of the privileged helper's probes: steer them, drain what they see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.tracer.helper import wire
from memsc.tracer.session.observe.channel import Channel
from memsc.tracer.session.observe.event_ring import Counters, EventRing, Events

if TYPE_CHECKING:
    from memsc.tracer.session.unwind.stack_ring import StackRing
    from memsc.tracer.session.unwind.tables import Tables


@dataclass(frozen=True)
class Loaded:
    """What became of one probe.

    Args:
        name: the probe's name.
        usable: it can be attached (after `attach`: it is attached).
        reason: why not, else None.
        remedy: what to do about that, else None.
        absent: kinds of events that this kernel cannot show, and why; their count is not known.
        ways: how its programs are attached, out of `memsc.probes.declaration.Way`.
        uncounted: counters that its programs cannot read, and why; known once it was attached.
    """

    name: str
    usable: bool
    reason: str | None
    remedy: str | None
    absent: Mapping[str, str]
    ways: Sequence[str] = ()
    uncounted: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Losses:
    """Events of one probe that never reached the session, since it was loaded.

    Args:
        dropped: found the ring buffer full; exact.
        missed: hits the kernel skipped because the CPU was inside a BPF program; None if it does
            not say.
    """

    dropped: int
    missed: int | None

    @property
    def total(self) -> int:
        """All that are known of."""
        return self.dropped + (self.missed or 0)


@dataclass
class _Ring:
    ring: EventRing
    losses: Counters


class Helper:
    """The privileged helper process, and the ring buffers of its probes. A context manager.

    Args:
        channel: a helper that others use too, who end it; without, one is started at once, and
            ended by `close`.

    Steps: `load`, `watch` and `track`, `attach`, `recording = True`,
    `drain` now and then, `losses` at the end. Not for more than one thread at a time.

    Raises:
        MemscError: it cannot be started; every method raises it when the helper has died.
    """

    def __init__(self, channel: Channel | None = None) -> None:
        self._rings: dict[str, _Ring] = {}
        self._recording: Counters | None = None
        self._tracking: Counters | None = None
        self._tables: dict[str, int] = {}
        self.stack_ring: StackRing | None = None
        self.stack_tables: Tables | None = None
        self._shared = channel is not None
        self._channel = channel or Channel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the helper, and with it all its probes; what was not drained is gone."""
        for ring in self._rings.values():
            ring.ring.close()
            ring.losses.close()
        self._rings = {}
        for counters in (self._recording, self._tracking):
            if counters is not None:
                counters.close()
        self._recording = self._tracking = None
        if self.stack_ring is not None:
            self.stack_ring.close()
        if self.stack_tables is not None:
            self.stack_tables.close()
        self.stack_ring = self.stack_tables = None
        while self._tables:
            os.close(self._tables.popitem()[1])
        if not self._shared:
            self._channel.close()

    # Probes.

    def load(
        self, probes: Sequence[str], ring_bytes: Mapping[str, int] | None = None
    ) -> dict[str, Loaded]:
        """Compile probes and map their ring buffers; once per helper, about a second.

        Args:
            probes: names out of `memsc.probes.declaration.names()`.
            ring_bytes: ring buffer sizes by probe, each a power of two of at least a page; default
                is the declaration's. It is locked kernel memory.

        Returns:
            What became of each; those not usable cannot be attached.

        Raises:
            MemscError: nothing can be traced here (headers, BCC, tracefs), or the sizes are wrong.
        """
        request, arguments = loading(probes, ring_bytes)
        reply, descriptors = self._channel.ask(request, **arguments)
        by_table = dict(zip(reply["tables"], descriptors, strict=True))
        words = int(reply["cpus"]) * wire.LOSS_WORDS
        try:
            self._recording = Counters(by_table["recording"], 1, writable=True)
            self._tracking = Counters(by_table["tracking_losses"], words)
            for name, size in reply["ring_bytes"].items():
                ring = EventRing.from_descriptor(
                    by_table[f"{name}_events"], size, np.dtype(find(name).layout())
                )
                losses = Counters(by_table[f"{name}_losses"], words)
                self._rings[name] = _Ring(ring, losses)
                for table in find(name).tables:
                    self._tables[table] = os.dup(by_table[table])
            if size := int(reply["walk_ring_bytes"]):
                self._walk(by_table, size)
        except OSError as error:
            raise MemscError(
                "mapping the ring buffers", str(error.strerror), "choose smaller ones"
            ) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.headers: str = reply["headers"]
        self.warning: str | None = reply["warning"]
        self.unwalked: str | None = reply["unwalked"]
        return _states(reply)

    def _walk(self, by_table: Mapping[str, int], size: int) -> None:
        # Slow to import, and most sessions walk no stacks.
        from memsc.tracer.session.unwind import stack_ring, tables  # noqa: PLC0415

        self.stack_ring = stack_ring.StackRing(by_table[stack_ring.NAME], size)
        self.stack_tables = tables.Tables({name: by_table[name] for name in tables.NAMES})

    def attach(self, *probes: str) -> dict[str, Loaded]:
        """Attach loaded probes; those attached already stay so. Milliseconds, no compiling.

        Returns:
            What became of each; `usable` now says that it is attached.

        Raises:
            MemscError: one of them is not loaded.
        """
        return _states(self._channel.ask("attach", probes=list(probes))[0])

    def detach(self, *probes: str) -> None:
        """Detach probes, to be attached again at will; about 0.1 s. What they saw stays drainable.

        Raises:
            MemscError: one of them is not loaded.
        """
        self._channel.ask("detach", probes=list(probes))

    def track(self, pid: int) -> int:
        """Track a process: all its threads, and whatever they start from now on.

        Returns:
            Number of threads it has now.

        Raises:
            MemscError: there is no such process, or it belongs to another user.
        """
        return int(self._channel.ask("track", pid=pid)[0]["threads"])

    def watch(self, cpus: Iterable[int]) -> None:
        """See events of these CPUs too, whatever task they concern; replaces the former set.

        Raises:
            MemscError: the machine cannot have such a CPU.
        """
        self._channel.ask("cpus", cpus=sorted(set(cpus)))

    @property
    def recording(self) -> bool:
        """Whether attached probes write events; setting it takes effect at once, everywhere."""
        return self._recording is not None and bool(self._recording.words[0])

    @recording.setter
    def recording(self, on: bool) -> None:
        if self._recording is None:
            raise MemscError("tracing", "no probe is loaded", "load probes first")
        self._recording.words[0] = int(on)

    # Events.

    def drain(self, probe: str, limit: int | None = None) -> Events:
        """Events of a probe since the last drain, without a system call.

        Args:
            probe: a loaded one.
            limit: at most so many; default all.

        Returns:
            Structured array, shape (events,), with the columns of the probe's declaration in their
            units; nearly, not strictly, in the order of `time`.

        Raises:
            KeyError: it is not loaded.
        """
        return self._rings[probe].ring.drain(limit)

    def mappings(self, pid: int) -> list[int]:
        """Descriptors of perf events, one per CPU, that record what a process and its children map.

        Raises:
            MemscError: there is no such process, or it belongs to another user.
        """
        return self._channel.ask("mappings", pid=pid)[1]

    def table(self, name: str) -> int:
        """Descriptor of a loaded probe's further table; stays the helper's."""
        return self._tables[name]

    def fill(self, probe: str) -> float:
        """How full the probe's ring buffer is, 0 to 1."""
        ring = self._rings[probe].ring
        return ring.pending / ring.capacity

    def losses(self) -> dict[str, Losses]:
        """Losses of each loaded probe since it was loaded; asks the helper.

        `tracking` counts tasks that found no place in the set of tracked ones.
        """
        misses = self._channel.ask("misses")[0]["misses"]
        losses = {
            name: Losses(_sum(ring.losses), misses[name]) for name, ring in self._rings.items()
        }
        if self._tracking is not None:
            losses["tracking"] = Losses(_sum(self._tracking), None)
        return losses

    def costs(self, *, account: bool) -> dict[str, tuple[int, int]]:
        """What each loaded probe's programs took so far.

        Args:
            account: from now on the kernel takes account, which costs some 20 ns a hit, or not.

        Returns:
            By probe nanoseconds and hits, of all times under account.

        Raises:
            MemscError: the kernel keeps no such account.
        """
        found = self._channel.ask("costs", account=account)[0]["costs"]
        return {name: (int(ns), int(hits)) for name, (ns, hits) in found.items()}

    def dropped(self, probe: str) -> int:
        """Events of a probe that found its ring buffer full since it was loaded; no system call."""
        return _sum(self._rings[probe].losses)

    def sweep(self) -> list[str]:
        """Remove uprobe entries that BCC programs which are gone left behind; returns their names.

        Raises:
            MemscError: tracefs cannot be used.
        """
        return list(self._channel.ask("sweep")[0]["removed"])

    def alive(self) -> bool:
        """Whether the helper still runs."""
        return self._channel.alive()

    @property
    def pid(self) -> int:
        """The helper's process."""
        return self._channel.pid


def loading(
    probes: Sequence[str], ring_bytes: Mapping[str, int] | None = None
) -> tuple[str, dict[str, Any]]:
    """The request of `Helper.load`: who knows it early can have `Channel` send it early."""
    return "load", {"probes": list(probes), "ring_bytes": dict(ring_bytes or {})}


def _states(reply: wire.Message) -> dict[str, Loaded]:
    return {name: Loaded(name, **state) for name, state in reply["probes"].items()}


def _sum(counters: Counters) -> int:
    return int(counters.words[:: wire.LOSS_WORDS].sum())
