# SPDX-License-Identifier: MIT
"""What no hand-over is faster than: the way of a cache line between each two CPUs, and others."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from memsc.analysis.data.estimates import Estimate, median_of
from memsc.analysis.domains.timings import PerCall, Timed
from memsc.tracer.format import Session

CASES = ("pairs", "stamps", "interrupt")
"""Cases whose programs say what they found."""
_PAIR = re.compile(r"line-(\d+)-(\d+)")


def limits(session: Session, timed: Mapping[Timed, PerCall]) -> dict[str, float]:
    """As `estimated`, the figures alone."""
    return {name: found.value for name, found in estimated(session, timed).items()}


def estimated(session: Session, timed: Mapping[Timed, PerCall]) -> dict[str, Estimate]:
    """What the programs found, nanoseconds by name; the median of the rounds.

    `line-A-B` is the median round trip of a cache line that CPU A sends to B and gets back;
    `stamp` and `stamp-ordered` the mean cost of reading the clock; `ipi-one-way` the time until an
    interrupt stops the other CPU, `ipi-taken` for how long, `ipi-round-trip` until its sender
    knows.
    """
    found: dict[str, list[float]] = {}
    for r in session.rounds:
        for name, cycles in (r.measures or {}).items() if r.case in CASES else ():
            if cycles is not None:
                found.setdefault(name, []).append(cycles * session.clock.ns_per_cycle)
    way = [each for key, each in timed.items() if key.case == "interrupt"]
    one_way: dict[str, Estimate] = {}
    if way:
        interval = way[0].resampling.interval(way[0].p50s)
        cycles = Estimate.of(way[0].p50, interval)
        one_way["ipi-one-way"] = cycles.scaled(session.clock.ns_per_cycle)
    return one_way | {name: median_of(values, name) for name, values in found.items()}


def df_pairs(found: Mapping[str, float]) -> pd.DataFrame:
    """Round trips as a matrix.

    Args:
        found: as of `limits`.

    Returns:
        Nanoseconds: a row for each CPU that sends, a column for each that answers, both in order;
        NaN where a CPU meets itself, and where a pair was not measured.
    """
    pairs = {m.groups(): ns for name, ns in found.items() if (m := _PAIR.fullmatch(name))}
    cpus = sorted({int(cpu) for pair in pairs for cpu in pair})
    rows = [[pairs.get((str(a), str(b)), float("nan")) for b in cpus] for a in cpus]
    return pd.DataFrame(rows, index=pd.Index(cpus, name="from"), columns=cpus, dtype=float)
