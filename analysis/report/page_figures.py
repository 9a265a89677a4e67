# SPDX-License-Identifier: MIT
# matplotlib is loosely typed.
# pyright: reportUnknownMemberType=false
"""Figures of a report's page: small ones that stand side by side or one below the other."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from memsc.analysis.domains.stacks import OFF_CPU, PROFILE
from memsc.analysis.export.folded import difference, difference_svg, stacks_of, whole_svg
from memsc.analysis.export.stacks import stacks_svg
from memsc.analysis.figures.bands import plot_band
from memsc.analysis.figures.overview import cells_of, plot_halves
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError

PAIRS = (("memsc", "ipi"), ("memsc", "direct"))
"""Arms that are set against each other in flame graphs."""
_FLAME = 900.0
_LARGEST = 800_000


def halves(trace: Trace) -> list[str]:
    """The overview of the first case: shares of stages, and the distribution of the total."""
    try:
        return [inline_svg(figure) for figure in plot_halves(trace)]
    except MemscError:
        # Nothing was recorded: the checks say so.
        return []


def bands(trace: Trace) -> Iterator[tuple[str, str]]:
    """What slow calls of the first case are made of: arm and figure."""
    try:
        cells = cells_of(trace.stages, None)
    except MemscError:
        return
    for cell in cells:
        figure = plot_band(trace, cell)
        if figure is not None:
            yield cell.arm, inline_svg(figure)


def counters(trace: Trace, summary: dict[str, Any]) -> str | None:
    """What threads of the first case did per call, if it was counted."""
    return inline_svg(trace.counters.plot_counters()) if summary["counters"] else None


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


def inline_svg(figure: Figure) -> str:
    """A figure to stand in a page: it takes the page's colours, and its ids clash with none."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "memsc"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", bbox_inches="tight", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    # Seaborn's ink, and black where matplotlib says nothing.
    text = text.replace("#262626", "currentColor").replace("#dddddd", "var(--line)")
    text = re.sub(r"(<text\b)(?![^>]*fill)", r'\1 fill="currentColor"', text)
    # The edges between stages are the paper showing through.
    text = re.sub(r"stroke: (?:#ffffff|white)", "stroke: var(--paper)", text)
    return text.replace("#6e6e6e", "var(--dim)")
