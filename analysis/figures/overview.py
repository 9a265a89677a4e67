# SPDX-License-Identifier: MIT
# matplotlib and seaborn are loosely typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The figure to look at first: what a call's time is made of, and how far it strays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from memsc.analysis.data.histogram import middle
from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import FEW, SAMPLES_ABOVE
from memsc.analysis.domains.stages import Stages, natural
from memsc.analysis.figures.style import (
    ARM_LINES,
    ON_COLOUR,
    STAGE_COLOURS,
    colour,
    name_rows,
    save,
    styled,
)
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.tracer.format import STAGES

_TOTAL = QUANTITIES.index(TOTAL)
# A narrower axis has too few powers of ten to be read by.
_DECADES = 100


def plot_overview(trace: Trace, case: str | None = None) -> Figure:
    """Mean stage shares per arm, and the distribution of the total as the share of calls above it.

    Args:
        trace: the trace.
        case: which case; by default `sync`, or else the first.

    Raises:
        MemscError: no such case was recorded.
    """
    cells = cells_of(trace.stages, case)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    with styled():
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15), gridspec_kw={"wspace": 0.12})
        plot_shares(trace.stages, cells, left)
        plot_tail(trace.stages, cells, right)
        sns.despine(figure)
    return figure


def plot_halves(trace: Trace, case: str | None = None) -> tuple[Figure, Figure]:
    """The two halves of `plot_overview` as figures, for a page that puts one below the other."""
    cells = cells_of(trace.stages, case)
    left, right = (Figure(figsize=(4.9, 3.5), layout="constrained") for _ in range(2))
    with styled():
        plot_shares(trace.stages, cells, left.subplots())
        plot_tail(trace.stages, cells, right.subplots())
        for figure in (left, right):
            sns.despine(figure)
    return left, right


def save_overview(trace: Trace, path: Path, case: str | None = None) -> None:
    """Draws `plot_overview` into a file (.svg, .png or .pdf)."""
    save(plot_overview(trace, case), path)


def plot_shares(stages: Stages, cells: list[Cell], axes: Axes) -> None:
    """Stacked bars of the mean share of each stage: means add up, so they may be stacked."""
    ns = stages.ns_per_cycle
    for row, cell in enumerate(cells):
        whole = stages.resampled(cell).whole
        shares = whole.sums[:_TOTAL] / max(int(whole.sums[_TOTAL]), 1)
        start = 0.0
        for stage, share in zip(STAGES, shares.tolist(), strict=True):
            axes.barh(row, share, left=start, color=STAGE_COLOURS[stage], height=0.62)
            if 0.07 < share <= 1:
                place = start + share / 2
                says = f"{100 * share:.0f} %"
                axes.text(place, row, says, ha="center", va="center", size=8, color=ON_COLOUR)
            start += share
        mean = short_ns(int(whole.sums[_TOTAL]) / whole.n * ns)
        axes.text(1.02, row, mean, va="center", size=9, clip_on=False)
    axes.text(1.02, -0.72, "mean", va="center", size=9, color="#6E6E6E", clip_on=False)
    name_rows(axes, [cell.arm for cell in cells])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_title(f"Where the time goes: {cells[0].case}", pad=18)
    handles = [axes.barh(0, 0, color=STAGE_COLOURS[stage]) for stage in STAGES]
    _legend_below(axes, -0.1, handles=handles, labels=STAGES, handlelength=1)


def plot_tail(stages: Stages, cells: list[Cell], axes: Axes) -> None:
    """The share of calls that took longer, on two logarithmic axes, as far as calls support it."""
    ns = stages.ns_per_cycle
    for cell in cells:
        histogram = stages.resampled(cell).whole.histograms[_TOTAL]
        above = 1 - np.cumsum(histogram.counts) / histogram.n
        known = above * histogram.n >= SAMPLES_ABOVE
        enough = bool(known.any())
        axes.step(
            np.append(middle(histogram.bins[:1]), middle(histogram.bins[known])) * ns,
            np.append(1.0, above[known]),
            where="post",
            color=colour(cell.arm),
            linestyle=ARM_LINES.get(cell.arm, "-"),
            linewidth=1.8,
            label=cell.arm if enough else f"{cell.arm}: {FEW}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=1.3)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_above))
    axes.xaxis.set_major_formatter(FuncFormatter(_short_ns))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    if high < _DECADES * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.set_xlabel("total time of a call")
    axes.set_title("Share of calls that take longer", pad=18)
    _legend_below(axes, -0.22)  # nowhere inside is free of lines in every trace


def _legend_below(axes: Axes, place: float, **what: Any) -> None:
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, place), **what)


def short_ns(value: float) -> str:
    """Nanoseconds in the unit that reads best."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} ns"


def _percent(value: float, _: int | None) -> str:
    return f"{100 * value:.10g} %"


def _above(value: float, _: int | None) -> str:
    """A share of calls that take longer, with the percentile that it is."""
    share = f"{100 * value:.10g} %"
    return share if not 0 < value < 1 else f"p{100 * (1 - value):.10g} · {share}"


def _short_ns(value: float, _: int | None) -> str:
    return short_ns(value)


def cells_of(stages: Stages, case: str | None) -> list[Cell]:
    """The cells of every system call together in one case, one per arm and mode."""
    stages.need_sample("cannot draw the stages")
    cells = [cell for cell in stages.cells() if cell.syscall == ALL]
    cases = sorted({cell.case for cell in cells}, key=natural)
    wanted = case or (cases[0] if cases else None)
    found = [cell for cell in cells if cell.case == wanted]
    if not found:
        why = f"no call of case {wanted} was recorded" if wanted else "no call was recorded"
        known = f"its cases are {', '.join(cases)}" if cases else "record it again"
        raise MemscError("cannot draw the stages", why, known)
    return found
