# SPDX-License-Identifier: MIT
"""`memsc run`."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from memsc.commands.options import (
    add_cpus,
    add_isolation,
    add_patience,
    add_program,
    add_ring,
    command_of,
    patient,
    ring_of,
)
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from memsc.runtime.launch import Launch
    from memsc.runtime.session_socket import SessionSocket
    from memsc.runtime.tally import Tally


class Command:
    """Run an unmodified program, its system calls executed on another CPU.

    memsc becomes the program: its exit status, signals and terminal are its own.
    With --stats or --isolate it runs as a child, and memsc ends as that does. A
    dynamically linked glibc program is carried, and so is a script by its
    interpreter.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.usage = "%(prog)s [OPTION …] [--] PROGRAM [ARGUMENT …]"
        parser.add_argument(
            "--transport",
            default="memsc",
            metavar="T",
            help="direct, ipi, adaptive, memsc (default)",
        )
        parser.add_argument(
            "--service", default="inline", metavar="MODE", help="inline (default), scanner"
        )
        add_cpus(parser)
        add_isolation(parser)
        add_patience(parser)
        parser.add_argument(
            "--stats",
            action="store_true",
            help="print on stderr which calls were forwarded, which not, and why",
        )
        parser.add_argument(
            "--stats-json", metavar="FILE", help="write all of that as JSON; - is stdout"
        )
        parser.add_argument(
            "--attachable", action="store_true", help="`memsc trace --pid` may look at it later"
        )
        add_ring(parser)
        parser.add_argument("-q", "--quiet", action="store_true", help="do not say which CPUs")
        add_program(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Become the program, or wait for it."""
        from dataclasses import replace

        from memsc.runtime import program
        from memsc.runtime.starting import execute
        from memsc.tracer.state.folders import running_folder
        from memsc.tracer.state.starts import remember

        command = command_of(args, "run")
        launch, notes = launch_of(args)
        direct = launch.transport == "direct"
        counted = args.stats or args.stats_json is not None
        if direct and counted:
            remedy = "leave --stats out, or choose another transport"
            raise MemscError("--stats", "the transport direct counts nothing", remedy, USAGE)
        if direct and args.attachable:
            remedy = "choose another transport, or start it with `memsc trace --transport direct`"
            raise MemscError("--attachable", "the transport direct shows no calls", remedy, USAGE)
        if args.ring is not None and not args.attachable:
            why = "nobody records the program's calls"
            raise MemscError("--ring", why, "leave it out, or give --attachable too", USAGE)
        ring = ring_of(args)
        looked = program.Looked()
        find = program.resolve if direct else program.check
        path = find(command[0], looked)
        messages = [] if args.quiet else _messages(launch, notes)
        _print(*messages)
        if args.attachable:
            launch = replace(launch, directory=running_folder(), ring_records=ring)
        if not (counted or args.isolate):
            if not args.attachable:  # its folder may go while no such program runs
                remember(launch, looked, messages)
            execute(launch, path, command)
        return _as_child(launch, path, command, args)


def launch_of(args: argparse.Namespace) -> tuple[Launch, list[str]]:
    """The launch that the options ask for, and what is less than ideal about its CPUs."""
    from memsc.runtime.launch import Launch
    from memsc.tracer.session.arms import place

    arm = (args.transport, args.service)
    (launch,), notes = place([arm], patient(args, Launch()), args.app_cpus, args.service_cpus)
    return launch, notes


def _messages(launch: Launch, notes: list[str]) -> list[str]:
    from memsc.runtime.topology import format_cpus

    direct = launch.transport == "direct"
    what = launch.transport if direct else f"{launch.transport} {launch.service}"
    where = [f"application {_cpus(launch.app_cpus)} {format_cpus(launch.app_cpus)}"]
    if launch.service_cpus:
        where.append(f"service {_cpus(launch.service_cpus)} {format_cpus(launch.service_cpus)}")
    return [f"memsc: {what}, {', '.join(where)}", *(f"memsc: note: {note}" for note in notes)]


def _cpus(cpus: tuple[int, ...]) -> str:
    return "CPU" if len(cpus) == 1 else "CPUs"


def _print(*lines: str) -> None:
    """Print on stderr, if there is one: the program must run all the same."""
    if not lines:
        return
    stream = sys.stderr
    if stream is not None:  # pyright: ignore[reportUnnecessaryComparison]
        with suppress(OSError):
            print(*lines, sep="\n", file=stream, flush=True)


def _as_child(launch: Launch, path: str, command: list[str], args: argparse.Namespace) -> int:
    from contextlib import nullcontext
    from dataclasses import replace

    from memsc.runtime.session_socket import SessionSocket
    from memsc.runtime.supervise import ended_as, supervise
    from memsc.runtime.tally import Tally
    from memsc.tracer.session.observe.channel import isolated

    statistics = args.stats or args.stats_json is not None
    if args.stats_json is not None:
        _write(args.stats_json, "")  # whether it can be is better known before the program ran
    tally = Tally()
    alone = isolated(launch.app_cpus, launch.service_cpus) if args.isolate else nullcontext()
    with SessionSocket() if statistics else nullcontext() as session, alone as adopt:
        # Onto an isolated CPU only the helper can put it.
        cpus = () if args.isolate else launch.app_cpus
        end = None if session is None else session.end
        how = replace(launch, session=end, stats=statistics, app_cpus=cpus)
        listen = None if session is None else partial(_listen, session, tally)
        status = supervise(how, path, command, adopt, listen)
    if statistics:
        _report(launch, tally, args)
    return ended_as(status)


def _listen(session: SessionSocket, tally: Tally) -> None:
    while messages := session.receive():
        for message in messages:
            message.close()
            tally.add(message)


def _report(launch: Launch, tally: Tally, args: argparse.Namespace) -> None:
    import json

    from memsc.runtime.tally import to_json
    from memsc.runtime.tally_text import table

    if args.stats:
        _print(*table(tally, f"{launch.transport} {launch.service}"))
    if args.stats_json is not None:
        how = {"transport": launch.transport, "service": launch.service}
        _write(args.stats_json, json.dumps(to_json(tally) | how, indent=1) + "\n")


def _write(file: str, text: str) -> None:
    from memsc.runtime.errors import FAILURE, failed
    from memsc.runtime.outputs import is_kept, named, whole

    path = named(file)
    if not text and is_kept(path):
        return  # to open a pipe is to begin with it
    try:
        with whole(path) as place:
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise failed(file, error, "name another file", FAILURE if text else USAGE) from error
