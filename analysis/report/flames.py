# SPDX-License-Identifier: MIT
"""Time as stacks, and flame graphs of them: stages of calls, and what threads were at.

Time adds up, so it may be stacked: a flame graph of a trace shows what share of all time each stage
of each system call took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from memsc.analysis.data.modes import WAIT, WAITS
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import natural
from memsc.analysis.data.placing import SIDES
from memsc.analysis.data.scan import ALL
from memsc.analysis.domains.stacks import NO_STACK, OFF_CPU, PROFILE
from memsc.analysis.figures.flamegraph import WIDTH, Stack, flame_svg
from memsc.analysis.trace import Trace
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format import STAGES

UNITS = {PROFILE: "samples", OFF_CPU: "nanoseconds"}
"""What the stacks of a probe weigh."""
_SUMS = "wide is what took long, all calls together; hover for names and times"
_OTHERS = (SIDES[2], NO_STACK)
_NOTES = {
    PROFILE: "samples of the CPUs by arm, side and stage; wide is where they were most",
    OFF_CPU: "time off the CPU by arm, side and stage; wide is where threads waited longest",
}


def stacks_of(trace: Trace) -> dict[Stack, int]:
    """Total nanoseconds by (arm, case, system call, stage), above zero.

    Waits are left out, unless there is nothing else: they would hide all work.
    """
    ns = trace.session.clock.ns_per_cycle
    found: dict[Stack, int] = {}
    cells = [cell for cell in trace.stages.cells() if cell.syscall != ALL]
    for cell in [cell for cell in cells if cell.mode != WAIT] or cells:
        for stage, cycles in zip(STAGES, trace.cells.whole(cell).sums.tolist(), strict=False):
            stack = (cell.arm, cell.case, cell.syscall, stage)
            found[stack] = found.get(stack, 0) + round(cycles * ns)
    return {stack: weight for stack, weight in found.items() if weight > 0}


@dataclass(frozen=True, slots=True)
class Difference:
    """Two arms on one case: nanoseconds per call by (system call, stage).

    Per call, since arms may not have made as many calls.
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
    calls, stacks = _calls(trace, arm, case), stacks_of(trace).items()
    return {stack[2:]: ns / calls for stack, ns in stacks if stack[:2] == (arm, case)}


def _calls(trace: Trace, arm: str, case: str) -> int:
    every = trace.stages.cells()
    mine = [cell for cell in every if cell[:3] == (arm, case, ALL)]
    work = [cell for cell in mine if cell.mode != WAIT] or mine
    return sum(trace.cells.whole(cell).n for cell in work)


def stacks_of_calls(trace: Trace) -> dict[Stack, float]:
    """Total nanoseconds by (arm, frames from the outermost, system call, stage), above zero.

    Waits are left out as in `stacks_of`.

    Raises:
        MemscError: the probe `paths` was not attached, or saw no recorded call.
    """
    return _by_path(trace, trace.paths.df_paths())


def _by_path(trace: Trace, frame: pd.DataFrame) -> dict[Stack, float]:
    found: dict[Stack, float] = {}
    work = frame[~frame["syscall"].isin(list(WAITS))]
    for row in (frame if work.empty else work).to_dict("records"):
        names = trace.paths.path(int(row["stack"])).names or (NO_STACK,)
        for stage in STAGES:
            stack = (str(row["arm"]), *names, f"{row['syscall']}()", stage)
            found[stack] = found.get(stack, 0.0) + float(row[f"{stage}_ns"])
    found = {stack: ns for stack, ns in found.items() if ns > 0}
    if not found:
        why = "no call was looked at"
        remedy = "record for longer, or let one of fewer calls be looked at (--paths-every)"
        raise MemscError(f"cannot show where calls of {trace.name} come from", why, remedy)
    return found


def difference_of_calls(trace: Trace, arm: str, base: str, case: str | None = None) -> Difference:
    """One arm against another by call path: nanoseconds per call (see `difference`)."""
    chosen = difference(trace, arm, base, case)
    frame = trace.paths.df_paths()
    sides: list[dict[Stack, float]] = []
    for name in (arm, base):
        mine = frame[(frame["arm"] == name) & (frame["case"] == chosen.case)]
        calls = _calls(trace, name, chosen.case)
        sides.append({stack[1:]: ns / calls for stack, ns in _by_path(trace, mine).items()})
    return Difference(chosen.case, arm, base, *sides)


def whole_svg(
    stacks: Mapping[Stack, float],
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


def stacks_svg(trace: Trace, probe: str, *, width: float) -> str:
    """The flame graph to stand in a page (see `memsc.analysis.figures.flamegraph.flame_svg`).

    Raises:
        MemscError: the probe was not attached, or saw no thread of a round.
    """
    return threads_svg(trace, probe, stacks_of_threads(trace, probe), standalone=False, width=width)


def threads_svg(
    trace: Trace,
    probe: str,
    stacks: dict[tuple[str, ...], int],
    *,
    standalone: bool = True,
    width: float = WIDTH,
) -> str:
    """The flame graph of stacks of threads (see `flame_svg`).

    What programs that are not recorded did is as wide as the machine is busy, and has no stack: its
    share is told, and not drawn.
    """
    show = short_ns if probe == OFF_CPU else _samples
    drawn = {stack: weight for stack, weight in stacks.items() if stack[1:2] + stack[3:] != _OTHERS}
    left = sum(stacks.values()) - sum(drawn.values())
    note = _NOTES[probe]
    if left and drawn:
        share = 100 * left / sum(stacks.values())
        note += f"; not drawn: {share:.0f} %, of programs that are not recorded"
    return flame_svg(
        drawn or stacks,
        f"{trace.name}: {probe}",
        show,
        note=note,
        order=(*trace.arms, *SIDES),
        standalone=standalone,
        width=width,
    )


def stacks_of_threads(trace: Trace, probe: str) -> dict[Stack, int]:
    """Samples or nanoseconds by (arm, side, stage, frames from the outermost).

    Raises:
        MemscError: the probe was not attached, or saw no thread of a round.
    """
    folded = trace.stacks.df_folded(probe)
    columns = (folded[name].astype(str) for name in ("arm", "side", "stage", "stack"))
    weights: list[int] = folded["weight"].tolist()
    stacks = {
        (arm, side, stage, *stack.split(";")): weight
        for arm, side, stage, stack, weight in zip(*columns, weights, strict=True)
    }
    if not stacks:
        why = "no sample lies within a round of the arms asked for"
        raise MemscError(f"cannot export {probe}", why, "record for longer, or choose other arms")
    return stacks


def _samples(weight: float) -> str:
    return f"{weight:,.0f} samples"
