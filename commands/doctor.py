# SPDX-License-Identifier: MIT
"""`memsc doctor`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from memsc.runtime.errors import FAILURE

if TYPE_CHECKING:
    from memsc.tracer.doctor.feature import Feature
    from memsc.tracer.format import Environment


class Command:
    """Say what this machine can do, and how to get what it lacks.

    Each feature is tried, not guessed from a version. As an ordinary user some
    cannot be tried: `sudo memsc doctor` tells more. The exit status is 1 only if
    something is missing that `memsc run` needs.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Try every feature and print what was found."""
        from memsc.tracer.doctor import probing

        probes = probing.begin()

        import msgspec

        from memsc.runtime import topology
        from memsc.tracer.doctor import features
        from memsc.tracer.session import environment

        machine = topology.read()
        described = environment.describe(topology=machine)
        found = list(features.find_all(described, machine, probes))
        if args.json:
            listed = [feature.as_json() for feature in found]
            machine = msgspec.to_builtins(described, str_keys=True)
            said = {"features": listed, "probes": _probes(), "environment": machine}
            print(json.dumps({"schema": 1, **said}, indent=2))
        else:
            self._print(found, described)
        lacking = [f for f in found if f.needed and f.state == "missing"]
        return FAILURE if lacking else 0

    def _print(self, found: list[Feature], described: Environment) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from memsc.commands.report import show
        from memsc.tracer.doctor.features import summarize, verdict

        idle = described.idle_driver or "no idle driver"
        host = described.hypervisor if described.virtual else "no hypervisor"
        machine = (
            f"{described.distribution}, Linux {described.kernel}, {described.cpu_model}, "
            f"CPUs {described.cpus_online}, {host}, {idle}, "
            f"hand-off {described.handoff or 'unknown'}\n"
        )
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        colours = {"ok": "green", "missing": "red", "unknown": "yellow"}
        said_before: set[str] = set()
        for feature in summarize(found):
            said = Text(feature.detail)
            if feature.remedy and feature.remedy not in said_before:
                said_before.add(feature.remedy)
                said.append(f"\n→ {feature.remedy}", style="italic")
            table.add_row(Text(feature.state, style=colours[feature.state]), feature.name, said)
        head = "\nprobes: what one hit costs, in ns; each session measures it again\n"
        probes = Table(box=None, pad_edge=False, show_header=False)
        probes.add_column(no_wrap=True)
        probes.add_column(no_wrap=True, justify="right")
        probes.add_column(overflow="fold")
        for probe in _probes():
            cost = "–" if probe["cost_ns"] is None else f"{probe['cost_ns']:,.0f}"
            probes.add_row(probe["name"], cost, probe["summary"])
        show(
            Group(Text(machine), table, Text(head), probes, Text(), *map(Text, verdict(found))), 80
        )


def _probes() -> list[dict[str, Any]]:
    from memsc.probes.declaration import offered

    return [{"name": p.name, "cost_ns": p.cost_ns, "summary": p.summary} for p in offered()]
