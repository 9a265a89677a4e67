# SPDX-License-Identifier: MIT
"""What a call's time is made of, and how far it strays: the figures to look at first."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.data.statistics import FEW
from memsc.analysis.figures.colours import ON_COLOUR, STAGE_COLOURS
from memsc.analysis.figures.style import (
    ARM_LINES,
    colour,
    name_rows,
    styled,
)
from memsc.tracer.format import STAGES

# A narrower axis has too few powers of ten to be read by.
_DECADES = 100

Size = tuple[float, float]


def plot_overview(stages: pd.DataFrame, distribution: pd.DataFrame) -> Figure:
    """Mean stage shares per arm, and the distribution of the total as the share of calls above it.

    Args:
        stages: rows of `Stages.df_stages` of one case, of all system calls together.
        distribution: rows of `Stages.df_distribution` of the same case.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    with styled():
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15), gridspec_kw={"wspace": 0.12})
        _draw_shares(stages, left)
        _draw_distribution(distribution, right)
        sns.despine(figure)
    return figure


def plot_stages(stages: pd.DataFrame, size: Size | None = None) -> Figure:
    """Mean share of each stage per arm, and the arms' means: the left half of `plot_overview`."""
    arms = len(stages[stages["stage"] == TOTAL])
    figure = Figure(figsize=size or (6, 1.4 + 0.5 * arms), layout="constrained")
    with styled():
        _draw_shares(stages, figure.subplots())
        sns.despine(figure)
    return figure


def plot_distribution(distribution: pd.DataFrame, size: Size = (6, 4)) -> Figure:
    """The share of calls that take longer, against the total time: its right half."""
    figure = Figure(figsize=size, layout="constrained")
    with styled():
        _draw_distribution(distribution, figure.subplots())
        sns.despine(figure)
    return figure


def _draw_shares(stages: pd.DataFrame, axes: Axes) -> None:
    """Stacked bars of the mean share of each stage: means add up, so they may be stacked."""
    arms: list[str] = []
    for (arm, _), rows in stages.groupby(["arm", "mode"], sort=False):
        mine, row, start = rows.set_index("stage"), len(arms), 0.0
        shares = mine["share"].fillna(0.0)
        for stage in STAGES:
            share = float(shares[stage])
            axes.barh(row, share, left=start, color=STAGE_COLOURS[stage], height=0.62)
            if 0.07 < share <= 1:
                place = start + share / 2
                says = f"{100 * share:.0f} %"
                axes.text(place, row, says, ha="center", va="center", size=8, color=ON_COLOUR)
            start += share
        mean = short_ns(float(mine["mean_ns"][TOTAL]))
        axes.text(1.02, row, mean, va="center", size=9, clip_on=False)
        arms.append(str(arm))
    axes.text(1.02, -0.72, "mean", va="center", size=9, color="#6E6E6E", clip_on=False)
    name_rows(axes, arms)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_title(f"Where the time goes: {stages['case'].iloc[0]}", pad=18)
    handles = [axes.barh(0, 0, color=STAGE_COLOURS[stage]) for stage in STAGES]
    _legend_below(axes, -0.1, handles=handles, labels=STAGES, handlelength=1)


def _draw_distribution(distribution: pd.DataFrame, axes: Axes) -> None:
    """The share of calls that took longer, on two logarithmic axes, as far as calls support it."""
    for (name, _), rows in distribution.groupby(["arm", "mode"], sort=False):
        arm = str(name)
        axes.step(
            rows["total_ns"],
            rows["above"],
            where="post",
            color=colour(arm),
            linestyle=ARM_LINES.get(arm, "-"),
            linewidth=1.8,
            label=arm if len(rows) > 1 else f"{arm}: {FEW}",
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


def _percent(value: float, _: int | None) -> str:
    return f"{100 * value:.10g} %"


def _above(value: float, _: int | None) -> str:
    """A share of calls that take longer, with the percentile that it is."""
    share = f"{100 * value:.10g} %"
    return share if not 0 < value < 1 else f"p{100 * (1 - value):.10g} · {share}"


def _short_ns(value: float, _: int | None) -> str:
    return short_ns(value)
