# SPDX-License-Identifier: MIT
"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from memsc.commands import streams
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from memsc.runtime.launch import Launch
    from memsc.tracer.format import Snapshot


def add_cpus(parser: argparse.ArgumentParser) -> None:
    """Declare where application and service run."""
    parser.add_argument("--app-cpus", metavar="LIST", help="CPUs of the program; default: chosen")
    parser.add_argument(
        "--service-cpus", metavar="LIST", help="CPUs of the service; default: near the program's"
    )


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """Declare the wish for CPUs that nothing else uses."""
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="keep other tasks and interrupts off the program's CPUs (needs root or sudo)",
    )


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Declare the wish to start a second sooner."""
    parser.add_argument(
        "--no-calibrate",
        dest="calibrate",
        action="store_false",
        help="do not measure first, for a second, what recording and the probes cost",
    )


def add_unrecorded(parser: argparse.ArgumentParser) -> None:
    """Declare that not all needs to be recorded."""
    parser.add_argument(
        "--allow-unrecorded",
        action="store_true",
        help="give a verdict though over 1%% of programs or calls were not recorded",
    )


def add_ok_status(parser: argparse.ArgumentParser) -> None:
    """Declare with what a program may end."""
    parser.add_argument(
        "--ok-status",
        action="extend",
        type=_statuses,
        default=[],
        metavar="N,…",
        help="exit statuses beside 0 that are no failure, as 1 of grep and diff; "
        "128 + N: ended by signal N",
    )


def _statuses(text: str) -> list[int]:
    with suppress(ValueError):
        found = [int(word) for word in text.split(",")]
        if all(0 <= status <= MOST_STATUS for status in found):
            return found
    raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers from 0 to {MOST_STATUS}")


MOST_STATUS = 255


def add_probes(parser: argparse.ArgumentParser, *more: str) -> None:
    """Declare what is watched beside the calls.

    Args:
        parser: of the sub-command.
        more: probes that it has by default beside those that say so themselves.
    """
    from memsc.probes.declaration import offered

    chosen = [p.name for p in offered() if p.by_default or p.name in more]
    others = [p.name for p in offered() if p.name not in chosen]
    *apart, last = [p.name for p in offered() if p.disturbs]
    parser.add_argument(
        "--probes",
        default=",".join(chosen),
        metavar="P,…",
        help=f"{', '.join(chosen)} (these by default), {', '.join(others)}, or none; "
        f"{', '.join(apart)} and {last} slow the calls: they have a check round of their own",
    )


def probes_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The probes that were asked for.

    Raises:
        MemscError: there is no such probe, or two of them are in each other's way.
    """
    from memsc.probes.declaration import at_one_place, offered

    if args.probes == "none":
        return ()
    chosen = tuple(dict.fromkeys(args.probes.split(",")))
    names = [probe.name for probe in offered()]
    for name in chosen:
        if name not in names:
            known = ", ".join((*names, "none"))
            raise MemscError(f"--probes {name}", "there is no such probe", f"one of {known}", USAGE)
    if both := at_one_place(chosen):
        why = f"{' and '.join(both)} sit at the same places: each would see what the other costs"
        raise MemscError(f"--probes {args.probes}", why, "record once with each", USAGE)
    return chosen


def add_snapshot(parser: argparse.ArgumentParser) -> None:
    """Declare the wish to keep slow calls only."""
    parser.add_argument(
        "--snapshot",
        metavar="EXPR",
        help="keep only calls as 'total>50us' says (or post, poll, execute, complete; ns, us, ms, "
        "s), and the calls and events around them; all are counted; a session that is killed loses "
        "what it kept in its last second, or twentieth of its time",
    )
    parser.add_argument(
        "--snapshot-window", metavar="TIME", help="what is kept before and after each (1ms)"
    )
    parser.add_argument(
        "--snapshot-count",
        type=int,
        metavar="N",
        help="end each run after N such calls; by default it goes on",
    )


