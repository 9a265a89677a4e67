# SPDX-License-Identifier: MIT
"""`memsc trace`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from memsc.commands.options import (
    add_calibration,
    add_cpus,
    add_isolation,
    add_ok_status,
    add_patience,
    add_probes,
    add_program,
    add_ring,
    add_snapshot,
    add_unrecorded,
    announce,
    command_of,
    patient,
    probes_of,
    ring_of,
    say,
    snapshot_of,
)
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memsc.tracer.format import Round
    from memsc.tracer.session.session import TraceSession

SIGNALLED = 128


class Command:
    """Run a program and record where the time of each of its calls goes.

    One arm for each transport and service mode asked for; with several arms or
    rounds the program runs once for each, in turn (A B B A), and all but the first
    run have no standard input and output. Ends with the program's exit status.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        from memsc.probes.paths import PROBE as PATHS

        parser.usage = "%(prog)s -o DIR [OPTION …] [--] PROGRAM [ARGUMENT …] | --pid PID"
        parser.add_argument("-o", "--output", required=True, metavar="DIR", help="trace folder")
        parser.add_argument("-f", "--force", action="store_true", help="replace a trace there")
        parser.add_argument(
            "--transport",
            default="memsc",
            metavar="T,…",
            help="direct, ipi, adaptive, memsc (default)",
        )
        parser.add_argument(
            "--service", default="inline", metavar="MODE,…", help="inline (default), scanner"
        )
        add_cpus(parser)
        add_isolation(parser)
        add_calibration(parser)
        add_patience(parser)
        add_probes(parser)
        parser.add_argument(
            "--paths-every",
            type=_every,
            metavar="N",
            help=f"of so many calls the probe paths looks where one is made ({PATHS.every})",
        )
        parser.add_argument(
            "--rounds", type=int, default=1, metavar="N", help="runs of each arm (1)"
        )
        parser.add_argument(
            "--record-every",
            type=_every,
            default=1,
            metavar="N",
            help="record one of so many calls, chosen at random, so that the others run as if "
            "unrecorded; all are counted (1)",
        )
        add_ring(parser)
        parser.add_argument(
            "--when-full",
            choices=("wait", "drop"),
            default="wait",
            help="a full call ring makes the caller wait (default), or drops and counts",
        )
        parser.add_argument(
            "--pid", type=int, metavar="PID", help="attach to a program that runs, and leave it so"
        )
        parser.add_argument(
            "--live",
            action="store_true",
            help="show rates, stages, losses and slow calls meanwhile; the program's output is not",
        )
        parser.add_argument(
            "--duration", type=_seconds, metavar="S", help="stop after so many seconds"
        )
        add_snapshot(parser)
        add_unrecorded(parser)
        add_ok_status(parser)
        add_program(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Run every round and write the trace."""
        from memsc.runtime.launch import Launch
        from memsc.runtime.program import check
        from memsc.tracer.format.output import prepare_output
        from memsc.tracer.format.writer import TraceWriter
        from memsc.tracer.session.arms import place, product
        from memsc.tracer.session.session import TraceSession

        if args.pid is not None:
            return _attach(args)
        command = command_of(args, "trace")
        if args.rounds < 1:
            what = f"--rounds {args.rounds}"
            raise MemscError(what, "less than one", "give a positive number", USAGE)
        ring = ring_of(args)
        if args.live:
            _needs_terminal()
        snapshot = snapshot_of(args)
        _check_sparse(args)
        check(command[0])
        launch = Launch(
            ring_records=ring, ring_policy=args.when_full, record_every=args.record_every
        )
        template = patient(args, launch)
        asked = product(args.transport.split(","), args.service.split(","))
        arms, notes = place(asked, template, args.app_cpus, args.service_cpus)
        probes = probes_of(args)
        folder = prepare_output(args.output, args.force)
        announce(arms, notes)
        writer = TraceWriter(folder, replace=args.force)
        session = TraceSession(
            writer,
            command,
            arms,
            probes,
            isolate=args.isolate,
            calibrate=args.calibrate,
            snapshot=snapshot,
            allow_unrecorded=args.allow_unrecorded,
            ok_status=args.ok_status,
            every={"paths": args.paths_every} if args.paths_every else {},
        )
        names = [arm.arm for arm in arms]
        run = partial(_rounds, session, names, command, args)
        return _record(folder, session, run, live=args.live)


def _record(folder: Path, session: TraceSession, run: Callable[[], int], *, live: bool) -> int:
    """Enter a session and do its work, and say how it went."""
    from contextlib import nullcontext

    def drawn() -> AbstractContextManager[None]:
        from memsc.commands.live import shown

        return shown(session, folder.name)

    try:
        with session.writer, session:
            for note in session.take_notes():
                say(f"note: {note}")
            with drawn() if live else nullcontext():
                status = run()
    except KeyboardInterrupt as error:
        if session.writer.begun:
            say(f"interrupted; what was recorded is in {folder}")
        else:
            say("interrupted before anything was recorded")
        return status_of(error)
    for note in session.take_notes():
        say(f"note: {note}")
    say(f"recorded in {folder}; see `memsc report {folder}`")
    return status


# They look at calls one by one, or at what all calls did together.
_OF_EVERY_CALL = ("counters", "paths", "stage_counters", "stages")


def _check_sparse(args: argparse.Namespace) -> None:
    """Refuses what needs every call where one of so many is recorded.

    Raises:
        MemscError: it was asked for.
    """
    if args.record_every == 1:
        return
    what = f"--record-every {args.record_every}"
    if args.snapshot is not None:
        why = "slow calls are rare, and most of them would not be recorded"
        raise MemscError(f"{what} with --snapshot", why, "leave one of them out", USAGE)
    if needing := [name for name in probes_of(args) if name in _OF_EVERY_CALL]:
        why = "they go with every call, and most would not be recorded"
        remedy = "record twice, once with each"
        raise MemscError(f"{what} with --probes {','.join(needing)}", why, remedy, USAGE)


def _attach(args: argparse.Namespace) -> int:
    from memsc.tracer.format.output import prepare_output
    from memsc.tracer.format.writer import TraceWriter
    from memsc.tracer.session.attach import find, launch_of, record
    from memsc.tracer.session.session import TraceSession

    for given, option in ((args.program, "a program"), (args.isolate, "--isolate")):
        if given:
            why = "the program of --pid runs already, and stays as it is"
            raise MemscError(f"--pid with {option}", why, "leave one of them out", USAGE)
    if args.ring is not None:
        why = "the ring of a program that runs is as it was made"
        remedy = f"start it with `memsc run --attachable --ring {args.ring}`"
        raise MemscError(f"--pid {args.pid} --ring {args.ring}", why, remedy, USAGE)
    if args.live:
        _needs_terminal()
    snapshot = snapshot_of(args)
    _check_sparse(args)
    region = find(args.pid)
    launch = replace(launch_of(region), record_every=args.record_every)
    probes = probes_of(args)
    folder = prepare_output(args.output, args.force)
    announce([launch], [])
    command = ["memsc", "trace", "--pid", str(args.pid), region.program]
    session = TraceSession(
        TraceWriter(folder, replace=args.force),
        command,
        [launch],
        probes,
        calibrate=args.calibrate,
        snapshot=snapshot,
    )

    def run() -> int:
        if not record(session, region, args.duration).calls:
            say("note: no call was recorded; the program made none meanwhile")
        return 0

    return _record(folder, session, run, live=args.live)


def _needs_terminal() -> None:
    if not sys.stderr.isatty():
        why = "standard error is no terminal"
        raise MemscError("--live", why, "leave it out, or redirect something else", USAGE)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds above 0")


def _every(text: str) -> int:
    with suppress(ValueError):
        if 0 < (value := int(text)) < 1 << 32:
            return value
    raise argparse.ArgumentTypeError(f"'{text}' is no number of calls above 0")


def status_of(interruption: KeyboardInterrupt) -> int:
    """Exit status of a session that a signal ended."""
    from memsc.tracer.session.ending import Ended

    number = interruption.number if isinstance(interruption, Ended) else signal.SIGINT
    return SIGNALLED + number


def _rounds(
    session: TraceSession, arms: list[str], command: list[str], args: argparse.Namespace
) -> int:
    """Run all rounds; the exit status of the first that failed, or else of the first not 0."""
    from memsc.tracer.session.work import Work, interleaved

    status = 0
    plan = [(arm, number, False) for arm, number in interleaved(arms, args.rounds)]
    if session.probing.needs_check_round:
        plan += [(arm, args.rounds, True) for arm in arms]
    for position, (arm, number, check) in enumerate(plan):
        first = position == 0 and not args.live  # the terminal is either the program's or ours
        work = Work("program", tuple(command), quiet=not first)
        done = session.round(
            arm, work, number, check=check, interactive=first, duration_s=args.duration
        )
        ended, fine = _exit_status(done), args.ok_status
        if not status or (status in fine and ended not in fine):
            status = ended or status
        if not done.calls:
            why = "did the program reach its C library, is there memory in /dev/shm?"
            say(f"note: {arm}: no call was recorded; {why}")
    return status


def _exit_status(done: Round) -> int:
    # What was ended on purpose has not failed.
    status = 0 if done.stopped else done.exit_status or 0
    return SIGNALLED - status if status < 0 else status
