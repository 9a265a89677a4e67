# SPDX-License-Identifier: MIT
"""Drains while a program runs, and says why that ended."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from memsc.runtime.starting import Target
from memsc.tracer.format.session_file import Stopped
from memsc.tracer.helper.kernel.machine_time import monotonic_ns
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.ending import whole
from memsc.tracer.session.observe.probe_set import Probing
from memsc.tracer.session.sink import Sink

_UNDISTURBED_MS = 500
"""Rounds that are not to be looked into are over by then, unless the machine is busy anyway."""


def watch(
    process: int,
    probing: Probing,
    drain: Drain | None,
    probes: Sequence[str],
    sink: Sink,
    *,
    duration_s: float | None = None,
    look: Callable[[Drain], None] | None = None,
) -> Stopped | None:
    """Drain until a process has ended, or until there is a reason to stop.

    Args:
        process: descriptor of the process (pidfd).
        probing: the session's probes.
        drain: its regions; None leaves the calls alone until it has ended, and for a while the
            events, too.
        probes: those of the round.
        sink: where events go, and calls.
        duration_s: the longest it may take.
        look: told after each draining; what it sees is then as new as can be.

    Returns:
        The reason to stop: "duration", or "snapshot" once there are enough; None if the process
        has ended.
    """
    poll = select.poll()
    for descriptor in (process, *probing.news):
        poll.register(descriptor, select.POLLIN)
    end = math.inf if duration_s is None else time.monotonic() + duration_s
    while True:
        wait = _UNDISTURBED_MS if drain is None else drain.interval_ms
        wait = min(wait, (end - time.monotonic()) * 1000)
        if _ended(poll, process, probing, wait):
            return None
        if drain is None:
            # What the rest of the machine does fills the probes' rings, however few the calls are.
            with whole():
                probing.drain(probes, sink, everything=False)
        if drain is not None:
            with whole():
                before = monotonic_ns()
                drain.step()
                due = drain.due
                probing.drain(probes, sink, everything=due or sink.eager)
                if look is not None:
                    look(drain)
                else:
                    drain.take_latest()
                sink.settle(before)
                if due:
                    drain.save()
                if sink.enough(before):
                    return "snapshot"
        if time.monotonic() >= end:
            return "duration"


def _ended(poll: select.poll, process: int, probing: Probing, wait_ms: float) -> bool:
    """Wait for a process to end, and look meanwhile at what is mapped; whether it has ended."""
    until = time.monotonic() + wait_ms / 1000
    while ready := poll.poll(max((until - time.monotonic()) * 1000, 0)):
        if any(descriptor == process for descriptor, _ in ready):
            return True
        for descriptor, what in ready:
            if what & ~select.POLLIN:  # whom it is about has ended
                poll.unregister(descriptor)
        with whole():
            probing.look()
    return False


def outlast(target: Target, drain: Drain) -> None:
    """Let a program run to its end whose session has failed, which is no fault of its own.

    Its rings are emptied meanwhile, for nothing, since it may wait for that. One that is on hold
    still is ended. Ctrl-C ends it, too.
    """
    try:
        drain.discard()
        while target.running:
            with suppress(Exception):  # what has failed before may do so again
                drain.step()
            time.sleep(drain.interval_ms / 1000)
    finally:
        target.end()
