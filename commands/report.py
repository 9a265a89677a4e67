# SPDX-License-Identifier: MIT
"""`memsc report`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from memsc.commands.callers import add_callers, by_callers
from memsc.commands.options import add_ok_status, add_unrecorded
from memsc.commands.progress import calculate_alone, opened, opened_history, opened_many
from memsc.runtime.errors import USAGE, WITHHELD, MemscError

if TYPE_CHECKING:
    import msgspec

    from memsc.bench.verdict.model import BenchReport


class Command:
    """Show where the time of each call went.

    Environment and checks come first: a figure is worth as much as they are. Each
    arm's mean time per stage adds up to its total; percentiles do not add and are
    given of the total. Times are nanoseconds. Status 4 says that calls were lost
    and no verdict is given.

    Several traces, a folder that holds some, or a pattern as in 's3://bucket/*/'
    are reported as one fleet, by host and run: counts are merged, percentiles never
    averaged. --html, --figure and --results still make a file for each trace.
    '--html -' writes the page to standard output, in place of the text.

    --over-time reports them as a history of one thing instead: each metric by date
    and version, and the steps that are beyond what differs between sessions.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "trace", nargs="+", metavar="TRACE", help="folder NAME.memsc, or a folder of such"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument("--html", metavar="FILE", help="write a page that needs no network")
        parser.add_argument(
            "--figure", metavar="FILE", help="draw the overview: .svg, .png or .pdf"
        )
        parser.add_argument(
            "--results",
            metavar="FILE.md",
            help="write a benchmark's tables beside the thesis's, and figures beside it",
        )
        parser.add_argument(
            "--cluster",
            metavar="ADDRESS",
            help="read a fleet on the workers of this dask scheduler",
        )
        parser.add_argument(
            "--over-time",
            action="store_true",
            help="show several traces as a history: each metric by date, and its steps",
        )
        add_callers(parser)
        add_unrecorded(parser)
        add_ok_status(parser)
        parser.add_argument(
            "--skip-failed", action="store_true", help="leave out traces that cannot be read"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Print the report of a trace, of a fleet, or of a history."""
        calculate_alone()
        if args.over_time:
            _need_history(args)
            return _history(args)
        if args.cluster or args.skip_failed or is_fleet(args.trace):
            of_one = {"--allow-unrecorded": args.allow_unrecorded, "--ok-status": args.ok_status}
            for option in (name for name, given in of_one.items() if given):
                why = "each trace of a fleet says itself whether that is so"
                raise MemscError(option, why, "give it to `memsc trace`", USAGE)
            if args.comm or args.pid or args.tid:
                why = "processes of several machines share names and numbers"
                raise MemscError("--comm, --pid or --tid", why, "report one trace at a time", USAGE)
            return _fleet(args)
        from memsc.analysis.report.text import render
        from memsc.bench.verdict.report import SECTIONS

        report = _one(args.trace[0], args, 1)
        if _is_taken(args):
            pass
        elif args.json:
            print_json(report)
        else:
            show(render(report, SECTIONS))
        return WITHHELD if report.verdict.withheld else 0


def is_fleet(places: list[str]) -> bool:
    """Whether more than one trace is meant."""
    from memsc.tracer.format import SESSION, SUFFIX, location

    if len(places) > 1:
        return True
    path = location(places[0])
    if any(c in places[0] for c in "*?[") and not path.exists():
        return True
    return path.is_dir() and path.suffix != SUFFIX and not (path / SESSION).exists()


def _one(path: str, args: argparse.Namespace, traces: int) -> BenchReport:
    """A trace's report, and the files that were asked for."""
    from memsc.bench.verdict.report import summarise

    with opened(path) as whole:
        trace = by_callers(whole, args)
        if args.allow_unrecorded:
            trace.checks.allow_unrecorded = True
        trace.checks.ok_status.update(args.ok_status)
        report = summarise(trace)
    if args.figure:
        from memsc.analysis.figures.files import save

        save(trace.stages.plot_overview(), file_name(args.figure, trace.name, traces))
    if args.results:
        from memsc.bench.verdict.benchmark import benchmark
        from memsc.bench.verdict.results_figures import write_results

        write_results(benchmark(trace), file_name(args.results, trace.name, traces))
    if args.html:
        from memsc.analysis.report.page import save_html

        save_html(trace, report, file_name(args.html, trace.name, traces))
    return report


def _fleet(args: argparse.Namespace) -> int:
    from memsc.analysis.fleet.text import fleet_report, render_fleet

    with opened_many(args.trace, args.cluster, args.skip_failed) as fleet:
        content = fleet_report(fleet) if args.json else None
        drawn = None if args.json else render_fleet(fleet)
    if args.html or args.figure or args.results:
        for summary in fleet.summaries:
            _one(summary.partition.path, args, len(fleet.partitions))
    if _is_taken(args):
        pass
    elif content is not None:
        print_json(content)
    else:
        show(drawn)
    return WITHHELD if fleet.withheld() else 0


def _need_history(args: argparse.Namespace) -> None:
    """Refuse what is of one trace, or of a fleet."""
    asked = {
        "--results": args.results,
        "--cluster": args.cluster,
        "--allow-unrecorded": args.allow_unrecorded,
        "--ok-status": args.ok_status,
        "--comm, --pid or --tid": args.comm or args.pid or args.tid,
    }
    for option in (name for name, given in asked.items() if given):
        raise MemscError(
            f"--over-time with {option}",
            "each session of a history is taken as it is",
            "leave it out, or report a trace by itself",
            USAGE,
        )


def _history(args: argparse.Namespace) -> int:
    from memsc.analysis.history.text import render_history

    with opened_history(args.trace, args.skip_failed) as history:
        report = history.report
    if args.figure:
        from memsc.analysis.figures.files import save

        save(history.plot_history(), Path(args.figure))
    if args.html:
        from memsc.analysis.history.page import save_html
        from memsc.runtime.outputs import named

        save_html(history, named(args.html))
    if _is_taken(args):
        pass
    elif args.json:
        print_json(report)
    else:
        show(render_history(report))
    return WITHHELD if all(trace.withheld for trace in report.traces) else 0


def print_json(report: msgspec.Struct) -> None:
    """Prints a report as JSON."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(report), indent=1, allow_nan=False))


def show(renderable: object, widest: int = 1000) -> None:
    """Prints for people: in the terminal's width up to the widest, or 80 columns into a file."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.width = min(console.width, widest)
        console.print(renderable)
        return
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    # Tables are padded to their width: blanks that nobody needs in a file.
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def file_name(name: str, trace: str, traces: int) -> Path:
    """Several traces get a file each; a device or a pipe gets them all."""
    from memsc.runtime.outputs import is_kept, named

    path = named(name)
    if traces == 1 or is_kept(path):
        return path
    return path.with_stem(f"{path.stem}-{trace}")


def _is_taken(args: argparse.Namespace) -> bool:
    """Whether standard output is for a file that was asked for."""
    from memsc.runtime.outputs import STDOUT, named

    return STDOUT in (named(word) for word in (args.html, args.figure, args.results) if word)
