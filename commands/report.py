# SPDX-License-Identifier: MIT
"""`memsc report`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from memsc.commands.progress import opened
from memsc.runtime.errors import WITHHELD


class Command:
    """Show where the time of each call went.

    Environment and checks come first: a figure is worth as much as they are. Each
    arm's mean time per stage adds up to its total; percentiles do not add and are
    given of the total. Times are nanoseconds. Status 4 says that calls were lost
    and no verdict is given.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("trace", nargs="+", metavar="TRACE", help="folder NAME.memsc")
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument("--html", metavar="FILE", help="write a page that needs no network")
        parser.add_argument(
            "--figure", metavar="FILE", help="draw the overview: .svg, .png or .pdf"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Print one report per trace."""
        from memsc.analysis.summary import summarise
        from memsc.analysis.text import render

        status = 0
        for path in args.trace:
            with opened(path) as trace:
                summary = summarise(trace)
            if args.figure:
                from memsc.analysis.overview import save_overview

                save_overview(trace, file_name(args.figure, trace.name, len(args.trace)))
            if args.html:
                from memsc.analysis.html import save_html

                save_html(trace, summary, file_name(args.html, trace.name, len(args.trace)))
            if args.json:
                print(json.dumps(summary, indent=1, allow_nan=False))
            else:
                show(render(summary))
            if summary["verdict"]["withheld"]:
                status = WITHHELD
        return status


def show(renderable: object) -> None:
    """Prints for people: in the terminal's width, or 80 columns into a file."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(renderable)
        return
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    # Tables are padded to their width: blanks that nobody needs in a file.
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def file_name(name: str, trace: str, traces: int) -> Path:
    """Several traces get a file each."""
    path = Path(name)
    return path if traces == 1 else path.with_stem(f"{path.stem}-{trace}")
