# SPDX-License-Identifier: MIT
"""The shift function: by how much each quantile of a distribution moved.

One number says that calls became slower; this says which calls. A constant cost lifts the whole
line, a cost that grows with the call tilts it, and one that strikes seldom bends its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memsc.analysis.data.scan import Cell
from memsc.analysis.data.sketch import QUANTITIES
from memsc.analysis.data.statistics import Resampled, insufficient, interval

QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
COLUMNS = [
    *("arm", "case", "syscall", "mode", "stage", "quantile", "base_ns", "new_ns"),
    *("shift_ns", "low_ns", "high_ns", "interval", "reason"),
]
"""Columns of `Comparison.df_shift`."""


def shifts(
    cell: Cell, stage: str, base: Resampled, new: Resampled, ns: tuple[float, float]
) -> Iterator[dict[str, Any]]:
    """The rows of one cell and stage; `ns` are the nanoseconds to a cycle of base and new."""
    quantity = QUANTITIES.index(stage)
    was, now = (
        side.quantiles(quantity, QUANTILES) * scale
        for side, scale in zip((base, new), ns, strict=True)
    )
    both = [base.resampling, new.resampling]
    for i, q in enumerate(QUANTILES):
        reasons = [insufficient(side.whole, quantity, q) for side in (base, new)]
        reason = next((reason for reason in reasons if reason), None)
        row: dict[str, Any] = {**cell._asdict(), "stage": stage, "quantile": q, "reason": reason}
        if reason is None:
            values = [
                side.whole.histograms[quantity].quantile(q) * scale
                for side, scale in zip((base, new), ns, strict=True)
            ]
            found = interval(now[i] - was[i], both)
            row |= {"base_ns": values[0], "new_ns": values[1], "shift_ns": values[1] - values[0]}
            row |= {"low_ns": found.low, "high_ns": found.high, "interval": found.basis}
        yield row
