# SPDX-License-Identifier: MIT
"""What the C-library layer adds to a call, from blocks that were timed by turns in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memsc.analysis.data.estimates import Estimate, median_of
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
                told = [m.get(f"layer-{name}{suffix}") for m in said]
                cycles = [value for value in told if value is not None]
                if not cycles:
                    continue
                values = [each * session.clock.ns_per_cycle for each in cycles]
                case = f"{CASE}-{place}"
                row = {"case": case, "arm": arm, "metric": f"{name}_p50_ns"}
                found = median_of(values, f"{case}/{arm}/{name}")
                yield {**row, **found._asdict(), "n": len(values)}


def added_ns(session: Session) -> Estimate:
    """What the layer adds to the median call under `memsc`, where it adds more.

    Raises:
        KeyError: the suite was not run.
    """
    added = [
        Estimate(row["value"], row["low"], row["high"])
        for row in interposed(session)
        if row["arm"] == "memsc" and row["metric"] == "added_p50_ns"
    ]
    if not added:
        raise KeyError(CASE)
    return max(added)
