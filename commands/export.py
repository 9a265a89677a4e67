# SPDX-License-Identifier: MIT
"""`memsc export`."""

from __future__ import annotations

import argparse

from memsc.commands import streams
from memsc.commands.callers import add_callers, by_callers
from memsc.commands.progress import opened
from memsc.runtime.errors import USAGE, MemscError

FORMATS = (
    *("hgrm", "hlog", "folded", "flamegraph", "speedscope", "perfetto", "chrome"),
    *("calls-folded", "calls-flamegraph", "calls-speedscope", "pprof", "firefox"),
    *("profile-folded", "profile-flamegraph", "offcpu-folded", "offcpu-flamegraph"),
    *("openmetrics", "csv", "arrow", "parquet"),
)


class Command:
    """Write a trace in another tool's format.

    hgrm is HdrHistogram's percentile distribution of one stage, hlog its log of
    every round; flamegraph shows the time of every stage as an SVG, folded and
    speedscope for other tools, with --base one arm against another; perfetto is
    a timeline of calls, service and kernel for ui.perfetto.dev, chrome a smaller
    one for any viewer; calls-…, pprof and firefox show where in the program the
    calls were made (--probes paths), profile-… and offcpu-… where its threads
    were (--probes profile,offcpu); openmetrics is the report for Prometheus;
    csv, arrow and parquet hold one table: stages, syscalls, threads, ratios,
    perturbation, checks, or one of the trace's own (calls, timings,
    events/PROBE). Times are
    nanoseconds, stamps of calls are cycles.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("trace", metavar="TRACE", help="folder NAME.memsc")
        parser.add_argument(
            "--format", required=True, choices=FORMATS, metavar="F", help=", ".join(FORMATS)
        )
        parser.add_argument(
            "-o", "--output", required=True, metavar="FILE", help="where to; - is standard output"
        )
        parser.add_argument("-f", "--force", action="store_true", help="replace FILE")
        parser.add_argument("--table", metavar="NAME", help="table to write (stages)")
        parser.add_argument("--arm", metavar="NAME", help="arm; of a histogram memsc")
        parser.add_argument(
            "--base", metavar="ARM", help="arm that --arm is compared with (folded, flamegraph)"
        )
        parser.add_argument("--case", metavar="NAME", help="case; of a histogram sync")
        parser.add_argument("--syscall", metavar="NAME", default="all", help="system call (all)")
        add_callers(parser)
        parser.add_argument("--stage", metavar="NAME", default="total", help="stage (total)")
        parser.add_argument(
            "--calls", type=count, metavar="N", help="calls of each arm in a timeline, or all"
        )
        parser.add_argument(
            "--window",
            type=window,
            default=(None, None),
            metavar="A:B",
            help="seconds since the start that a timeline shows",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Write the file and say what is in it."""
        from memsc.analysis.export.formats import Options, export
        from memsc.runtime.outputs import is_kept, named

        path = named(args.output)
        if path.exists() and not (args.force or is_kept(path)):
            remedy = "choose another name, or replace it with -f"
            raise MemscError(f"cannot write {path}", "it exists", remedy, USAGE)
        options = Options(
            table=args.table,
            arm=args.arm,
            base=args.base,
            case=args.case,
            syscall=args.syscall,
            stage=args.stage,
            calls=args.calls,
            window=args.window,
        )
        with opened(args.trace) as trace:
            said = export(by_callers(trace, args), args.format, path, options)
        streams.say(f"{path}: {said}")
        return 0


def count(text: str) -> int:
    """A number of calls; 0 stands for all."""
    if text == "all":
        return 0
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of calls nor all")
    return int(text)


def window(text: str) -> tuple[float | None, float | None]:
    """Two times in seconds, either of which may be left out."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        first, last = (float(part) if part else None for part in (start, end))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no window; write it like 0.5:1.5") from None
    return first, last
