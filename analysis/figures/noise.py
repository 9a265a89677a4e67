# SPDX-License-Identifier: MIT
"""What took CPUs away, drawn by side and arm."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from memsc.analysis.data.order import in_order
from memsc.analysis.figures.rows import case_of
from memsc.analysis.figures.style import ARM_MARKERS, colour, name_rows, percent, styled

_ROWS = 8
_GRID = "#DDDDDD"
_SIDES = {"app": "application CPU", "service": "service CPU"}


def plot_noise(frame: pd.DataFrame, case: str | None) -> Figure:
    """Draws `df_noise`: what had each side's CPUs, for how long and how often, on log axes."""
    frame = case_of(frame, case, "noise")
    by = ["side", "what", "arm"]
    frame = frame.groupby(by, as_index=False, sort=False)[["share", "per_s"]].sum()
    arms = in_order(set(frame["arm"]))
    sides = [side for side in _SIDES if side in set(frame["side"])]
    names = [_largest_noise(frame[frame["side"] == side]) for side in sides]
    heights = [len(some) + 1.0 for some in names]
    figure = Figure(figsize=(8.5, 1.1 + 0.28 * sum(heights)), layout="constrained")
    with styled():
        grid = figure.subplots(
            len(sides), 2, sharex="col", sharey="row", squeeze=False, height_ratios=heights
        )
        for line, side, some in zip(grid, sides, names, strict=True):
            mine = frame[(frame["side"] == side) & frame["what"].isin(some)]
            for axes, column in zip(line, ("share", "per_s"), strict=True):
                for arm in arms:
                    # What has but a beginning takes no known time: no mark, not one at zero.
                    dots = mine[(mine["arm"] == arm) & (mine[column] > 0)]
                    at = [some.index(what) for what in dots["what"]]
                    marker = ARM_MARKERS.get(arm, "o")
                    axes.plot(dots[column], at, marker, color=colour(arm), alpha=0.85, label=arm)
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.grid(visible=True, color=_GRID, linewidth=0.6)
            name_rows(line[0], some)
            line[0].set_title(_SIDES[side])
        grid[-1][0].xaxis.set_major_formatter(FuncFormatter(percent))
        grid[-1][0].set_xlabel("share of the time")
        grid[-1][1].xaxis.set_major_formatter(FuncFormatter(_count))
        grid[-1][1].set_xlabel("times per second")
        handles = [
            Line2D([], [], color=colour(arm), marker=ARM_MARKERS.get(arm, "o"), lw=0, label=arm)
            for arm in arms
        ]
        figure.legend(handles=handles, ncols=5, loc="outside lower center")
        sns.despine(figure)
    return figure


def _largest_noise(frame: pd.DataFrame) -> list[str]:
    most = frame.groupby("what")[["share", "per_s"]].max()
    return most.sort_values(["share", "per_s"], ascending=False).index[:_ROWS].tolist()


def _count(value: float, _: int | None) -> str:
    return f"{value:,.10g}"
