# SPDX-License-Identifier: MIT
"""How every figure looks, in colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes

ARM_COLOURS = {
    "direct": "#6E6E6E",
    "ipi": "#D55E00",
    "adaptive": "#E69F00",
    "memsc": "#0072B2",
    "memsc-scanner": "#56B4E9",
    "uring": "#CC79A7",
}
# From asking to going on: a light that gets darker, so that order shows without any hue.
STEP_COLOURS = {
    "ask": "#F0E442",
    "send": "#E69F00",
    "deliver": "#D55E00",
    "wake": "#CC79A7",
    "run": "#0072B2",
    "pick": "#332288",
}
ARM_MARKERS = {
    "direct": "s",
    "ipi": "v",
    "adaptive": "P",
    "memsc": "o",
    "memsc-scanner": "^",
    "uring": "D",
}
ARM_LINES = {
    "direct": ":",
    "ipi": "--",
    "adaptive": (0, (5, 1)),
    "memsc": "-",
    "memsc-scanner": "-.",
    "uring": (0, (3, 1)),
}
RC: dict[Any, Any] = {
    # Text stays text: readable by search and by screen readers, and the same on every machine.
    "svg.fonttype": "none",
    "svg.hashsalt": "memsc",
    # Names come from the traced program: they are text, never formulas.
    "text.parse_math": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "legend.frameon": False,
}


@contextmanager
def styled() -> Generator[None]:
    """Figures made inside look alike."""
    with mpl.rc_context(), sns.axes_style("ticks"), sns.plotting_context("notebook", 0.85):
        mpl.rcParams.update(RC)
        yield


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Lines of a figure, from its top: a name each, cut where it would leave no room."""
    shown = [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]
    axes.set_yticks(range(len(names)), shown)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)


_LONGEST = 60


def colour(arm: str) -> str:
    """An arm's colour, the same in every figure."""
    return ARM_COLOURS.get(arm, "#332288")


def percent(value: float, _: int | None) -> str:
    """A share, for an axis."""
    return f"{100 * value:.4g} %"
