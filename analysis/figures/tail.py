# SPDX-License-Identifier: MIT
"""What slow calls are made of: the stage that takes over as they get slower, and their causes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.data.order import in_order
from memsc.analysis.data.statistics import FEW
from memsc.analysis.figures.colours import STAGE_COLOURS
from memsc.analysis.figures.rows import case_of
from memsc.analysis.figures.style import colour, name_rows, styled
from memsc.tracer.format import STAGES

_COLUMNS = 2
_ROWS = 8
_GREY, _GRID = "#6E6E6E", "#DDDDDD"


def plot_bands(frame: pd.DataFrame) -> Figure:
    """Mean stage shares by band of the total latency, one panel per arm.

    Args:
        frame: rows of `Tail.df_bands` of one case, of all system calls together.
    """
    panels = [(str(arm), rows) for (arm, _), rows in frame.groupby(["arm", "mode"], sort=False)]
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(9, 0.8 + 2.1 * lines), layout="constrained")
    with styled():
        grid = figure.subplots(
            lines, _COLUMNS, sharex=True, squeeze=False, gridspec_kw={"wspace": 0.1}
        )
        for axes, (arm, rows) in zip(grid.flat, panels, strict=False):
            _panel(axes, rows[rows["sufficient"]].to_dict("records"))
            axes.set_title(arm)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        handles = [grid.flat[0].barh(0, 0, color=STAGE_COLOURS[stage]) for stage in STAGES]
        figure.legend(handles, STAGES, ncols=4, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure


def plot_band(frame: pd.DataFrame) -> Figure:
    """One panel of `plot_bands`, a figure of its own, without a legend.

    Args:
        frame: rows of `Tail.df_bands` of one arm, case and mode, of all system calls together.
    """
    figure = Figure(figsize=(4.9, 2.3), layout="constrained")
    with styled():
        axes = figure.subplots()
        _panel(axes, frame.to_dict("records"))
        axes.set_title(str(frame["arm"].iloc[0]))
        sns.despine(figure)
    return figure


def _panel(axes: Axes, rows: list[dict[Any, Any]]) -> None:
    if not rows:
        axes.text(0.5, 0.5, FEW, ha="center", va="center", transform=axes.transAxes)
    for place, row in enumerate(rows):
        start = 0.0
        for stage in STAGES:
            share = row[f"{stage}_share"]
            axes.barh(place, share, left=start, color=STAGE_COLOURS[stage], height=0.72)
            start += share
        axes.text(1.02, place, short_ns(row["total_ns"]), va="center", size=8.5, clip_on=False)
    name_rows(axes, [str(row["band"]) for row in rows])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


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


def plot_causes(frame: pd.DataFrame, case: str | None) -> Figure:
    """Draws `df_causes`: a panel per arm, a bar above p99 and a diamond above p99.9."""
    frame = case_of(frame, case, "causes")
    groups: list[tuple[tuple[str, str], pd.DataFrame]] = []
    for arm in in_order(set(frame["arm"])):
        for mode, mine in frame[frame["arm"] == arm].groupby("mode", sort=False):
            groups.append(((arm, str(mode)), mine))
    tables = [
        mine.pivot_table(index="cause", columns="band", values="share")
        .reindex(columns=["p99", "p999"])
        .sort_values(["p99", "p999"], ascending=False)
        for _, mine in groups
    ]
    tops = [table.loc[_largest(table)] for table in tables]
    heights = [len(top) + 1.6 for top in tops]
    figure = Figure(figsize=(7.5, 0.7 + 0.26 * sum(heights)), layout="constrained")
    with styled():
        panels = figure.subplots(len(tops), 1, sharex=True, squeeze=False, height_ratios=heights)
        for axes, ((arm, mode), mine), top in zip(panels[:, 0], groups, tops, strict=True):
            rows = range(len(top))
            axes.barh(rows, top["p99"].fillna(0), color=colour(arm), height=0.6, alpha=0.75)
            axes.plot(top["p999"], rows, "D", color="#101010", mec="white", mew=0.8, markersize=6)
            name_rows(axes, [str(cause) for cause in top.index])
            calls = {band: int(some["calls"].sum()) for band, some in mine.groupby("band")}
            late = ", async" if mode == "async" else ""
            counts = f"{calls.get('p99', 0):,} above p99, {calls.get('p999', 0):,} above p99.9"
            axes.set_title(f"{arm}{late}: {counts}")
            axes.set_xlim(0, 1.02)
            axes.grid(visible=True, axis="x", color=_GRID, linewidth=0.6)
            axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        handles: list[Any] = [
            Patch(color=_GREY, alpha=0.75, label="share of calls above p99"),
            Line2D([], [], color="#101010", marker="D", lw=0, label="share of those above p99.9"),
        ]
        figure.legend(handles=handles, ncols=2, loc="outside lower center")
        sns.despine(figure)
    return figure


def _largest(table: pd.DataFrame) -> pd.Index[Any]:
    """Those that matter in either band, in the table's order."""
    kept = table.max(axis=1).nlargest(_ROWS).index
    return table.index[table.index.isin(kept)]
