# SPDX-License-Identifier: MIT
"""The limits for a terminal: a few figures, and the cache line's way between CPUs as a map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.report.terminal import heading
from memsc.bench.verdict.limits import df_pairs

_SHADES = "░▒▓█"
_CELLS = 12  # CPUs that stand side by side, with figures, in 80 columns
_MOST = 72
NAMES = {
    "stamp": "reading the clock",
    "stamp-ordered": "… behind earlier loads",
    "ipi-one-way": "an interrupt stops another CPU after",
    "ipi-taken": "… and keeps it for",
    "ipi-round-trip": "… and its sender knows after",
}


def limits_text(found: Mapping[str, float]) -> Iterator[RenderableType]:
    """What no hand-over is faster than (`found` as of `analysis.limits.limits`)."""
    if not found:
        return
    yield heading("The limits", "ns; medians, of the clock means")
    for name, words in NAMES.items():
        if name in found:
            yield Text(f"  {words:38}{number(found[name]):>8}")
    pairs = df_pairs(found)
    if len(pairs):
        yield Text("  a cache line's round trip, from CPU (row) to CPU (column)")
        yield from _map(pairs)


def _map(pairs: pd.DataFrame) -> Iterator[RenderableType]:
    values = [[float(value) for value in row] for row in pairs.to_numpy()]
    known = [value for row in values for value in row if not math.isnan(value)]
    low, high = min(known), max(known)
    if len(pairs) > _MOST:
        yield Text(f"  {len(pairs)} CPUs: {number(low)} to {number(high)}", "dim")
        return
    names = [str(cpu) for cpu in pairs.index]
    wide = len(names) <= _CELLS
    if wide:
        yield Text("  " + " " * 5 + "".join(f"{name:>6}" for name in names), "dim")
    for name, row in zip(names, values, strict=True):
        line = Text(f"  {name:>4} ", "dim")
        for value in row:
            shade = _shade(value, low, high)
            line.append(f"{number(value):>5}{shade}" if wide and shade != " " else shade * 6)
        yield line if wide else Text(f"  {name:>4} " + "".join(_shade(v, low, high) for v in row))
    if not wide:
        yield Text(f"  {_SHADES[0]} {number(low)} … {_SHADES[-1]} {number(high)}", "dim")


def _shade(value: float, low: float, high: float) -> str:
    """The slower, the darker."""
    if math.isnan(value):
        return " "
    share = (value - low) / (high - low) if high > low else 0
    return _SHADES[min(int(share * len(_SHADES)), len(_SHADES) - 1)]
