# SPDX-License-Identifier: MIT
"""One round's life: the same for a program that the session starts, and for one that runs already.

It begins before its program is let go and ends when all that the program left is written. What was
begun on the way is undone in reverse, whatever ends the round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from memsc.runtime.region import Region
from memsc.runtime.session_socket import SessionSocket
from memsc.runtime.starting import Target
from memsc.tracer.format import Round, RoundKey, Snapshot
from memsc.tracer.format.session_file import Stopped
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.clock import ClockTrack
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.ending import whole
from memsc.tracer.session.observe.probe_set import Probing
from memsc.tracer.session.quietness import Quiet
from memsc.tracer.session.sink import Everything, Sink
from memsc.tracer.session.snapshot import Filter
from memsc.tracer.session.watch import outlast, watch
from memsc.tracer.state.backlog import Backlog


@dataclass
class Observers:
    """What a session sees its rounds by.

    Args:
        writer: of the trace.
        probing: its probes.
        quiet: how quiet the application's CPUs are.
        clock: readings of both clocks.
        snapshot: what is kept of a round; None: all.
        look: told whenever rings were drained.
    """

    writer: TraceWriter
    probing: Probing
    quiet: Quiet
    clock: ClockTrack
    snapshot: Snapshot | None = None
    look: Callable[[Drain], None] | None = None

    def sink(self) -> Sink:
        """Where what one round leaves goes."""
        if self.snapshot is None:
            return Everything(self.writer)
        return Filter(self.writer, self.snapshot, self.clock.fit)


class Program(Protocol):
    """The program of a round."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    @property
    def running(self) -> bool:
        """It runs already, before it is recorded."""
        ...

    def kept(self) -> AbstractContextManager[None]:
        """When this is left, nothing of it is left behind that was not there before."""
        ...

    def recorded(self) -> AbstractContextManager[None]:
        """Meanwhile it runs and is recorded."""
        ...

    def wait(self) -> None:
        """Take note that it has ended."""


class Started:
    """A program that the session starts.

    Args:
        target: it, on hold.
        drain: of its regions; None: it has none.
    """

    running = False

    def __init__(self, target: Target, drain: Drain | None = None) -> None:
        self._target = target
        self._drain = drain
        self.pid = target.pid

    @contextmanager
    def kept(self) -> Generator[None]:
        """End it; where the session failed, which is no fault of its own, it runs to its end."""
        try:
            yield
        except Exception:
            if self._drain is not None:
                outlast(self._target, self._drain)
            raise
        finally:
            self._target.end()

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Let it go."""
        self._target.go()
        yield

    def wait(self) -> None:
        """Gather its exit status."""
        self._target.process.wait()


def observe(
    by: Observers,
    program: Program,
    probes: Sequence[str],
    sink: Sink,
    *,
    drain: Drain | None = None,
    duration_s: float | None = None,
) -> Stopped | None:
    """See what a program does until it has ended, or until there is a reason to stop.

    Args:
        by: what it is seen by.
        program: which.
        probes: those that it is seen by.
        sink: where its events go.
        drain: of its regions; None leaves these alone.
        duration_s: the longest it may take.

    Returns:
        The reason to stop; None if it has ended.
    """
    with ExitStack() as stack:
        stack.enter_context(program.kept())
        process = os.pidfd_open(program.pid)
        stack.callback(os.close, process)
        stack.callback(by.probing.end, probes)
        by.probing.begin(probes, program.pid, running=program.running)
        stack.callback(by.quiet.ran, by.quiet.count())
        stack.enter_context(program.recorded())
        stopped = watch(
            process, by.probing, drain, probes, sink, duration_s=duration_s, look=by.look
        )
        if stopped is None:
            program.wait()
        return stopped


class Recording:
    """One round, from its beginning.

    Args:
        by: what the session sees it by.
        key: which.
        source: where its processes hand over their regions, or that of the one that runs already.
        probes: those it has.
        service_cpus: where its programs are not to run.
        backlog: where its calls are kept until they are in the trace; None: in memory alone.

    Attributes:
        drain: of its regions.
        stopped: why its program was not seen to its end, if it was not.
    """

    def __init__(
        self,
        by: Observers,
        key: RoundKey,
        source: SessionSocket | Region,
        probes: Sequence[str],
        service_cpus: frozenset[int],
        *,
        backlog: Backlog | None = None,
    ) -> None:
        self._by = by
        self._probes = list(probes)
        self._sink = by.sink()
        eager = by.look is not None or self._sink.eager
        self.drain = Drain(self._sink, key, source, service_cpus, eager=eager, backlog=backlog)
        self.stopped: Stopped | None = None
        self._interruption: KeyboardInterrupt | None = None
        # It lasts until nothing of it is recorded any more: processes may outlive their program.
        self._began = self._ended = self._end = by.clock.sample()
        self._spent = time.process_time()

    def run(
        self, program: Program, *, undisturbed: bool = False, duration_s: float | None = None
    ) -> None:
        """Record a program until it has ended, is over its time, or the user interrupts.

        Args:
            program: which.
            undisturbed: leave its regions alone meanwhile.
            duration_s: the longest it may take.
        """
        watched = None if undisturbed else self.drain
        try:
            self.stopped = observe(
                self._by, program, self._probes, self._sink, drain=watched, duration_s=duration_s
            )
        except KeyboardInterrupt as error:
            self._interruption, self.stopped = error, "interrupted"

    @contextmanager
    def over(self) -> Generator[None]:
        """Take all that is left; meanwhile it is to be told. What interrupted it goes on then.

        Raises:
            KeyboardInterrupt: that.
        """
        goes_on = self.drain.goes_on()
        self._ended = self._end = self._by.clock.sample()
        with whole():
            self.drain.finish()
            if goes_on:
                self._end = self._by.clock.sample()
            yield
        if self._interruption is not None:
            raise self._interruption

    @property
    def cycles(self) -> int:
        """How long its program took."""
        return self._ended[0] - self._began[0]

    def told(self, *, covered: bool, **facts: Any) -> Round:
        """Write what is left of it, and tell what it was.

        Args:
            covered: whether its programs were memsc's to start and to record.
            facts: what else is known of it, as in `Round`.
        """
        lost = self._by.probing.finish_round(self._probes, self._sink, self.drain.key)
        if covered:
            kernel, drain = self._by.probing.kernel, self.drain
            facts["coverage"] = kernel.coverage(
                drain.carried, drain.pids, drain.texts, drain.missed, drain.beside
            )
        self._sink.settle()
        self._by.writer.flush()
        return Round(
            **self.drain.key._asdict(),
            probes=self._probes,
            start_cycles=self._began[0],
            start_ns=self._began[1],
            end_cycles=self._end[0],
            end_ns=self._end[1],
            events_lost=lost,
            handoff=", ".join(sorted(self.drain.handoffs)) or None,
            tracer_cpu_s=time.process_time() - self._spent,
            stopped=self.stopped,
            **self._sink.counts(),
            **facts,
        )
