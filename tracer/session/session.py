# SPDX-License-Identifier: MIT
"""A session: runs each round of each arm, drains what it leaves, and writes the trace."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from memsc.runtime import library, topology
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.runtime.region import Region
from memsc.runtime.session_socket import SessionSocket
from memsc.runtime.starting import Target
from memsc.tracer.format import CALLS, InTurn, Round, RoundKey, Session, Snapshot
from memsc.tracer.format.session_file import sums
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session import environment
from memsc.tracer.session.build import build_of
from memsc.tracer.session.calibration import Calibration
from memsc.tracer.session.clock import ClockTrack
from memsc.tracer.session.corunner import corunner
from memsc.tracer.session.drain import Drain
from memsc.tracer.session.ending import endings
from memsc.tracer.session.observe.channel import Elevation
from memsc.tracer.session.observe.probe_set import CALIBRATING_HITS, Probing
from memsc.tracer.session.quietness import Quiet
from memsc.tracer.session.recording import Observers, Recording, Started, observe
from memsc.tracer.session.sink import Everything
from memsc.tracer.session.sums import described, measures, together, write_timings
from memsc.tracer.session.surroundings import between, read
from memsc.tracer.session.work import Work, is_piped
from memsc.tracer.state import folders
from memsc.tracer.state.backlog import Backlog, Before, Kept

_SPIN_MS = 250


class TraceSession:
    """Runs rounds and keeps the trace whole. A context manager; leaving it completes the trace.

    Args:
        writer: where to.
        command: what the user asked for, for the record.
        arms: the launch of each arm, in the order of the report.
        probes: names of the probes to use.
        isolate: keep everything else off the application's CPUs.
        calibrate: measure first what recording and probes cost, which takes a second.
        snapshot: keep only slow calls and what is around them.
        every: of how many calls one passes a probe's static places, where it is not as declared.
        allow_unrecorded: what is not recorded shall withhold no verdict.
        ok_status: exit statuses of its programs, beside 0, that are no failure.
        in_turn: the two sides of a comparison that it is to record.
        earlier: the session that this one goes on with (see `tracer.resume`).

    Raises:
        MemscError: its folder cannot be made. Of probes that cannot be used the trace says why.
    """

    def __init__(
        self,
        writer: TraceWriter,
        command: Sequence[str],
        arms: Sequence[Launch],
        probes: Sequence[str] = (),
        *,
        isolate: bool = False,
        calibrate: bool = True,
        snapshot: Snapshot | None = None,
        every: Mapping[str, int] | None = None,
        allow_unrecorded: bool = False,
        ok_status: Sequence[int] = (),
        in_turn: InTurn | None = None,
        earlier: Session | None = None,
    ) -> None:
        self.writer = writer
        self._arms = {arm.arm: arm for arm in arms}
        self._elevation = Elevation()
        self.probing = Probing(writer, probes, self._elevation, every or {})
        self._calibrate = calibrate
        self.quiet = Quiet(self._elevation, isolate)
        self._earlier = earlier
        self._rounds: list[Round] = list(earlier.rounds) if earlier else []
        self._made: dict[str, int] = {}
        self._notes: list[str] = []
        self._folder = folders.session_folder()
        self.scratch = self._folder / "scratch"  # for files of the work, in memory
        self.scratch.mkdir()
        self.clock = ClockTrack()
        self._by = Observers(writer, self.probing, self.quiet, self.clock, snapshot)
        build, unknown = build_of(command)
        self._session = Session(
            memsc=library.version(),
            created=earlier.created if earlier else datetime.now(UTC).isoformat(timespec="seconds"),
            command=list(command),
            clock=self.clock.fit(),
            arms={name: described(launch) for name, launch in self._arms.items()},
            snapshot=snapshot,
            record_every=max((arm.record_every for arm in arms), default=1),
            allow_unrecorded=allow_unrecorded,
            in_turn=in_turn,
            ok_status=list(ok_status),
            build=build,
            build_reason=unknown,
        )

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(endings())
            # Two for each process that is recorded; the program's own limit stays what it was.
            self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
            held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, self._files)
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._files[1], self._files[1]))
            held.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            held.callback(shutil.rmtree, self._folder, ignore_errors=True)
            held.callback(self._elevation.close)
            # What could not be entered is not left either.
            with ExitStack() as begun:
                if self._earlier is None:  # whenever it is killed, there is a trace
                    self._save(complete=False)
                    begun.callback(self.writer.withdraw)
                begun.callback(self.quiet.end)
                begun.callback(self.probing.abandon)
                self._begin()
                begun.pop_all()
            self._held = held.pop_all()
        return self

    def _begin(self) -> None:
        if not self.quiet.wanted:  # or the helper has something else to do first
            self.probing.begin_loading()
        machine = topology.read()
        application, service = self._cpus()
        # The session works beside the service, never on the application's CPUs.
        topology.move_to((machine.reachable - application) or machine.reachable)
        self.clock.measure_skew(sorted(application), sorted(service))
        self._session = msgspec.structs.replace(
            self._session,
            environment=environment.describe(topology=machine),
            clock=self.clock.fit(),
        )
        self.quiet.begin(application, service, self._spin)
        self.probing.load(application, service)
        if static := self.probing.calibrated:
            self._see_hits(static)
        if self._calibrate:
            ns = self._session.clock.ns_per_cycle
            calibration = Calibration(self._hold, self.probing, self.scratch, ns)
            found = calibration.attempt(list(self._arms.values()))
            self._session = msgspec.structs.replace(self._session, perturbation=found)
        self._save(complete=False)

    def _spin(self) -> None:
        """Keep the application's first CPU busy for a moment, by a program as those to come."""
        target = self._hold(self._plain, (str(WORK), "spin", str(_SPIN_MS)), layered=False)
        target.go()
        target.process.wait()

    @property
    def _plain(self) -> Launch:
        return Launch(transport="direct", app_cpus=next(iter(self._arms.values())).app_cpus)

    def _see_hits(self, static: Sequence[str]) -> None:
        """See what passing a static probe costs where the application runs."""
        command = (str(WORK), "hits", str(CALIBRATING_HITS))
        with Path(os.devnull).open("r+b") as null:
            target = self._hold(self._plain, command, layered=False, stdin=null)
            observe(self._by, Started(target), static, sink := Everything(self.writer))
        self.probing.finish_round(static, sink)

    def _hold(self, launch: Launch, command: Sequence[str], **how: Any) -> Target:
        """A program on hold, on its CPUs; where these are isolated only the helper can put it."""
        isolated = self.quiet.isolated
        target = Target(replace(launch, app_cpus=()) if isolated else launch, command, **how)
        try:
            resource.prlimit(target.pid, resource.RLIMIT_NOFILE, self._files)
            if isolated:
                self.quiet.adopt(target.pid)
        except BaseException:
            target.end()
            raise
        return target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._held:
            self.probing.close()
            self._session = msgspec.structs.replace(self._session, isolation=self.quiet.end())
            # After a failed write, or a fault of ours, what was written is readable as it is.
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self.writer.flush()
                self._save(complete=True)

    # ---- rounds ----

    def round(
        self,
        arm: str,
        work: Work,
        number: int,
        *,
        turn: int | None = None,
        check: bool = False,
        recording: bool = True,
        interactive: bool = False,
        duration_s: float | None = None,
    ) -> Round:
        """Run one round and write what it left.

        Args:
            arm: name of one of the arms.
            work: what to run.
            number: of the round among those of its arm and case.
            turn: in which it stands, where that is not its number.
            check: attach the probes that disturb the calls, for the invariants.
            recording: record calls; without, only the work's own timings are kept.
            interactive: the program gets this process's standard input and output.
            duration_s: end it after so long; None waits for its end.

        Raises:
            MemscError: the disk is full, a probe's helper died.
            KeyboardInterrupt: after the program was ended and what it left was written.
        """
        with SessionSocket(waits=self._arms[arm].ring_policy == "wait") as socket:
            return self._round(
                socket,
                RoundKey(arm, work.case, number),
                work,
                check=check,
                recording=recording,
                interactive=interactive,
                duration_s=duration_s,
                turn=turn,
            )

    def _round(
        self,
        socket: SessionSocket,
        key: RoundKey,
        work: Work,
        *,
        check: bool,
        recording: bool,
        interactive: bool,
        duration_s: float | None,
        turn: int | None,
    ) -> Round:
        probes = self.probing.of_round(check) if recording and not work.bare else []
        turn = key.round if turn is None else turn
        facts: dict[str, Any] = {"check": check, "recording": recording, "turn": turn}
        backlog = self.backlog(Round(*key, probes=probes, **facts)) if recording else None
        launch = replace(
            own := work.launch or self._arms[key.arm],
            session=socket.end,
            directory=backlog and backlog.folder,
            keep=True,
            recording=recording,
            ring_records=work.ring_records or own.ring_records,
            probe_every=self.probing.every(probes),
        )
        seen = self.recording(key, socket, probes, self._apart(launch), backlog=backlog)
        with (
            Path(os.devnull).open("r+b") as null,
            self.probing.detached(work.bare),
            self.quiet.held(work.isolated) as isolated,
            corunner(work.beside, sorted(self._cpus()[1])),
        ):
            target = self._hold(
                launch,
                work.command,
                layered=work.layered,
                stdin=None if interactive else null,
                stdout=null if work.quiet else None,
                stderr=work.errors,
            )
            socket.let_go()
            around = read()
            if work.layered:
                seen.drain.carried.executes(target.pid, work.command[0])
            program = Started(target, seen.drain)
            seen.run(program, undisturbed=work.ring_holds_all, duration_s=duration_s)
        surroundings = between(around, read())
        with seen.over():
            drain, made = seen.drain, seen.drain.counts
            # A program that runs directly, unrecorded, has nobody who counts its calls; any other
            # round of the same work tells.
            calls = self._made[work.case] = made.made or self._made.get(work.case, 0)
            write_timings(
                self.writer, key, work, recording=recording, calls=calls, cycles=seen.cycles
            )
            done = seen.told(
                covered=work.layered and recording,
                surroundings=surroundings,
                **facts,
                pids=sorted(drain.pids),
                exit_status=target.process.returncode,
                piped=not work.quiet and is_piped(),
                calls=drain.calls if recording else None,
                lost=made.dropped if recording else None,
                made=made.made,
                unfinished=made.unfinished if recording else None,
                skipped=made.skipped if recording else None,
                local=made.local,
                measures=measures(work),
                isolated=isolated,
            )
            self.keep(done)
            if drain.outlived:
                pids = ", ".join(map(str, sorted(drain.outlived)))
                self.note(f"{key.arm}: processes outlive the program, unrecorded: {pids}")
        return done

    def recording(
        self,
        key: RoundKey,
        source: SessionSocket | Region,
        probes: Sequence[str],
        service_cpus: frozenset[int] = frozenset(),
        *,
        backlog: Backlog | None = None,
    ) -> Recording:
        """Begin a round; as `Recording`."""
        return Recording(self._by, key, source, probes, service_cpus, backlog=backlog)

    def backlog(self, begun: Round, attached: Before | None = None) -> Backlog | None:
        """Where a round's calls are kept, as of `Kept`; a snapshot chooses those it keeps."""
        if self._session.snapshot is not None:
            return None
        cycles, ns = self.clock.sample()
        begun = msgspec.structs.replace(begun, start_cycles=cycles, start_ns=ns)
        trace, rows = self.writer.folder, self.writer.on_disk(CALLS)
        kept = Kept.of(trace, self._session.created, rows, begun, attached)
        return Backlog.make(self._folder, kept)

    def keep(self, done: Round) -> None:
        """Note a round that is over, and all of it written."""
        self._rounds.append(done)
        self._save(complete=False)

    @contextmanager
    def shown_to(self, look: Callable[[Drain], None]) -> Generator[None]:
        """Meanwhile somebody is told whenever rings were drained."""
        self._by.look = look
        try:
            yield
        finally:
            self._by.look = None

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return list(self._arms)

    @property
    def done(self) -> set[RoundKey]:
        """Rounds that are over, those of an earlier session among them."""
        return {r.key for r in self._rounds}

    @property
    def record_every(self) -> int:
        """One of so many calls is recorded."""
        return self._session.record_every

    def note(self, text: str) -> None:
        """Have the user told."""
        self._notes.append(text)

    def take_notes(self) -> list[str]:
        """What the user should be told, and was not yet."""
        found = self._notes + self.quiet.notes + self.probing.notes
        self._notes, self.quiet.notes, self.probing.notes = [], [], []
        return found

    # ---- the record ----

    @staticmethod
    def _apart(launch: Launch) -> frozenset[int]:
        """The service's CPUs where its programs are not to run."""
        shared = set(launch.app_cpus) & set(launch.service_cpus)
        return frozenset(() if shared else launch.service_cpus)

    def _cpus(self) -> tuple[set[int], set[int]]:
        application = {cpu for arm in self._arms.values() for cpu in arm.app_cpus}
        service = {cpu for arm in self._arms.values() for cpu in arm.service_cpus}
        return application, service

    def _save(self, complete: bool) -> None:
        arms = {
            name: msgspec.structs.replace(arm, **sums(name, self._rounds))
            for name, arm in self._session.arms.items()
        }
        self._session = msgspec.structs.replace(
            self._session,
            arms=arms,
            clock=self.clock.fit(),
            rounds=list(self._rounds),
            probes=together(self.probing.status, self._earlier.probes if self._earlier else {}),
            counters=self.probing.counters,
            complete=complete,
        )
        self.writer.session(self._session)
