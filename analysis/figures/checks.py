# SPDX-License-Identifier: MIT
"""Checks drawn: every invariant of every arm."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from memsc.analysis.figures.style import name_rows, styled


def plot_checks(frame: pd.DataFrame) -> Figure:
    """Draws `df_checks`: every invariant of every arm, held, broken or not known."""
    arms, names = (list(dict.fromkeys(frame[key])) for key in ("arm", "name"))
    figure = Figure(figsize=(3 + 1.1 * len(arms), 0.8 + 0.28 * len(names)), layout="constrained")
    with styled():
        axes = figure.subplots()
        for row in frame.to_dict("records"):
            x, y = arms.index(row["arm"]), names.index(row["name"])
            sign, shade = _verdict(row["held"], row["value"])
            axes.text(x, y, sign, ha="center", va="center", color=shade, size=9)
        axes.set_xticks(range(len(arms)), arms)
        axes.xaxis.tick_top()
        axes.set_xlim(-0.6, max(len(arms), 1) - 0.4)
        name_rows(axes, [name.replace("_", " ") for name in names])
        axes.tick_params(length=0)
        sns.despine(figure, left=True, bottom=True, top=True)
    return figure


def _verdict(held: Any, value: Any) -> tuple[str, str]:
    if held is True:
        return "✓", "#009E73"
    if held is False:
        return f"✗ {value:.3g}", "#D55E00"
    known = value is not None and not pd.isna(value)
    return (f"{value:.3g}", "#6E6E6E") if known else ("?", "#6E6E6E")