def snapshot_of(args: argparse.Namespace) -> Snapshot | None:
    """The snapshots that were asked for.

    Raises:
        MemscError: an expression that is none, or an option that has no use without one.
    """
    from memsc.tracer.session.snapshot import parse

    if args.snapshot is not None:
        return parse(args.snapshot, args.snapshot_window, args.snapshot_count)
    for name in ("window", "count"):
        if getattr(args, f"snapshot_{name}") is not None:
            what, why = f"--snapshot-{name}", "it is about --snapshot, which is not given"
            raise MemscError(what, why, "give that too", USAGE)
    return None


LARGEST_RING = 1 << 30  # what the library takes
_RING = 1 << 18


def add_ring(parser: argparse.ArgumentParser) -> None:
    """Declare how many calls a thread may have recorded that nobody has taken yet."""
    parser.add_argument(
        "--ring", type=int, metavar="N", help=f"records per call ring, of each thread ({_RING})"
    )


def ring_of(args: argparse.Namespace) -> int:
    """The records per call ring that were asked for.

    Raises:
        MemscError: none, or more than the library takes.
    """
    if args.ring is None:
        return _RING
    if args.ring < 1:
        raise MemscError(f"--ring {args.ring}", "less than one", "give a positive number", USAGE)
    if args.ring > LARGEST_RING:
        why = f"a call ring holds {LARGEST_RING} records at most"
        raise MemscError(f"--ring {args.ring}", why, "give a smaller number", USAGE)
    return int(args.ring)


def add_program(parser: argparse.ArgumentParser) -> None:
    """Declare the program to run, with all that follows it."""
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="PROGRAM …", help="what to run"
    )


def command_of(args: argparse.Namespace, name: str) -> list[str]:
    """The program and its arguments.

    Raises:
        MemscError: none is named.
    """
    command: list[str] = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not command:
        raise MemscError(f"memsc {name}", "no program is named", "put it behind --", USAGE)
    return command


def add_patience(parser: argparse.ArgumentParser) -> None:
    """Declare how long service and callers poll before they sleep."""
    parser.add_argument(
        "--idle",
        metavar="US",
        help="microseconds until the service sleeps (1000; adaptive: 50), or never",
    )
    parser.add_argument(
        "--spin", action="store_true", help="service and callers poll and never sleep"
    )
    parser.add_argument(
        "--handoff",
        choices=("machine", "at-once", "intel", "amd"),
        metavar="HOW",
        default="machine",
        help="how both pass a line: machine (the default), at-once, intel, amd",
    )


def patient(args: argparse.Namespace, template: Launch) -> Launch:
    """The launch with the patience and the hand-off that were asked for.

    Raises:
        MemscError: a time that is none, or two wishes at once.
    """
    if args.spin and args.idle is not None:
        raise MemscError("--spin --idle", "--spin never sleeps", "give one of them", USAGE)
    from memsc.runtime.launch import NEVER

    template = replace(template, handoff=args.handoff)
    if args.spin:
        return replace(template, idle_us=NEVER, spin_us=NEVER)
    return template if args.idle is None else replace(template, idle_us=_idle(args.idle))


def _idle(text: str) -> int | str:
    from memsc.runtime.launch import LONGEST_US, NEVER

    if text == NEVER:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LONGEST_US):
        why = f"it is no number of microseconds up to {LONGEST_US}"
        raise MemscError(f"--idle {text}", why, f"write it like 1000, or {NEVER}", USAGE)
    return int(text)


def announce(arms: list[Launch], notes: list[str]) -> None:
    """Say on stderr which arms run where."""
    from memsc.runtime.topology import format_cpus

    names = ", ".join(arm.arm for arm in arms)
    placed = max(arms, key=lambda arm: len(arm.service_cpus))
    where = f"application on CPU {format_cpus(placed.app_cpus)}"
    if placed.service_cpus:
        where += f", service on CPU {format_cpus(placed.service_cpus)}"
    say(f"arms {names}: {where}" if len(arms) > 1 else f"arm {names}: {where}")
    for note in notes:
        say(f"note: {note}")


def say(text: str) -> None:
    """Print a message on stderr, where messages belong."""
    streams.say(f"memsc: {text}")
