# SPDX-License-Identifier: MIT
"""The figures of a benchmark's results, and the file that all of it is written to."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from memsc.analysis.data.numbers import short_ns
from memsc.analysis.figures.files import save
from memsc.analysis.figures.forest import plot_forest
from memsc.analysis.figures.style import colour, styled
from memsc.bench.verdict import thesis
from memsc.bench.verdict.results import Json, Results, markdown, pairs
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.outputs import written

KEPT = ("<!-- kept -->", "<!-- /kept -->")
"""Marks of what stays in a file when it is made anew: what no benchmark measures."""


def write_results(bench: Json, path: Path) -> list[Path]:
    """Writes the results as Markdown, and their figures beside it.

    What somebody has put between the marks `KEPT` in the file that is there stays at its end.

    Args:
        bench: the object that `memsc bench --json` prints.
        path: of the Markdown file; a figure is named after it.

    Returns:
        The files written.

    Raises:
        MemscError: another suffix than `.md`, or the files cannot be written.
    """
    what = f"cannot write {path}"
    if path.suffix != ".md":
        raise MemscError(what, "results are Markdown", "name it results.md", USAGE)
    by_hand = kept(path)
    found = Results(bench)
    drawn = {key: figure for key, draw in FIGURES.items() if (figure := draw(found))}
    files = [path.with_name(f"{path.stem}-{key}.svg") for key in drawn]
    with written(path, what) as place:
        page = markdown(bench, path.stem, frozenset(drawn))
        place.write_text(f"{page.rstrip()}\n{by_hand}", encoding="utf-8")
    for file, figure in zip(files, drawn.values(), strict=True):
        save(figure, file)
    return [path, *files]


def kept(path: Path) -> str:
    """What stands between the marks `KEPT` in a file, with them; nothing if there is none.

    Raises:
        MemscError: one mark is there without the other: what was meant to stay is not known.
    """
    if not path.is_file():
        return ""
    begin, end = KEPT
    text = path.read_text(encoding="utf-8", errors="replace")
    _, first, rest = text.partition(begin)
    middle, last, _ = (rest if first else text).partition(end)
    if bool(first) != bool(last):
        mark = end if first else begin
        raise MemscError(f"cannot replace {path}", f"it has no {mark}", "put that mark back", USAGE)
    return f"\n{begin}{middle}{end}\n" if first else ""


def draw_sync(found: Results) -> Figure | None:
    """One synchronous call under every arm, medians with intervals."""
    return _means(found, "sync", ("sync",), "One getppid, mean")


def draw_peers(found: Results) -> Figure | None:
    """The same under every peer."""
    return _means(
        found, "peers", ("peers-null",), "One getppid or NOP, handed to another CPU, mean"
    )


def _means(found: Results, suite: str, cases: tuple[str, ...], title: str) -> Figure | None:
    rows: list[dict[str, Any]] = []
    for case in cases:
        for arm in found.arms(suite):
            row = found.row(case, arm, "mean_ns")
            if row:
                bounds = {
                    end: math.nan if row[end] is None else row[end] for end in ("low", "high")
                }
                rows.append({"label": arm, "arm": arm, "value": row["value"], **bounds})
    rows.sort(key=lambda row: row["value"])
    return plot_forest(rows, title, short_ns, log=True) if rows else None


def draw_batches(found: Results) -> Figure | None:
    """What posting several calls at once gains, here and in the thesis."""
    lines = {"thesis": [thesis.BATCH_MS[0] / ms for ms in thesis.BATCH_MS]}
    for arm in ("memsc-scanner", "memsc"):
        mine = [found.value(f"batch-{size}", arm, "mean_ns") for size in thesis.BATCHES]
        if all(mine):
            lines[arm] = [(mine[0] or 0) / (value or 1) for value in mine]
    if len(lines) == 1:
        return None
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    with styled():
        axes = figure.subplots()
        for name, gains in lines.items():
            shade = "#6E6E6E" if name == "thesis" else colour(name)
            shown = "Memsc in the thesis" if name == "thesis" else name
            axes.plot(thesis.BATCHES, gains, marker="o", color=shade, label=shown)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(thesis.BATCHES, [str(size) for size in thesis.BATCHES])
        ticks = [1, 2, 4, 8, 16, 32]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("calls posted at once")
        axes.set_title("Gain over calls made one by one")
        axes.legend()
        sns.despine(figure)
    return figure


def draw_pairs(found: Results) -> Figure | None:
    """The way of a cache line between each two CPUs."""
    matrix = pairs(found)
    return plot_pairs(matrix) if len(matrix) else None


_WRITTEN = 24  # CPUs up to which every cell of the map has its figure in it


def plot_pairs(pairs: pd.DataFrame) -> Figure:
    """The matrix as a heat map: CPUs that share a cache, or are far apart, are seen as blocks."""
    size = max(3.2, min(0.42 * len(pairs) + 1.6, 11.0))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    with styled():
        axes = figure.subplots()
        sns.heatmap(
            pairs,
            ax=axes,
            cmap="cividis",
            square=True,
            annot=len(pairs) <= _WRITTEN,
            fmt=".0f",
            annot_kws={"size": 8},
            linewidths=0.5 if len(pairs) <= _WRITTEN else 0,
            rasterized=len(pairs) > _WRITTEN,
            cbar_kws={"label": "ns", "shrink": 0.8},
        )
        axes.set_title("Cache-line round trip between CPUs")
        axes.set_xlabel("to CPU")
        axes.set_ylabel("from CPU")
        axes.tick_params(length=0, rotation=0)
    return figure


FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "sync": draw_sync,
    "batches": draw_batches,
    "peers": draw_peers,
    "pairs": draw_pairs,
}
"""By the end of their files' names; each is None where nothing of it was measured."""
