# SPDX-License-Identifier: MIT
"""What the C-library layer adds to a call, from blocks that were timed by turns in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from memsc.analysis.statistics import Resampling
from memsc.tracer.format import Session

CASE = "layer"
_NAMES = ("without", "with", "added")
_PLACES = {"back-to-back": "", "apart": "-apart"}
"""How close the calls follow each other: at once, or with about a call's worth of work between."""


def interposed(session: Session) -> Iterator[dict[str, Any]]:
    """Each figure of the suite `layer`, if it was run.

    Yields:
        `case` (`layer-back-to-back`, `layer-apart`), `arm`, `metric` (`without_p50_ns` by the
        direct API, `with_p50_ns` by the layer, `added_p50_ns` the median of the differences between
        neighbouring blocks), `value` (nanoseconds per call, the median of the rounds), `low` and
        `high` (its interval over rounds, null with too few), `n` (rounds).
    """
    rounds = [r for r in session.rounds if r.case == CASE and r.measures and not r.recording]
    for arm in dict.fromkeys(r.arm for r in rounds):
        for place, suffix in _PLACES.items():
            for name in _NAMES:
                said = (r.measures or {} for r in rounds if r.arm == arm)
                found = [m.get(f"layer-{name}{suffix}") for m in said]
                cycles = [value for value in found if value is not None]
                if not cycles:
                    continue
                values = np.array(cycles) * session.clock.ns_per_cycle
                case = f"{CASE}-{place}"
                row = {"case": case, "arm": arm, "metric": f"{name}_p50_ns"}
                yield {**row, **_median(values, f"{case}/{arm}/{name}")}


def added_ns(session: Session) -> float:
    """What the layer adds to the median call under `memsc`, where it adds more.

    Raises:
        KeyError: the suite was not run.
    """
    added = [
        row["value"]
        for row in interposed(session)
        if row["arm"] == "memsc" and row["metric"] == "added_p50_ns"
    ]
    if not added:
        raise KeyError(CASE)
    return max(added)


def _median(values: np.ndarray[Any, np.dtype[np.float64]], seed: str) -> dict[str, Any]:
    resampling = Resampling.of(range(len(values)), seed)
    drawn = resampling.weights.astype(int)
    medians = np.array([np.median(np.repeat(values, counts)) for counts in drawn])
    low, high, basis = resampling.interval(medians)
    bounds = {"low": low, "high": high} if basis == "rounds" else {"low": None, "high": None}
    return {"value": float(np.median(values)), **bounds, "n": len(values)}
