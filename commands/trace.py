# SPDX-License-Identifier: MIT
"""`memsc trace`."""

from __future__ import annotations

import argparse
import signal
from typing import TYPE_CHECKING

from memsc.commands.options import (
    add_calibration,
    add_cpus,
    add_isolation,
    add_patience,
    add_program,
    announce,
    command_of,
    patient,
    say,
)
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from memsc.tracer.format import Round
    from memsc.tracer.session import TraceSession

LARGEST_RING = 1 << 30  # what the library takes
SIGNALLED = 128


class Command:
    """Run a program and record where the time of each of its calls goes.

    One arm for each transport and service mode asked for; with several arms or
    rounds the program runs once for each, in turn (A B B A), and all but the first
    run have no standard input and output. Ends with the program's exit status.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.usage = "%(prog)s -o DIR [OPTION …] [--] PROGRAM [ARGUMENT …]"
        parser.add_argument("-o", "--output", required=True, metavar="DIR", help="trace folder")
        parser.add_argument("-f", "--force", action="store_true", help="replace a trace there")
        parser.add_argument(
            "--transport", default="memsc", metavar="T,…", help="direct, ipi, memsc (default)"
        )
        parser.add_argument(
            "--service", default="inline", metavar="MODE,…", help="inline (default), scanner"
        )
        add_cpus(parser)
        add_isolation(parser)
        add_calibration(parser)
        add_patience(parser)
        parser.add_argument(
            "--probes",
            default="sched,ipi",
            metavar="P,…",
            help="sched, ipi (both by default), stages, syscalls (both in a check round), or none",
        )
        parser.add_argument(
            "--rounds", type=int, default=1, metavar="N", help="runs of each arm (1)"
        )
        parser.add_argument(
            "--ring", type=int, default=1 << 18, metavar="N", help="records per call ring (262144)"
        )
        parser.add_argument(
            "--when-full",
            choices=("wait", "drop"),
            default="wait",
            help="a full call ring makes the caller wait (default), or drops and counts",
        )
        add_program(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Run every round and write the trace."""
        from memsc.runtime.launch import Launch
        from memsc.runtime.program import check
        from memsc.tracer.arms import place, product
        from memsc.tracer.format import SESSION
        from memsc.tracer.session import TraceSession
        from memsc.tracer.writer import TraceWriter, prepare_output

        command = command_of(args, "trace")
        if args.rounds < 1 or args.ring < 1:
            raise MemscError("--rounds, --ring", "less than one", "give a positive number", USAGE)
        if args.ring > LARGEST_RING:
            why = f"a call ring holds {LARGEST_RING} records at most"
            raise MemscError(f"--ring {args.ring}", why, "give a smaller number", USAGE)
        check(command[0])
        template = patient(args, Launch(ring_records=args.ring, ring_policy=args.when_full))
        asked = product(args.transport.split(","), args.service.split(","))
        arms, notes = place(asked, template, args.app_cpus, args.service_cpus)
        probes = known_probes(args.probes)
        folder = prepare_output(args.output, args.force)
        announce(arms, notes)
        status = 0
        try:
            with (
                TraceWriter(folder) as writer,
                TraceSession(
                    writer, command, arms, probes, isolate=args.isolate, calibrate=args.calibrate
                ) as session,
            ):
                for note in session.notes():
                    say(f"note: {note}")
                status = _rounds(session, [arm.arm for arm in arms], command, args.rounds)
        except KeyboardInterrupt as error:
            if (folder / SESSION).exists():
                say(f"interrupted; what was recorded is in {folder}")
            else:
                say("interrupted before anything was recorded")
            return status_of(error)
        for note in session.notes():
            say(f"note: {note}")
        say(f"recorded in {folder}; see `memsc report {folder}`")
        return status


def status_of(interruption: KeyboardInterrupt) -> int:
    """Exit status of a session that a signal ended."""
    from memsc.tracer.ending import Ended

    number = interruption.number if isinstance(interruption, Ended) else signal.SIGINT
    return SIGNALLED + number


def known_probes(text: str) -> tuple[str, ...]:
    """The probes of a comma-separated list.

    Raises:
        MemscError: there is no such probe.
    """
    from memsc.probes.declaration import names

    if text == "none":
        return ()
    for name in text.split(","):
        if name not in names():
            known = ", ".join((*names(), "none"))
            raise MemscError(f"--probes {name}", "there is no such probe", f"one of {known}", USAGE)
    return tuple(dict.fromkeys(text.split(",")))


def _rounds(session: TraceSession, arms: list[str], command: list[str], rounds: int) -> int:
    """Run all rounds; the exit status of the first that failed."""
    from memsc.tracer.probing import DISTURBING
    from memsc.tracer.work import Work, interleaved

    status = 0
    plan = [(arm, number, False) for arm, number in interleaved(arms, rounds)]
    if session.probing.usable & set(DISTURBING):
        plan += [(arm, rounds, True) for arm in arms]
    for position, (arm, number, check) in enumerate(plan):
        first = position == 0
        work = Work("program", tuple(command), quiet=not first)
        done = session.round(arm, work, number, check=check, interactive=first)
        status = status or _exit_status(done)
        if not done.calls:
            say(f"note: {arm}: no call was recorded; did the program reach its C library?")
    return status


def _exit_status(done: Round) -> int:
    status = done.exit_status or 0
    return SIGNALLED - status if status < 0 else status
