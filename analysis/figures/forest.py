# SPDX-License-Identifier: MIT
"""Values with their intervals, one a line: ratios, times and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from memsc.analysis.figures.style import colour, name_rows, styled
from memsc.runtime.errors import MemscError


def plot_forest(
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
