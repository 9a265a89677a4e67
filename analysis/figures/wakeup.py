# SPDX-License-Identifier: MIT
"""Wake-ups drawn: the steps of each way that they took."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import in_order
from memsc.analysis.figures.rows import case_of
from memsc.analysis.figures.style import STEP_COLOURS, name_rows, styled

_GREY, _GRID = "#6E6E6E", "#DDDDDD"


def plot_paths(frame: pd.DataFrame, case: str | None) -> Figure:
    """Draws `df_paths`: what each way a wake-up took is made of; means add up, so they stack."""
    frame = case_of(frame, case, "wake-ups", "record an arm that sleeps: --transport ipi")
    # A path of a call in a thousand has no mean worth a bar.
    frame = frame[(frame["share"] >= 1e-3) & (frame["total_ns"] > 0)]
    arms = in_order(set(frame["arm"]))
    rows: list[dict[Any, Any]] = []
    for arm in arms:
        mine = frame[frame["arm"] == arm]
        for direction in ("poll", "complete"):
            rows += mine[mine["direction"] == direction].to_dict("records")
    labels = [
        f"{row['arm']} · {row['direction']} · {row['path']}  {100 * row['share']:.1f} %"
        for row in rows
    ]
    figure = Figure(figsize=(8.5, 1.4 + 0.36 * max(len(rows), 1)), layout="constrained")
    with styled():
        axes = figure.subplots()
        for place, row in enumerate(rows):
            start = 0.0
            for step, shade in STEP_COLOURS.items():
                # The whole is one: a path that took long once would hide all others.
                share = float(row[f"{step}_ns"]) / float(row["total_ns"])
                if share > 0:  # a step that its path does not have is NaN
                    axes.barh(place, share, left=start, color=shade, height=0.66, lw=0)
                    start += share
            if row["below"]:
                axes.barh(place, 1 - start, left=start, color=_GRID, height=0.66, lw=0)
            says = short_ns(float(row["total_ns"]))
            axes.annotate(says, (1.01, place), xycoords=("axes fraction", "data"), va="center")
        name_rows(axes, labels)
        axes.annotate("mean", (1.01, -0.85), xycoords=("axes fraction", "data"), color=_GREY)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_title("How wake-ups get through: share of each step in the mean", pad=14)
        handles = [Patch(color=shade, label=step) for step, shade in STEP_COLOURS.items()]
        if frame["below"].any():
            handles.append(Patch(color=_GRID, label="less than a probe's hit"))
        figure.legend(handles=handles, ncols=7, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure
