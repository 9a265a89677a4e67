# SPDX-License-Identifier: MIT
"""The metrics of an arm and case, session by session, and the steps in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.figures.style import colour, styled

_DIM, _STEP = "#6E6E6E", "#D55E00"
_DATES = 6
_ROW, _WIDTH = 1.35, 8.0


def plot_history(
    frame: pd.DataFrame, steps: pd.DataFrame, sessions: Sequence[tuple[str, str]]
) -> Figure:
    """Draws metrics of one arm and case below each other, session by session.

    Sessions stand beside each other, however much time lies between them. One whose verdict is
    withheld is drawn hollow.

    Args:
        frame: rows of `df_history` of one arm and case, at least one.
        steps: rows of `df_steps` of the same.
        sessions: when each was recorded, and by which version of memsc.
    """
    metrics = list(dict.fromkeys(zip(frame["stage"], frame["metric"], strict=True)))
    figure = Figure(figsize=(_WIDTH, 1.0 + _ROW * len(metrics)), layout="constrained")
    with styled():
        rows: list[Axes] = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0])
        for axes, (stage, metric) in zip(rows, metrics, strict=True):
            mine = frame[(frame["stage"] == stage) & (frame["metric"] == metric)]
            _points(axes, mine.dropna(subset="value_ns"))
            found = steps[(steps["stage"] == stage) & (steps["metric"] == metric)]
            for at, change in zip(found["session"], found["change"], strict=True):
                axes.axvline(at - 0.5, color=_STEP, linewidth=1.2)
                _at_line(axes, at, f"{change:+.1%}", _STEP, inside=True)
            axes.set_ylabel(metric if stage == "total" else stage)
        rows[0].set_title(f"{frame['arm'].iloc[0]} {frame['case'].iloc[0]}")
        _versions(rows, sessions)
        sns.despine(figure)
    return figure


def _points(axes: Axes, mine: pd.DataFrame) -> None:
    for row in mine.to_dict("records"):
        shade, at = colour(row["arm"]), row["session"]
        axes.plot([at, at], [row["low_ns"], row["high_ns"]], color=shade, linewidth=2, alpha=0.45)
        face = "none" if row["withheld"] else shade
        axes.plot(at, row["value_ns"], "o", ms=4, mec=shade, mfc=face)
    axes.margins(y=0.3)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(_time))
    axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.6)


def _versions(rows: Sequence[Axes], sessions: Sequence[tuple[str, str]]) -> None:
    """Dates below, and where another version of memsc begins."""
    places = list(range(0, len(sessions), max(round(len(sessions) / _DATES), 1)))
    rows[-1].set_xticks(places, [sessions[place][0][:10] for place in places])
    rows[-1].set_xlim(-0.7, len(sessions) - 0.3)
    for at, ((_, old), (_, new)) in enumerate(pairwise(sessions), 1):
        if old != new:
            for axes in rows:
                axes.axvline(at - 0.5, color=_DIM, linewidth=1, linestyle=":")
            _at_line(rows[0], at, new, _DIM, inside=False)


def _at_line(axes: Axes, at: int, text: str, shade: str, *, inside: bool) -> None:
    """A word at a line before a session, at the foot of it or above it."""
    place = (at - 0.5, 0.04 if inside else 1.0)
    axes.annotate(
        f" {text}", place, xycoords=("data", "axes fraction"), va="bottom", color=shade, size=8.5
    )


def _time(ns: float, _: int | None) -> str:
    return short_ns(ns) if ns else "0"
