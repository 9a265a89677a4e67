# SPDX-License-Identifier: MIT
"""Figures in few characters."""

from __future__ import annotations

from typing import Any


def short_ns(value: float) -> str:
    """Nanoseconds in the unit that reads best."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} ns"


def number(value: Any) -> str:
    """A figure in few characters; a dash if it is not known."""
    if value is None:
        return "–"
    # Ten thousand and more in thousands: a column keeps its width, whatever the transport.
    for least, size, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            scaled = value / size
            return f"{scaled:.0f}{letter}" if abs(scaled) >= 100 else f"{scaled:.1f}{letter}"
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"
