# SPDX-License-Identifier: MIT
# matplotlib, seaborn and pandas' stubs are loosely typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Drawings of the domains' frames: every figure with its interval, and only means are stacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from memsc.analysis.compare.shift import QUANTILES
from memsc.analysis.domains.stages import Stages
from memsc.analysis.figures.overview import cells_of, plot_shares, plot_tail, short_ns
from memsc.analysis.figures.style import STAGE_COLOURS, colour, name_rows, styled
from memsc.runtime.errors import MemscError
from memsc.tracer.format import STAGES


def plot_stages(stages: Stages, case: str | None) -> Figure:
    """Mean share of each stage per arm, and the arms' means."""
    cells = cells_of(stages, case)
    figure = Figure(figsize=(6, 1.4 + 0.5 * len(cells)), layout="constrained")
    with styled():
        plot_shares(stages, cells, figure.subplots())
        sns.despine(figure)
    return figure


def plot_distribution(stages: Stages, case: str | None) -> Figure:
    """The share of calls that take longer, against the total time."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    with styled():
        plot_tail(stages, cells_of(stages, case), figure.subplots())
        sns.despine(figure)
    return figure


def plot_excess(frame: pd.DataFrame) -> Figure:
    """Draws `df_excess`: what makes the slowest one percent slow, stage by stage."""
    arms = list(dict.fromkeys(frame["arm"]))
    figure = Figure(figsize=(6.5, 1.4 + 0.5 * max(len(arms), 1)), layout="constrained")
    with styled():
        axes = figure.subplots()
        for row, arm in enumerate(arms):
            mine = frame[frame["arm"] == arm].set_index("stage")
            up, down = 0.0, 0.0
            for stage in STAGES:
                # A stage may be shorter in the tail than in the body: it then counts against it.
                share = float(mine["excess_share"][stage])
                start = up if share >= 0 else down
                axes.barh(row, share, left=start, color=STAGE_COLOURS[stage], height=0.62)
                up, down = (up + share, down) if share >= 0 else (up, down + share)
            says = "+" + short_ns(float(mine["excess_ns"].sum()))
            axes.annotate(says, (1.02, row), xycoords=("axes fraction", "data"), va="center")
        axes.axvline(0, color="#6E6E6E", linewidth=1)
        name_rows(axes, arms)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_title("The slowest 1 %: what they take longer than the body")
        handles = [Patch(color=STAGE_COLOURS[stage]) for stage in STAGES]
        figure.legend(handles, STAGES, ncols=4, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure


def forest(
    rows: Sequence[Mapping[Any, Any]],
    title: str,
    show: Callable[[float], str],
    *,
    one: float | None = None,
    log: bool = False,
) -> Figure:
    """Values with their intervals, one a line.

    Args:
        rows: each with label, arm (its colour), value, low and high; NaN bounds draw none.
        title: above the figure.
        show: a value in words, beside its line and at the axis.
        one: where nothing differs; a line stands there.
        log: a logarithmic axis.

    Raises:
        MemscError: there are no rows.
    """
    if not rows:
        remedy = "`memsc bench` times calls; select fewer filters, or record several arms"
        raise MemscError(f"cannot draw {title[0].lower()}{title[1:]}", "there is none", remedy)
    figure = Figure(figsize=(7.5, 1.2 + 0.3 * max(len(rows), 1)), layout="constrained")
    with styled():
        axes = figure.subplots()
        for place, row in enumerate(rows):
            value, low, high = (float(row[name]) for name in ("value", "low", "high"))
            shade = colour(str(row["arm"]))
            if np.isfinite([low, high]).all():
                axes.plot([low, high], [place, place], color=shade, linewidth=2.2, alpha=0.55)
            axes.plot(value, place, "o", color=shade, markersize=5)
            says = show(value)
            axes.annotate(
                says, (1.01, place), xycoords=("axes fraction", "data"), va="center", size=8.5
            )
        if one is not None:
            axes.axvline(one, color="#6E6E6E", linewidth=1)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6))

        def tick(value: float, _: int | None) -> str:
            return show(value)

        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.6)
        name_rows(axes, [str(row["label"]) for row in rows])
        axes.set_title(title)
        sns.despine(figure)
    return figure


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
        labels = [f"p{100 * q:g}" for q in QUANTILES]
        for arm, rows in known.groupby("arm", sort=False):
            at = np.array([QUANTILES.index(q) for q in rows["quantile"]])
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
