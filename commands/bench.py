# SPDX-License-Identifier: MIT
"""`memsc bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memsc.commands.options import (
    add_calibration,
    add_cpus,
    add_isolation,
    add_probes,
    announce,
    probes_of,
    say,
)
from memsc.commands.report import show
from memsc.commands.trace import status_of
from memsc.runtime.errors import WITHHELD

if TYPE_CHECKING:
    from memsc.bench.suites.cases import Case
    from memsc.runtime.launch import Launch
    from memsc.tracer.format.writer import TraceWriter
    from memsc.tracer.session.session import TraceSession


class Command:
    """Measure this machine: every arm on the same work, interleaved.

    Suites: limit (the way of a cache line and of an interrupt; memsc beside the
    best bare ring), sync (getppid, one by one), layer (what an unmodified program
    adds to it), batch (1 to 64 at once), shared (sync while 1 to 8 processes are
    registered), throughput (1 to 8 callers as fast as they can, and under loads
    that are offered), isolation (sync with and without isolated CPUs, alone and
    beside a busy program on the service's CPU), files (dd, ls and other programs,
    unmodified), calls (classic small calls, in memory and on disk), peers
    (io_uring, eventfd, seccomp and others), tracing (what other tracers cost). The
    result is a trace like any other, for report, compare and export; the targets
    are printed with it.
    Only when named: causes (why calls are slow, idle and beside a busy program).
    Alone, and not among all: analysis (the report of ten million calls against
    other libraries, on a trace made from a short recording, or from --source).
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("suite", nargs="*", metavar="SUITE", help="default: all")
        parser.add_argument("-o", "--output", required=True, metavar="DIR", help="trace folder")
        there = parser.add_mutually_exclusive_group()
        there.add_argument("-f", "--force", action="store_true", help="replace a trace there")
        there.add_argument(
            "--resume", action="store_true", help="go on with a benchmark there that was cut short"
        )
        parser.add_argument("--quick", action="store_true", help="few rounds: under three minutes")
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument("--source", metavar="TRACE", help="analysis: what its calls are like")
        add_cpus(parser)
        add_isolation(parser)
        add_calibration(parser)
        add_probes(parser, "syscalls")

    def run(self, args: argparse.Namespace) -> int:
        """Run the suites and print what they show."""
        from memsc.bench.suites import bare_ring, peer_tracers, peer_transports
        from memsc.bench.suites.cases import choose, suites
        from memsc.bench.suites.resume import resume
        from memsc.runtime.launch import Launch
        from memsc.tracer.format.output import prepare_output
        from memsc.tracer.format.writer import TraceWriter
        from memsc.tracer.session.arms import place_all
        from memsc.tracer.session.session import TraceSession

        if "analysis" in args.suite:
            return _analysis(args)
        probes = probes_of(args)
        arms, notes = place_all(Launch(), args.app_cpus, args.service_cpus)
        disk = Path(args.output).absolute().parent
        chosen = choose(args.suite, suites([arm.arm for arm in arms], args.quick, disk))
        command = ["memsc", "bench", *args.suite, *(["--quick"] if args.quick else [])]
        earlier = resume(Path(args.output), command) if args.resume else None
        folder = Path(args.output) if earlier else prepare_output(args.output, args.force)
        others = (
            ("limit", bare_ring.arms),
            ("peers", peer_transports.arms),
            ("tracing", peer_tracers.arms),
        )
        for suite, more in others:
            arms = [*arms, *(more(arms) if suite in chosen else [])]
        announce(arms, notes)
        writer = TraceWriter(folder, replace=args.force and earlier is None)
        session = TraceSession(
            writer,
            command,
            arms,
            probes,
            isolate=args.isolate,
            calibrate=args.calibrate,
            earlier=earlier,
        )
        try:
            _measure(writer, session, arms, chosen)
        except KeyboardInterrupt as error:
            say(f"interrupted; what was measured is in {folder}, and --resume goes on with it")
            return status_of(error)
        return _print(folder, args.json)


ANALYSIS_CALLS = 10_000_000


def _analysis(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from memsc.bench.race import answers
    from memsc.bench.race.enlarge import enlarge
    from memsc.bench.race.race import race, race_json, render
    from memsc.runtime.errors import USAGE, MemscError
    from memsc.tracer.format import open_trace
    from memsc.tracer.session.ending import endings
    from memsc.tracer.state.folders import scratch

    if args.suite != ["analysis"]:
        why = "it measures libraries, the others this machine"
        raise MemscError("suite analysis", why, "run it alone", USAGE)
    with endings(), scratch() as place:
        source = open_trace(args.source or _sample(place, args))
        folder = open_trace(enlarge(source, ANALYSIS_CALLS, args.output, force=args.force))
        turns = 3 if args.quick else 5
        runners = race(folder, turns, place, lambda name: say(f"next is {name}"))
        found = answers.answers(source.path, turns, place, lambda name: say(f"next is {name}"))
    if args.json:
        told = race_json(folder, runners, folder.session.environment)
        told["rows"] += answers.rows(source, found)
        told["targets"] += [asdict(target) for target in answers.targets(found)]
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        show(answers.render(source, found))
        show(render(folder, runners, answers.targets(found)))
    return 0


def _sample(scratch: Path, args: argparse.Namespace) -> Path:
    from memsc.bench.suites.cases import suites
    from memsc.runtime.launch import Launch
    from memsc.tracer.format.output import prepare_output
    from memsc.tracer.format.writer import TraceWriter
    from memsc.tracer.session.arms import place_all
    from memsc.tracer.session.session import TraceSession

    arms, _ = place_all(Launch(), args.app_cpus, args.service_cpus)
    sync = {"sync": suites([arm.arm for arm in arms], quick=True)["sync"]}
    folder = prepare_output(scratch / "sample.memsc")
    command = ["memsc", "bench", "sync", "--quick"]
    writer = TraceWriter(folder)
    session = TraceSession(writer, command, arms, isolate=args.isolate, calibrate=False)
    _measure(writer, session, arms, sync)
    return folder


def _measure(
    writer: TraceWriter,
    session: TraceSession,
    arms: Sequence[Launch],
    chosen: Mapping[str, Sequence[Case]],
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from memsc.bench.suites.run import count, run

    # Redrawn seldom: drawing takes time from the service CPU.
    bar = Progress(
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=1,
        disable=not sys.stderr.isatty(),
    )
    with writer, session:
        for note in session.take_notes():
            say(f"note: {note}")
        with bar:
            task = bar.add_task("", total=count(chosen, [arm.arm for arm in arms]))
            run(session, chosen, arms, lambda what: bar.update(task, advance=1, description=what))
    for note in session.take_notes():
        say(f"note: {note}")


def _print(folder: Path, as_json: bool) -> int:
    from memsc.bench.verdict.benchmark import benchmark, render
    from memsc.commands.progress import opened

    with opened(str(folder)) as trace:
        withheld = trace.checks.withheld()
        if as_json:
            print(json.dumps(benchmark(trace), indent=1, allow_nan=False))
        else:
            show(render(trace))
    for reason in withheld:
        say(f"the verdict is withheld: {reason}")
    say(f"recorded in {folder}; see `memsc report {folder}`")
    return WITHHELD if withheld else 0
