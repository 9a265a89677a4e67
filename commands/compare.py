# SPDX-License-Identifier: MIT
"""`memsc compare`."""

from __future__ import annotations

import argparse

from memsc.commands.options import add_unrecorded
from memsc.commands.progress import opened
from memsc.commands.report import print_json, show
from memsc.runtime.errors import FAIL_IF_MET, WITHHELD


class Command:
    """Compare two traces: what became slower or faster, and how surely.

    A --fail-if condition reads ARM[/CASE].STAGE.METRIC > +5%: it is met (status 3)
    when the change is that large and its 95 % interval leaves out zero; > 300ns
    (or us, ms, s) bounds what NEW took. Join several by "or". Stages are post,
    poll, execute, complete and total; metrics mean, p50, p90, p99, p99.9 and
    p99.99. Status 4 says that calls were lost, that too few were recorded to
    tell, or that the traces share no arm and case.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("base", metavar="BASE", help="folder NAME.memsc: what it was")
        parser.add_argument("new", metavar="NEW", help="folder NAME.memsc: what it is now")
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        add_unrecorded(parser)
        parser.add_argument(
            "--fail-if",
            metavar="EXPR",
            action="append",
            default=[],
            help="end with status 3 if it is met, as in 'memsc.total.p99 > +5%%'",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Compare, print, and end with the status that says what was met."""
        from memsc.analysis.comparison.comparison import Comparison, parse
        from memsc.analysis.comparison.text import comparison_report, render

        conditions = [condition for text in args.fail_if for condition in parse(text)]
        with opened(args.base) as base, opened(args.new) as new:
            for side in (base, new) if args.allow_unrecorded else ():
                side.checks.allow_unrecorded = True
            comparison = Comparison(base, new)
            # Where nothing is shared no condition can be judged: that is said instead.
            outcomes = comparison.judge(conditions) if comparison.shared() else []
        if args.json:
            print_json(comparison_report(comparison, outcomes))
        else:
            show(render(comparison, outcomes))
        if comparison.withheld():
            return WITHHELD
        if any(outcome.met for outcome in outcomes):
            return FAIL_IF_MET
        return WITHHELD if any(outcome.met is None for outcome in outcomes) else 0
