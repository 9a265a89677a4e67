# SPDX-License-Identifier: MIT
"""Stacks of threads drawn: the innermost functions, by stage of the call under way."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from memsc.analysis.figures.colours import STAGE_COLOURS
from memsc.analysis.figures.style import name_rows, percent, styled
from memsc.runtime.errors import MemscError

_ROWS = 8
_SCHEDULER = (
    r"(;(__traceiter_\w+|__schedule|schedule\w*|preempt_schedule\w*|io_schedule\w*)_\[k\])+$"
)


def plot_functions(folded: pd.DataFrame, weight: str, arm: str | None) -> Figure:
    """Draws `df_folded`: the functions that had most of it, by side and stage of the call.

    Args:
        folded: a trace's folded stacks.
        weight: "samples" or "ns".
        arm: which arm; by default the one with the heaviest stacks.
    """
    arms = list(dict.fromkeys(folded["arm"]))
    if not arms:
        why = "no sample lies within a round"
        raise MemscError("cannot draw the stacks", why, "record for longer")
    if arm is not None and arm not in arms:
        why = f"no sample of arm {arm} was found"
        raise MemscError("cannot draw the stacks", why, f"its arms are {', '.join(arms)}")
    chosen = arm or str(folded.groupby("arm")["weight"].sum().idxmax())
    mine = folded[folded["arm"] == chosen]
    # What is off the CPU stands in the scheduler; the function that called it says why.
    reason = mine["stack"].str.replace(_SCHEDULER, "", regex=True)
    mine = mine.assign(function=reason.str.rsplit(";", n=1).str[-1])
    whole = float(mine["weight"].sum())
    sides = [side for side in ("application", "service") if side in set(mine["side"])]
    tables = [
        mine[mine["side"] == side].pivot_table(
            index="function", columns="stage", values="weight", aggfunc="sum", fill_value=0
        )
        for side in sides
    ]
    tops = [table.loc[table.sum(axis=1).nlargest(_ROWS).index] for table in tables]
    heights = [len(top) + 1.2 for top in tops] or [1.0]
    figure = Figure(figsize=(7.5, 1.0 + 0.27 * sum(heights)), layout="constrained")
    shades = STAGE_COLOURS | {"between": "#B8B8B8"}
    with styled():
        panels = figure.subplots(
            max(len(tops), 1), 1, sharex=True, squeeze=False, height_ratios=heights
        )
        for axes, side, top in zip(panels[:, 0], sides, tops, strict=True):
            for place, (_, row) in enumerate(top.iterrows()):
                start = 0.0
                for stage, shade in shades.items():
                    share = float(row.get(stage, 0)) / whole
                    axes.barh(place, share, left=start, color=shade, height=0.66, lw=0)
                    start += share
            name_rows(axes, [str(name) for name in top.index])
            axes.set_title(f"{chosen}: {side} threads")
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(percent))
        panels[-1, 0].set_xlabel(f"share of the arm's {weight}, by the innermost function")
        handles = [Patch(color=shade, label=stage) for stage, shade in shades.items()]
        figure.legend(handles=handles, ncols=5, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure
