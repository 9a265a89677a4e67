# SPDX-License-Identifier: MIT
"""Stacks of threads, on the CPU and off it, as files: collapsed, or drawn as flame graphs."""

from __future__ import annotations

from pathlib import Path

from memsc.analysis.domains.stacks import OFF_CPU, PROFILE
from memsc.analysis.figures.flamegraph import WIDTH, flame_svg
from memsc.analysis.figures.overview import short_ns
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError

_UNITS = {PROFILE: "samples", OFF_CPU: "nanoseconds"}
_NOTES = {
    PROFILE: "samples of the CPUs by arm, side and stage; wide is where they were most",
    OFF_CPU: "time off the CPU by arm, side and stage; wide is where threads waited longest",
}


def write_stacks(trace: Trace, probe: str, path: Path) -> str:
    """FlameGraph's collapsed stacks: `arm;side;stage;frame;… weight`."""
    stacks = _stacks(trace, probe)
    path.write_text("".join(f"{';'.join(stack)} {weight}\n" for stack, weight in stacks.items()))
    return f"{len(stacks)} stacks, {_UNITS[probe]}"


def draw_stacks(trace: Trace, probe: str, path: Path) -> str:
    """A flame graph of them."""
    stacks = _stacks(trace, probe)
    path.write_text(_svg(trace, probe, stacks))
    return f"{len(stacks)} stacks, {_UNITS[probe]}"


def stacks_svg(trace: Trace, probe: str, *, width: float) -> str:
    """The flame graph to stand in a page (see `memsc.analysis.figures.flamegraph.flame_svg`).

    Raises:
        MemscError: the probe was not attached, or saw no thread of a round.
    """
    return _svg(trace, probe, _stacks(trace, probe), standalone=False, width=width)


def _svg(
    trace: Trace,
    probe: str,
    stacks: dict[tuple[str, ...], int],
    *,
    standalone: bool = True,
    width: float = WIDTH,
) -> str:
    show = short_ns if probe == OFF_CPU else _samples
    return flame_svg(
        stacks,
        f"{trace.name}: {probe}",
        show,
        note=_NOTES[probe],
        order=trace.arms,
        standalone=standalone,
        width=width,
    )


def _stacks(trace: Trace, probe: str) -> dict[tuple[str, ...], int]:
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
