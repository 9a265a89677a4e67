# SPDX-License-Identifier: MIT
"""`memsc clean`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from memsc.commands.options import say
from memsc.runtime.errors import FAILURE, shortage

if TYPE_CHECKING:
    from memsc.tracer.state.leftovers import Cleaned


class Command:
    """Remove what killed sessions left behind.

    That is their files in memory, shared memory at which killed programs
    took turns and, as root, CPUs that are still isolated and uprobe entries of
    tracers that are gone. Calls that such a session had recorded and not written
    come into its trace first. Nothing of what still runs is touched.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Remove, and say what was removed."""
        from memsc.tracer.state.leftovers import clean

        done = clean()
        if args.json:
            print(json.dumps(done.as_json(), indent=2))
        else:
            _print(done)
        return FAILURE if done.failed else 0


def _print(done: Cleaned) -> None:
    from memsc.tracer.state.leftovers import AS_ROOT

    for one in done.brought:
        print(one)
    for item in done.removed:
        print(f"removed {item.kind} {item.name}")
    for item in done.in_use:
        print(f"left {item.kind} {item.name}: {item.reason}")
    if not done.removed and not done.failed:
        print("nothing to remove")
    for item in done.failed:
        remedy = shortage(item.reason or "") or "look at its owner and mode"
        say(f"removing {item.name}: {item.reason}; {remedy}")
    for item in done.unseen:
        remedy = f"; {AS_ROOT}" if item.reason == "that needs root" else ""
        say(f"not looked at: {item.name}: {item.reason}{remedy}")
