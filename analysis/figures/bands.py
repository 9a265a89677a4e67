# SPDX-License-Identifier: MIT
# matplotlib and seaborn are loosely typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The tail's figure: which stage takes over as calls get slower."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from memsc.analysis.data.scan import ALL, Cell
from memsc.analysis.data.statistics import FEW
from memsc.analysis.domains.stages import Stages
from memsc.analysis.figures.overview import cells_of, short_ns
from memsc.analysis.figures.style import STAGE_COLOURS, name_rows, styled
from memsc.analysis.trace import Trace
from memsc.tracer.format import STAGES

_COLUMNS = 2


def plot_bands(trace: Trace, case: str | None = None) -> Figure:
    """Mean stage shares by band of the total latency, one panel per arm.

    Args:
        trace: the trace.
        case: which case; by default `sync`, or else the first.

    Raises:
        MemscError: no such case was recorded.
    """
    return draw_bands(trace.stages, trace.tail.df_bands(), case)


def draw_bands(stages: Stages, frame: pd.DataFrame, case: str | None) -> Figure:
    """The same from stages and their `df_bands`, of a trace or of many."""
    cells = cells_of(stages, case)
    frame = frame[(frame["syscall"] == ALL) & frame["sufficient"]]
    lines = -(-len(cells) // _COLUMNS)
    figure = Figure(figsize=(9, 0.8 + 2.1 * lines), layout="constrained")
    with styled():
        grid = figure.subplots(
            lines, _COLUMNS, sharex=True, squeeze=False, gridspec_kw={"wspace": 0.1}
        )
        for axes, cell in zip(grid.flat, cells, strict=False):
            mine = frame[(frame["arm"] == cell.arm) & (frame["case"] == cell.case)]
            _panel(axes, mine[mine["mode"] == cell.mode].to_dict("records"))
            axes.set_title(cell.arm)
        for axes in list(grid.flat)[len(cells) :]:
            axes.set_visible(False)
        handles = [grid.flat[0].barh(0, 0, color=STAGE_COLOURS[stage]) for stage in STAGES]
        figure.legend(handles, STAGES, ncols=4, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure


def plot_band(trace: Trace, cell: Cell) -> Figure | None:
    """One panel of `plot_bands`, a figure of its own, without a legend; None of too few calls."""
    frame = trace.tail.df_bands()
    for name, value in cell._asdict().items():
        frame = frame[frame[name] == value]
    frame = frame[frame["sufficient"]]
    if frame.empty:
        return None
    figure = Figure(figsize=(4.9, 2.3), layout="constrained")
    with styled():
        axes = figure.subplots()
        _panel(axes, frame.to_dict("records"))
        axes.set_title(cell.arm)
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
