# SPDX-License-Identifier: MIT
"""The shift function: by how much each quantile of a distribution moved.

One number says that calls became slower; this says which calls. A constant cost lifts the whole
line, a cost that grows with the call tilts it, and one that strikes seldom bends its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from memsc.analysis.comparison.sides import Sides
from memsc.analysis.data.scan import Cell

QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "quantile", "base_ns", "new_ns"),
    *("shift_ns", "low_ns", "high_ns", "interval", "reason"),
]
"""Columns of `Comparison.df_shift`."""


def shifts(cell: Cell, stage: str, sides: Sides) -> Iterator[dict[str, Any]]:
    """The rows of one cell and stage."""
    for q in QUANTILES:
        found = [[one.figure(cell, stage, q) for one in side] for side in sides.replicas]
        reason = next((f for side in found for f in side if isinstance(f, str)), None)
        row: dict[str, Any] = {**cell._asdict(), "stage": stage, "quantile": q, "reason": reason}
        row["interval"] = "none"
        if reason is None:
            was, now = ([float(figure) for figure in side] for side in found)
            if min(*was, *now) <= 0:
                yield row | {"reason": "insufficient: times of zero"}
                continue
            change = sides.change(cell, stage, q, was, now)
            scale = float(np.exp(np.mean(np.log(was))))
            row |= {"base_ns": scale, "new_ns": scale * (1 + change.value)}
            row["shift_ns"] = scale * change.value
            if np.isfinite(change.low):
                row |= {"low_ns": scale * change.low, "high_ns": scale * change.high}
                row["interval"] = sides.units
        yield row
