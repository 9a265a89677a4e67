# SPDX-License-Identifier: MIT
"""What one hit of a probe costs."""

from __future__ import annotations

from memsc.tracer.format import Perturbation


def hit_cost(perturbation: Perturbation | None, probe: str) -> float | None:
    """What one hit of a probe costs in nanoseconds: what it measures below that is not reported.

    Args:
        perturbation: of `session.json`.
        probe: its name.

    Returns:
        As measured at the session's start, else as the probe declares; None where neither is known.
    """
    hit = perturbation.hits.get(probe) if perturbation else None
    if hit is None:
        return None
    return hit.declared_ns if hit.cost_ns is None else hit.cost_ns
