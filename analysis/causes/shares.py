# SPDX-License-Identifier: MIT
"""What attribution speaks in: what is usual, the names of causes, and shares of an excess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memsc.analysis.data.overlap import Ints

HOST, LINE, STALL, UNEXPLAINED, NO_PROBES, LOST = (
    "host took the CPU",
    "cache line late",
    "processor stalled",
    "unexplained",
    "no probes",
    "withheld: events lost",
)
NOT_LOOKED_AT = (NO_PROBES, LOST)
"""No causes: what calls have whose rounds saw no events, or not all."""

LATE, WAKING = "wake-up interrupt late", "wake-up took longer"
"""In hand-offs of sides that sleep: until the interrupt was there, or after it."""

BY_ELIMINATION = (LINE, STALL, WAKING)
"""Named because nothing else fits: no event of the guest was there."""

SLOWER = "slower the whole round"
"""What the round's usual call takes longer than that of all: the host may have moved the CPUs."""

BUSY, WOKEN, SLEPT, POOLED, WAITED = (
    "service busy with another call",
    "parked and woken",
    "caller slept",
    "pool or takeover",
    "the call itself waited",
)


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for each slow call, in nanoseconds.

    Attributes:
        stages: shape (4, n), the median of each stage among calls of its kind.
        slower: shape (4, n), by how much that of the call's own round is above it; 0 where it is
            not, or too few calls tell.
        steady: shape (n,), whether such calls take nearly the same time to execute.
        flags: shape (n,), the flag bits that most such calls have.
    """

    stages: NDArray[np.float64]
    slower: NDArray[np.float64]
    steady: NDArray[np.bool_]
    flags: Ints


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of calls' excess, in long form.

    Attributes:
        frame: one row per part: call (row of the slow calls), stage, cause, side ("app" or
            "service"; all three are categories), ns; a call's parts never exceed its total.
        delivery_ns: what the way in and out of an interrupt was taken to cost at most.
    """

    frame: pd.DataFrame
    delivery_ns: float

    def main(self, calls: int) -> pd.DataFrame:
        """The cause with the largest part of each call.

        Returns:
            One row per call, in order: cause ("unexplained" without any part), cause_ns, side and
            stage.
        """
        names = ("cause", "side", "stage")
        codes = self.frame.assign(**{name: self.frame[name].cat.codes for name in names})
        summed = codes.groupby(["call", "cause"], as_index=False, sort=False).agg(
            {"ns": "sum", "side": "first", "stage": "first"}
        )
        first = summed.sort_values("ns", ascending=False, kind="stable").drop_duplicates("call")
        rows = first["call"].to_numpy(np.int64)
        out: dict[str, NDArray[Any]] = {}
        for name in names:
            out[name] = np.full(calls, UNEXPLAINED if name == "cause" else "", object)
            known = self.frame[name].cat.categories.to_numpy(object)
            out[name][rows] = known[first[name].to_numpy(np.int64)]
        ns = np.zeros(calls)
        ns[rows] = first["ns"].to_numpy(np.float64)
        return pd.DataFrame(
            {"cause": out["cause"], "cause_ns": ns, "side": out["side"], "stage": out["stage"]}
        )
