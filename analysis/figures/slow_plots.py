# SPDX-License-Identifier: MIT
# matplotlib, seaborn and pandas' stubs are loosely typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Drawings of what takes time away: causes, noise, the steps of wake-ups, and functions."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from memsc.analysis.domains.stages import natural
from memsc.analysis.figures.overview import short_ns
from memsc.analysis.figures.style import (
    ARM_MARKERS,
    STAGE_COLOURS,
    STEP_COLOURS,
    colour,
    name_rows,
    styled,
)
from memsc.analysis.trace import in_order
from memsc.runtime.errors import MemscError

_ROWS = 8
_GREY, _GRID = "#6E6E6E", "#DDDDDD"
_SCHEDULER = (
    r"(;(__traceiter_\w+|__schedule|schedule\w*|preempt_schedule\w*|io_schedule\w*)_\[k\])+$"
)
_SIDES = {"app": "application CPU", "service": "service CPU"}


def case_of(
    frame: pd.DataFrame, case: str | None, what: str, remedy: str = "record for longer"
) -> pd.DataFrame:
    """The rows of one case; by default of the first.

    Raises:
        MemscError: there is no such case, or nothing at all.
    """
    cases = sorted(set(frame["case"]), key=natural)
    if not cases:
        raise MemscError(f"cannot draw {what}", "there is nothing of it", remedy)
    if case is not None and case not in cases:
        why = f"nothing of case {case} was found"
        raise MemscError(f"cannot draw {what}", why, f"its cases are {', '.join(cases)}")
    return frame[frame["case"] == (case or cases[0])]


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
        grid[-1][0].xaxis.set_major_formatter(FuncFormatter(_percent))
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
                if share > 0:  # a step that its path has not is NaN
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
    # Whoever is off the CPU stands in the scheduler: why says the function that called it.
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
            axes.xaxis.set_major_formatter(FuncFormatter(_percent))
        panels[-1, 0].set_xlabel(f"share of the arm's {weight}, by the innermost function")
        handles = [Patch(color=shade, label=stage) for stage, shade in shades.items()]
        figure.legend(handles=handles, ncols=5, loc="outside lower center", handlelength=1)
        sns.despine(figure)
    return figure


def _percent(value: float, _: int | None) -> str:
    return f"{100 * value:.4g} %"


def _count(value: float, _: int | None) -> str:
    return f"{value:,.10g}"
