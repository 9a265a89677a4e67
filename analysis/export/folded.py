# SPDX-License-Identifier: MIT
"""Where the time went as stacks: arm, case, system call, stage; weights are nanoseconds.

Time adds up, so it may be stacked: a flame graph of a trace shows what share of all time each stage
of each system call took.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memsc.analysis.data.scan import ALL
from memsc.analysis.domains.stages import natural
from memsc.analysis.figures.flamegraph import WIDTH, Stack, flame_svg
from memsc.analysis.figures.overview import short_ns
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import STAGES

_SUMS = "wide is what took long, all calls together; hover for names and times"


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


@dataclass(frozen=True, slots=True)
class Difference:
    """Two arms on one case: nanoseconds per call by (system call, stage).

    Per call, since arms need not have made as many calls.
    """

    case: str
    arm: str
    base: str
    new: dict[Stack, float]
    old: dict[Stack, float]


def difference(trace: Trace, arm: str, base: str, case: str | None = None) -> Difference:
    """One arm against another.

    Args:
        trace: the trace.
        arm: the arm that is looked at.
        base: what it is compared with.
        case: which case; by default the first that both have.

    Raises:
        MemscError: an arm was not recorded, or no case of both.
    """
    what = f"cannot compare {arm} with {base}"
    cases: dict[str, set[str]] = {}
    for cell in trace.stages.cells():
        cases.setdefault(cell.arm, set()).add(cell.case)
    for name in (arm, base):
        if name not in cases:
            known = f"its arms are {', '.join(cases)}" if cases else "it has no calls"
            raise MemscError(what, f"no calls of {name} in {trace.name}", known, USAGE)
    both = sorted(cases[arm] & cases[base], key=natural)
    if not both or (case is not None and case not in both):
        known = f"they share {', '.join(both) or 'nothing'}"
        raise MemscError(what, f"no calls of both in case {case or 'any'}", known, USAGE)
    chosen = case or both[0]
    return Difference(chosen, arm, base, *(_per_call(trace, name, chosen) for name in (arm, base)))


def _per_call(trace: Trace, arm: str, case: str) -> dict[Stack, float]:
    cells = [cell for cell in trace.stages.cells() if (cell.arm, cell.case) == (arm, case)]
    calls = sum(trace.cells.whole(cell).n for cell in cells if cell.syscall == ALL)
    stacks = stacks_of(trace).items()
    return {stack[2:]: ns / calls for stack, ns in stacks if stack[:2] == (arm, case)}


def write_folded(trace: Trace, path: Path) -> str:
    """FlameGraph's collapsed stacks: `arm;case;syscall;stage nanoseconds`."""
    stacks = stacks_of(trace)
    lines = [f"{_line(stack)} {weight}\n" for stack, weight in stacks.items()]
    path.write_text("".join(lines))
    return f"{len(lines)} stacks, nanoseconds"


def write_folded_difference(found: Difference, path: Path) -> str:
    """What FlameGraph's difffolded makes: `syscall;stage BASE NEW`, ns per thousand calls."""
    stacks = list(dict.fromkeys([*found.new, *found.old]))
    sides = (found.old, found.new)
    lines = [
        " ".join([_line(stack), *(str(round(1000 * side.get(stack, 0))) for side in sides)])
        for stack in stacks
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return f"{found.base}, {found.arm}: {found.case}, nanoseconds per thousand calls"


def write_flamegraph(trace: Trace, path: Path) -> str:
    """A flame graph of all time: arm, case, system call, stage."""
    stacks = stacks_of(trace)
    path.write_text(whole_svg(stacks, trace.name, trace.arms))
    return f"{len(stacks)} stacks, nanoseconds"


def whole_svg(
    stacks: Mapping[Stack, int],
    title: str,
    arms: Sequence[str] = (),
    *,
    standalone: bool = True,
    width: float = WIDTH,
) -> str:
    """The flame graph of nanoseconds by stack (see `flame_svg`)."""
    order = (*arms, *STAGES)
    return flame_svg(
        stacks, title, short_ns, note=_SUMS, order=order, standalone=standalone, width=width
    )


def write_flamegraph_difference(found: Difference, path: Path) -> str:
    """A differential flame graph, as wide as the arm that is looked at."""
    path.write_text(difference_svg(found))
    return f"{found.arm} against {found.base}: {found.case}, nanoseconds per call"


def difference_svg(found: Difference, *, standalone: bool = True, width: float = WIDTH) -> str:
    """The differential flame graph of two arms (see `flame_svg`)."""
    gone = sum(ns for stack, ns in found.old.items() if not found.new.get(stack))
    note = "nanoseconds per call; orange took longer than in the base, blue shorter"
    if gone:
        note += f"; {short_ns(gone)} were spent in the base only"
    title = f"{found.arm} against {found.base}: {found.case}"
    return flame_svg(
        found.new,
        title,
        short_ns,
        base=found.old,
        note=note,
        order=STAGES,
        standalone=standalone,
        width=width,
    )


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


def _line(stack: Stack) -> str:
    return ";".join(map(_safe, stack))


def _safe(name: str) -> str:
    return "_".join(name.replace(";", ":").split()) or "_"
