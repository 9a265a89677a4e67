# SPDX-License-Identifier: MIT
"""Figures of a report's page: small ones that stand side by side or one below the other."""

from __future__ import annotations

from collections.abc import Iterator

from memsc.analysis.domains.stacks import OFF_CPU, PROFILE
from memsc.analysis.figures.files import inline_svg
from memsc.analysis.figures.stages import plot_distribution, plot_stages
from memsc.analysis.figures.tail import plot_band
from memsc.analysis.report.flames import (
    difference,
    difference_svg,
    stacks_of,
    stacks_svg,
    whole_svg,
)
from memsc.analysis.report.model import Report
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError

PAIRS = (("memsc", "ipi"), ("memsc", "direct"))
"""Arms that are set against each other in flame graphs."""
_HALF = (4.9, 3.5)
_FLAME = 900.0
_LARGEST = 800_000


def halves(trace: Trace) -> list[str]:
    """The overview of the first case: shares of stages, and the distribution of the total."""
    try:
        cells = trace.stages.of_case(None)
    except MemscError:
        # Nothing was recorded: the checks say so.
        return []
    shares = plot_stages(trace.stages.frame(cells), _HALF)
    longer = plot_distribution(trace.stages.distribution(cells), _HALF)
    return [inline_svg(shares), inline_svg(longer)]


def bands(trace: Trace) -> Iterator[tuple[str, str]]:
    """What slow calls of the first case are made of: arm and figure."""
    try:
        cells = trace.stages.of_case(None)
    except MemscError:
        return
    frame = trace.tail.df_bands()
    frame = frame[frame["sufficient"]]
    for cell in cells:
        mine = (frame[list(cell._fields)] == list(cell)).all(axis=1)
        if mine.any():
            yield cell.arm, inline_svg(plot_band(frame[mine]))


def counters(trace: Trace, report: Report) -> str | None:
    """What threads of the first case did per call, if it was counted."""
    return inline_svg(trace.counters.plot_counters()) if report.counters else None


def flames(trace: Trace) -> Iterator[tuple[str, str]]:
    """Flame graphs, one arm against another first, then each arm: title and figure."""
    stacks = stacks_of(trace)
    arms = list(dict.fromkeys(stack[0] for stack in stacks))
    for arm, base in PAIRS:
        try:
            found = difference(trace, arm, base)
        except MemscError:
            continue
        title = f"{arm} against {base}: {found.case}"
        yield title, difference_svg(found, standalone=False, width=_FLAME)
    for arm in arms:
        mine = {stack[1:]: ns for stack, ns in stacks.items() if stack[0] == arm}
        yield arm, whole_svg(mine, arm, standalone=False, width=_FLAME)
    for probe, title in ((PROFILE, "threads on the CPU"), (OFF_CPU, "threads off the CPU")):
        try:
            drawn = stacks_svg(trace, probe, width=_FLAME)
        except MemscError:
            # The probe was not asked for.
            continue
        # Deep stacks of a large program would outgrow the page; `memsc export` draws them.
        if len(drawn) <= _LARGEST:
            yield title, drawn
