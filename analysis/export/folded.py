# SPDX-License-Identifier: MIT
"""Where the time went, for tools that read stacks: arm, case, system call, stage; nanoseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from memsc.analysis.figures.flamegraph import Stack
from memsc.analysis.report.flames import (
    Difference,
    difference_svg,
    stacks_of,
    stacks_of_calls,
    whole_svg,
)
from memsc.analysis.trace import Trace


def write_folded(trace: Trace, path: Path) -> str:
    """FlameGraph's collapsed stacks: `arm;case;syscall;stage nanoseconds`."""
    return _folded(stacks_of(trace), path)


def write_folded_difference(found: Difference, path: Path) -> str:
    """What FlameGraph's difffolded makes: `syscall;stage BASE NEW`, ns per thousand calls."""
    stacks = list(dict.fromkeys([*found.new, *found.old]))
    sides = (found.old, found.new)
    lines = [
        " ".join([_line(stack), *(str(round(1000 * side.get(stack, 0))) for side in sides)])
        for stack in stacks
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    what = f"{found.base}, {found.arm}: {found.case}, nanoseconds per thousand calls"
    return f"{what}; for flamegraph.pl: others take the first of two counts for part of the name"


def write_flamegraph(trace: Trace, path: Path) -> str:
    """A flame graph of all time: arm, case, system call, stage."""
    return _drawn(trace, stacks_of(trace), trace.name, path)


def write_flamegraph_difference(found: Difference, path: Path) -> str:
    """A differential flame graph, as wide as the arm that is looked at."""
    path.write_text(difference_svg(found), encoding="utf-8")
    return f"{found.arm} against {found.base}: {found.case}, nanoseconds per call"


def write_calls_folded(trace: Trace, path: Path) -> str:
    """Collapsed stacks by call path: `arm;frame;…;syscall();stage nanoseconds`."""
    return _folded(stacks_of_calls(trace), path)


def write_calls_flamegraph(trace: Trace, path: Path) -> str:
    """A flame graph of all time of calls by where they were made."""
    return _drawn(trace, stacks_of_calls(trace), f"{trace.name}: where calls come from", path)


def write_speedscope(trace: Trace, path: Path) -> str:
    """Speedscope's file format: one profile per arm."""
    return _speedscope(trace, stacks_of(trace), path)


def write_calls_speedscope(trace: Trace, path: Path) -> str:
    """Speedscope's file format, by call path: one profile per arm."""
    return _speedscope(trace, stacks_of_calls(trace), path)


def _folded(stacks: Mapping[Stack, float], path: Path) -> str:
    lines = [f"{_line(stack)} {round(ns)}\n" for stack, ns in stacks.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return f"{len(lines)} stacks, nanoseconds"


def _drawn(trace: Trace, stacks: Mapping[Stack, float], title: str, path: Path) -> str:
    path.write_text(whole_svg(stacks, title, trace.arms), encoding="utf-8")
    return f"{len(stacks)} stacks, nanoseconds"


def _speedscope(trace: Trace, stacks: Mapping[Stack, float], path: Path) -> str:
    names = list(dict.fromkeys(name for stack in stacks for name in stack[1:]))
    index = {name: i for i, name in enumerate(names)}
    profiles: list[dict[str, object]] = []
    for arm in dict.fromkeys(stack[0] for stack in stacks):
        mine = {stack: weight for stack, weight in stacks.items() if stack[0] == arm}
        profiles.append(
            {
                "type": "sampled",
                "name": arm,
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": sum(mine.values()),
                "samples": [[index[name] for name in stack[1:]] for stack in mine],
                "weights": list(mine.values()),
            }
        )
    content = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": trace.name,
        "exporter": f"memsc {trace.session.memsc}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in names]},
        "profiles": profiles,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{len(profiles)} profiles, nanoseconds"


def _line(stack: Stack) -> str:
    return ";".join(map(_safe, stack))


def _safe(name: str) -> str:
    return "_".join(name.replace(";", ":").split()) or "_"
