# SPDX-License-Identifier: MIT
"""Where the time went as stacks: arm, case, system call, stage; weights are nanoseconds.

Time adds up, so it may be stacked: a flame graph of a trace shows what share of all time each stage
of each system call took.
"""

from __future__ import annotations

import json
from pathlib import Path

from memsc.analysis.scan import ALL
from memsc.analysis.trace import Trace
from memsc.tracer.format import STAGES

Stack = tuple[str, ...]


def stacks_of(trace: Trace) -> dict[Stack, int]:
    """Total nanoseconds by (arm, case, system call, stage), only those above zero."""
    ns = trace.session.clock.ns_per_cycle
    found: dict[Stack, int] = {}
    for cell in trace.stages.cells():
        if cell.syscall == ALL:
            continue
        for stage, cycles in zip(STAGES, trace.cells.whole(cell).sums.tolist(), strict=False):
            stack = (cell.arm, cell.case, cell.syscall, stage)
            found[stack] = found.get(stack, 0) + round(cycles * ns)
    return {stack: weight for stack, weight in found.items() if weight > 0}


def write_folded(trace: Trace, path: Path) -> str:
    """FlameGraph's collapsed stacks: `arm;case;syscall;stage nanoseconds`."""
    stacks = stacks_of(trace)
    lines = [f"{';'.join(map(_safe, stack))} {weight}\n" for stack, weight in stacks.items()]
    path.write_text("".join(lines))
    return f"{len(lines)} stacks, nanoseconds"


def write_speedscope(trace: Trace, path: Path) -> str:
    """Speedscope's file format: one profile per arm."""
    stacks = stacks_of(trace)
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
    path.write_text(json.dumps(content))
    return f"{len(profiles)} profiles, nanoseconds"


def _safe(name: str) -> str:
    return name.replace(";", ":").replace(" ", "_")
