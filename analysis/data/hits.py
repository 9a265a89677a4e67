# SPDX-License-Identifier: MIT
"""What one hit of a probe costs."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def hit_cost(perturbation: Json | None, probe: str) -> float | None:
    """What one hit of a probe costs in nanoseconds: what it measures below that is not reported.

    Args:
        perturbation: of `session.json`.
        probe: its name.

    Returns:
        As measured at the session's start, else as the probe declares; None where neither is known.
    """
    hits: Json = perturbation["hits"] if perturbation else {}
    hit: Json = hits.get(probe, {})
    measured: float | None = hit.get("cost_ns")
    return hit.get("declared_ns") if measured is None else measured
