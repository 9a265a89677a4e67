# SPDX-License-Identifier: MIT
"""Counters drawn: one small panel an event, arms below each other, sides stacked, for they add."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from memsc.analysis.data.counted import EVERY, SHORT
from memsc.analysis.data.numbers import number
from memsc.analysis.figures.style import name_rows, styled
from memsc.runtime.errors import USAGE, MemscError

_SIDES = {"app": "#0072B2", "service": "#E69F00", "both": "#6E6E6E"}
_COLUMNS = 3


def plot_counters(frame: pd.DataFrame, case: str | None) -> Figure:
    """Draws `df_counters` of one case; events that never happened are left out.

    Raises:
        MemscError: there is no such case.
    """
    cases = list(frame["case"].unique())
    if case is not None and case not in cases:
        raise MemscError(
            f"cannot draw case {case}", "it has no counters", f"one of {', '.join(cases)}", USAGE
        )
    frame = frame[frame["case"] == (case or cases[0])]
    parts = frame[frame["side"] != EVERY]
    arms = list(frame["arm"].unique())
    happened = parts.groupby("event", sort=False)["per_call"].sum() > 0
    events = [name for name in SHORT if happened.get(name, False)]
    columns = min(_COLUMNS, max(len(events), 1))
    lines = -(-max(len(events), 1) // columns)
    size = (3.1 * columns + 0.6, lines * (0.75 + 0.28 * len(arms)) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    with styled():
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for i, axes in enumerate(panels.flat):
            if i >= len(events):
                axes.set_visible(False)
                continue
            _panel(axes, parts[parts["event"] == events[i]], frame, arms, events[i])
        sides = [side for side in _SIDES if side in set(parts["side"])]
        handles = [Patch(color=_SIDES[side]) for side in sides]
        figure.legend(handles, sides, ncols=len(sides), loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure


def _panel(
    axes: Axes, mine: pd.DataFrame, frame: pd.DataFrame, arms: list[str], event: str
) -> None:
    whole = frame[frame["event"] == event]
    most = 0.0
    for row, arm in enumerate(arms):
        left = 0.0
        for side, shade in _SIDES.items():
            found = mine[(mine["arm"] == arm) & (mine["side"] == side)]["per_call"].fillna(0)
            axes.barh(row, found.sum(), left=left, color=shade, height=0.62)
            left += float(found.sum())
        end = left
        bounds = whole[whole["arm"] == arm].iloc[-1]
        if pd.notna(bounds["low"]):
            axes.plot([bounds["low"], bounds["high"]], [row, row], color="#6E6E6E", linewidth=1.4)
            end = max(end, float(bounds["high"]))
        most = max(most, end)
        axes.annotate(f" {number(left)}", (end, row), va="center", size=8.5, zorder=5)
    axes.set_xlim(0, most * 1.25)
    name_rows(axes, arms)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.set_title(f"{SHORT[event]} per call", size=10)


def _tick(value: float, _: int | None) -> str:
    return number(value)
