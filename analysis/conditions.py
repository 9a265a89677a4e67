# SPDX-License-Identifier: MIT
"""Under what conditions a trace was recorded, in words: how quiet the application's CPUs were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def isolation_lines(summary: Json) -> Iterator[str]:
    """How the application's CPUs were kept free, and what came there nevertheless."""
    found = summary.get("isolation")
    if not found:
        return
    during = found["during"]
    came = f"{_rates(during)} while programs ran" if during else "what came is not known"
    if found["how"] is None:
        yield f"not isolated: {came}"
        return
    yield f"isolated by {found['how']}: {came}"
    before, isolated = found["before"], found["isolated"]
    if before and isolated:
        yield f"while kept busy, before: {_rates(before)}"
        yield f"while kept busy, isolated: {_rates(isolated)}"
    for problem in found["failed"]:
        yield f"not given back: {problem}"


def _rates(noise: Json) -> str:
    said = f"{noise['interrupts']:,.0f}"
    if noise["switches"] is not None:
        return f"{said} interrupts/s, {noise['switches']:,.0f} switches/s"
    return f"{said} interrupts/s"
