# SPDX-License-Identifier: MIT
"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memsc.runtime.launch import Launch


def add_cpus(parser: argparse.ArgumentParser) -> None:
    """Declare where application and service run."""
    parser.add_argument("--app-cpus", metavar="LIST", help="CPUs of the program; default: chosen")
    parser.add_argument(
        "--service-cpus", metavar="LIST", help="CPUs of the service; default: near the program's"
    )


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
    print(f"memsc: {text}", file=sys.stderr)
