# SPDX-License-Identifier: MIT
"""`memsc export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from memsc.commands.progress import opened
from memsc.runtime.errors import USAGE, MemscError

FORMATS = (
    *("hgrm", "hlog", "folded", "speedscope", "chrome", "openmetrics"),
    *("csv", "arrow", "parquet"),
)


class Command:
    """Write a trace in another tool's format.

    hgrm is HdrHistogram's percentile distribution of one stage, hlog its log of
    every round; folded and speedscope show the time of every stage as a flame
    graph; chrome is a timeline of the first calls of each arm for
    ui.perfetto.dev; openmetrics is the report for Prometheus; csv, arrow and
    parquet hold one table: stages, ratios, perturbation, checks, or one of the
    trace's own (calls, timings, events/PROBE). Times are nanoseconds, stamps of
    calls are cycles.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("trace", metavar="TRACE", help="folder NAME.memsc")
        parser.add_argument(
            "--format", required=True, choices=FORMATS, metavar="F", help=", ".join(FORMATS)
        )
        parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to")
        parser.add_argument("-f", "--force", action="store_true", help="replace FILE")
        parser.add_argument("--table", metavar="NAME", help="table to write (stages)")
        parser.add_argument("--arm", metavar="NAME", help="arm of a histogram (memsc)")
        parser.add_argument("--case", metavar="NAME", help="case of a histogram (sync)")
        parser.add_argument("--syscall", metavar="NAME", default="all", help="system call (all)")
        parser.add_argument("--stage", metavar="NAME", default="total", help="stage (total)")

    def run(self, args: argparse.Namespace) -> int:
        """Write the file and say what is in it."""
        from memsc.analysis.exports import Options, export

        path = Path(args.output)
        if path.exists() and not args.force:
            remedy = "choose another name, or replace it with -f"
            raise MemscError(f"cannot write {path}", "it exists", remedy, USAGE)
        options = Options(args.table, args.arm, args.case, args.syscall, args.stage)
        with opened(args.trace) as trace:
            said = export(trace, args.format, path, options)
        print(f"{path}: {said}", file=sys.stderr)
        return 0
