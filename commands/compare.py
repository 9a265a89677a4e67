# SPDX-License-Identifier: MIT
"""`memsc compare`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from memsc.commands.options import (
    add_calibration,
    add_cpus,
    add_isolation,
    add_ok_status,
    add_ring,
    add_unrecorded,
    announce,
    ring_of,
    say,
)
from memsc.commands.progress import opened, opened_all
from memsc.commands.report import print_json, show
from memsc.commands.sides import RECORD, programs_of, sides_of, traces_of
from memsc.runtime.errors import FAIL_IF_MET, USAGE, WITHHELD, MemscError

if TYPE_CHECKING:
    from memsc.analysis.comparison.comparison import Comparison
    from memsc.analysis.comparison.conditions import Condition


class Command:
    """Compare traces: what became slower or faster, and how surely.

    Sessions of one machine differ, by the host's mood and by where things happen
    to lie; how much, several of them show: three a side, or two and --history.
    Of one session a side what was seen is shown, and the verdict is withheld
    (status 4).

    --record runs two programs in turn instead, A B B A, in one session: what
    drifts falls on both alike. It goes on until the change of the program's time
    and of a call's median (or of what --fail-if names) is known --within so much,
    and writes one trace, which `memsc compare TRACE` shows again. Sides may also
    differ by settings of memsc, as in --new-with transport=memsc,idle=never
    (transport, service, idle, spin, handoff); a program is then named once.

    A --fail-if condition reads ARM[/CASE].STAGE.METRIC > +5%: it is met (status 3)
    when the change is that large and its 95 % interval leaves out zero, not met
    (status 0) when the interval ends below the bound, and else not settled
    (status 4); > 300ns (or us, ms, s) bounds what NEW took. Join several by "or".
    Stages are post, poll, execute, complete and total; metrics mean, p50, p90,
    p99, p99.9 and p99.99; ARM.program.mean is the time of the program as a whole.
    Status 4 also says that calls were lost, that too few were recorded to tell, or
    that the traces share no arm and case.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.usage = (
            "%(prog)s [OPTION …] BASE NEW | BASE … -- NEW … | TRACE\n"
            "       %(prog)s --record -o DIR [OPTION …] -- BASE … -- NEW …"
        )
        parser.add_argument(
            "trace",
            nargs="*",
            metavar="TRACE",
            help="folder NAME.memsc, or a folder of such: what it was, and what it is now",
        )
        recording = parser.add_argument_group("record in turn")
        recording.add_argument(
            RECORD, action="store_true", help="run two programs in turn, and compare them"
        )
        recording.add_argument("-o", "--output", metavar="DIR", help="trace folder")
        recording.add_argument("-f", "--force", action="store_true", help="replace a trace there")
        recording.add_argument(
            "--within",
            metavar="SHARE",
            help="half of the interval wanted (2%%, or half of a closer bound of --fail-if)",
        )
        recording.add_argument(
            "--at-most", metavar="S", help="seconds after which no turn begins (60)"
        )
        for side in ("base", "new"):
            recording.add_argument(
                f"--{side}-with",
                metavar="NAME=VALUE,…",
                help=f"settings of memsc for {side.upper()}",
            )
        add_cpus(parser)
        add_isolation(parser)
        add_calibration(parser)
        add_ring(parser)
        add_ok_status(parser)
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument("--html", metavar="FILE", help="write the same as a page")
        add_unrecorded(parser)
        parser.add_argument(
            "--history",
            metavar="TRACE",
            action="append",
            default=[],
            help="other sessions of this machine (or a folder of such): how much sessions differ",
        )
        parser.add_argument(
            "--beside",
            metavar="REFERENCE",
            help="direct or line: take out of how sessions differ what direct calls, or the round "
            "trip of a cache line, tell of it",
        )
        parser.add_argument(
            "--fail-if",
            metavar="EXPR",
            action="append",
            default=[],
            help="end with status 3 if it is met, as in 'memsc.total.p99 > +5%%'",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Compare, print, and end with the status that says what was met."""
        from memsc.analysis.comparison.comparison import Comparison
        from memsc.analysis.comparison.conditions import parse
        from memsc.analysis.comparison.sides import Sessions

        conditions = [condition for text in args.fail_if for condition in parse(text)]
        if args.record:
            return _record(args, conditions)
        for name in _ONLY_RECORDED:
            if getattr(args, name):
                what = f"--{name.replace('_', '-')}"
                raise MemscError(
                    what, f"it is about {RECORD}, which is not given", "give it", USAGE
                )
        if len(args.trace) == 1 and not args.history:
            return _in_turn(args.trace[0], args, conditions)
        sides = [*sides_of(args.trace), traces_of(args.history)]
        with opened_all([path for side in sides for path in side]) as traces:
            for trace in traces if args.allow_unrecorded else ():
                trace.checks.allow_unrecorded = True
            left = iter(traces)
            base, new, history = ([next(left) for _ in side] for side in sides)
            comparison = Comparison(Sessions(base, new, history, args.beside))
            return judged(comparison, conditions, as_json=args.json, page=args.html)


_ONLY_RECORDED = ("output", "force", "within", "at_most", "base_with", "new_with", "isolate")


def _in_turn(path: str, args: argparse.Namespace, conditions: list[Condition]) -> int:
    """Show a trace that was recorded in turn."""
    from memsc.analysis.comparison.comparison import Comparison
    from memsc.analysis.comparison.turns import Turns

    with opened(path) as trace:
        if args.allow_unrecorded:
            trace.checks.allow_unrecorded = True
        comparison = Comparison(Turns(trace))
        return judged(comparison, conditions, as_json=args.json, page=args.html)


def _record(args: argparse.Namespace, conditions: list[Condition]) -> int:
    """Record two programs in turn, and show how they differ."""
    from memsc.commands.in_turn import (
        Effort,
        Recorder,
        launch_of,
        record,
        seconds_of,
        settings_of,
        share_of,
        wanted_by,
        within_of,
    )
    from memsc.commands.trace import status_of
    from memsc.runtime.launch import Launch
    from memsc.runtime.program import check
    from memsc.tracer.format import InTurn, Side
    from memsc.tracer.format.output import prepare_output
    from memsc.tracer.format.writer import TraceWriter
    from memsc.tracer.session.arms import place
    from memsc.tracer.session.session import TraceSession

    if args.output is None:
        raise MemscError(RECORD, "it is not said where the trace goes", "give -o DIR", USAGE)
    within = share_of(args.within) if args.within else within_of(conditions)
    effort = Effort(within, seconds_of(args.at_most or "60"))
    programs = programs_of(args.trace)
    template = Launch(ring_records=ring_of(args), ring_policy="wait")
    settings = [settings_of(getattr(args, f"{s}_with"), f"--{s}-with") for s in ("base", "new")]
    wishes = [
        launch_of(given, template, f"--{side}-with")
        for side, given in zip(("base", "new"), settings, strict=True)
    ]
    for program in programs:
        check(program[0])
    asked = list(dict.fromkeys((wish.transport, wish.service) for wish in wishes))
    arms, notes = place(asked, template, args.app_cpus, args.service_cpus)
    placed = {arm.arm: arm for arm in arms}
    sides = [
        (
            Side(wish.arm, name, program, given),
            replace(
                wish,
                app_cpus=placed[wish.arm].app_cpus,
                service_cpus=placed[wish.arm].service_cpus,
            ),
        )
        for name, program, given, wish in zip(
            ("base", "new"), programs, settings, wishes, strict=True
        )
    ]
    folder = prepare_output(args.output, args.force)
    announce(arms, notes)
    command = ["memsc", "compare", RECORD, "--", *programs[0], "--", *programs[1]]
    session = TraceSession(
        TraceWriter(folder, replace=args.force),
        command,
        arms,
        isolate=args.isolate,
        calibrate=args.calibrate,
        allow_unrecorded=args.allow_unrecorded,
        ok_status=args.ok_status,
        in_turn=InTurn(sides[0][0], sides[1][0]),
    )
    try:
        with session.writer, session, TemporaryFile(buffering=0) as errors:
            for note in session.take_notes():
                say(f"note: {note}")
            wanted = wanted_by(conditions)
            record(Recorder(session, sides, wanted, args.ok_status, errors), effort)
    except KeyboardInterrupt as error:
        say(f"interrupted; what was recorded is in {folder}")
        return status_of(error)
    for note in session.take_notes():
        say(f"note: {note}")
    return _in_turn(args.output, args, conditions)


def judged(
    comparison: Comparison, conditions: list[Condition], *, as_json: bool, page: str | None
) -> int:
    """Print a comparison; the status that says what was met."""
    from memsc.analysis.comparison.text import comparison_report, render
    from memsc.analysis.report.terminal import save_page
    from memsc.runtime.outputs import STDOUT, named

    # Where nothing is shared no condition can be judged: that is said instead.
    outcomes = comparison.judge(conditions) if comparison.shared() else []
    place = None if page is None else named(page)
    if place is not None:
        title = " → ".join(comparison.sides.names)
        save_page(render(comparison, outcomes), title, place)
    if place == STDOUT:
        pass
    elif as_json:
        print_json(comparison_report(comparison, outcomes))
    else:
        show(render(comparison, outcomes))
    if comparison.withheld():
        return WITHHELD
    if any(outcome.met for outcome in outcomes):
        return FAIL_IF_MET
    return WITHHELD if any(outcome.met is None for outcome in outcomes) else 0
