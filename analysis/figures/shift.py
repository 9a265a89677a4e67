# SPDX-License-Identifier: MIT
"""The shift function drawn: by how much each quantile moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.figures.style import colour, styled


def plot_shift(frame: pd.DataFrame) -> Figure:
    """Draws `df_shift`: the shift at each quantile with its interval, one line an arm.

    Args:
        frame: rows of one case and stage.
    """
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    with styled():
        axes = figure.subplots()
        axes.axhline(0, color="#6E6E6E", linewidth=1)
        known = frame[frame["shift_ns"].notna()]
        quantiles = sorted(set(frame["quantile"]))
        labels = [f"p{100 * q:g}" for q in quantiles]
        for arm, rows in known.groupby("arm", sort=False):
            at = np.array([quantiles.index(q) for q in rows["quantile"]])
            shade = colour(str(arm))
            axes.plot(at, rows["shift_ns"], "o-", color=shade, label=str(arm), markersize=4)
            axes.fill_between(at, rows["low_ns"], rows["high_ns"], color=shade, alpha=0.18, lw=0)
        widest = max(known["shift_ns"].abs().max(), 1.0) if len(known) else 1.0
        # Far above the rest lies the tail: the body must stay readable beside it.
        axes.set_yscale("symlog", linthresh=max(float(np.median(known["shift_ns"].abs())), 10.0))
        axes.set_ylim(-3 * widest, 3 * widest)
        axes.yaxis.set_major_formatter(FuncFormatter(_signed))
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("quantile of the calls")
        axes.set_title("NEW minus BASE" + (f": {known['stage'].iloc[0]}" if len(known) else ""))
        figure.legend(loc="outside lower center", ncols=4)
        sns.despine(figure)
    return figure


def _signed(value: float, _: int | None) -> str:
    return "0" if value == 0 else ("+" if value > 0 else "−") + short_ns(abs(value))
