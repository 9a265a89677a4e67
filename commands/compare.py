# SPDX-License-Identifier: MIT
"""`memsc compare`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from memsc.commands.options import add_unrecorded
from memsc.commands.progress import opened_all
from memsc.commands.report import print_json, show
from memsc.commands.sides import sides_of, traces_of
from memsc.runtime.errors import FAIL_IF_MET, WITHHELD

if TYPE_CHECKING:
    from memsc.analysis.comparison.comparison import Comparison
    from memsc.analysis.comparison.conditions import Condition


class Command:
    """Compare traces: what became slower or faster, and how surely.

    Sessions of one machine differ, by the host's mood and by where things happen
    to lie; how much, several of them show: three a side, or two and --history.
    Of one session a side what was seen is shown, and the verdict is withheld
    (status 4).

    A --fail-if condition reads ARM[/CASE].STAGE.METRIC > +5%: it is met (status 3)
    when the change is that large and its 95 % interval leaves out zero; > 300ns
    (or us, ms, s) bounds what NEW took. Join several by "or". Stages are post,
    poll, execute, complete and total; metrics mean, p50, p90, p99, p99.9 and
    p99.99; ARM.program.mean is the time of the program as a whole. Status 4 also
    says that calls were lost, that too few were recorded to tell, or that the
    traces share no arm and case.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.usage = "%(prog)s [OPTION …] BASE NEW | BASE … -- NEW …"
        parser.add_argument(
            "trace",
            nargs="*",
            metavar="TRACE",
            help="folder NAME.memsc, or a folder of such: what it was, and what it is now",
        )
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
        sides = [*sides_of(args.trace), traces_of(args.history)]
        with opened_all([path for side in sides for path in side]) as traces:
            for trace in traces if args.allow_unrecorded else ():
                trace.checks.allow_unrecorded = True
            left = iter(traces)
            base, new, history = ([next(left) for _ in side] for side in sides)
            comparison = Comparison(Sessions(base, new, history, args.beside))
            return judged(comparison, conditions, as_json=args.json, page=args.html)


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
