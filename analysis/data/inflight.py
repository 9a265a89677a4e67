# SPDX-License-Identifier: MIT
"""Which call was under way at a time: for what happened beside the calls."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from memsc.tracer.format import CALLS, STAMPS, RoundKey, TraceFolder

_COLUMNS = ["arm", "case", "round", "tid", "service_cpu", "number", "result", "flags", *STAMPS]
_NAMES = ("arm", "case")


def calls_at(
    folder: TraceFolder,
    moments: pd.DataFrame,
    by: str,
    since: str,
    wanted: Collection[RoundKey] | None = None,
) -> pd.DataFrame:
    """For each moment the last call of its thread or CPU that had begun; one part at a time.

    Whether that call was over by then is for the caller to see, from its stamps.

    Args:
        folder: the trace.
        moments: columns `at` (cycles) and one named as `by`.
        by: column of the calls that must be the moment's: `tid` or `service_cpu`.
        since: the stamp from which a call counts: `called`, or `picked` for a service CPU.
        wanted: look at these rounds only.

    Returns:
        A row per moment, with its index: columns of the table `calls`, missing (None, NaN) where no
        call had begun.
    """
    best = pd.DataFrame(
        {
            name: pd.Series(np.nan, moments.index, object if name in _NAMES else float)
            for name in _COLUMNS
        }
    )
    if not len(moments):
        return best
    order = moments[["at", by]].reset_index(drop=True).sort_values("at")
    begun = np.full(len(moments), -1, np.int64)
    for part in folder.batches(CALLS, _COLUMNS):
        calls: pd.DataFrame = part.to_pandas().astype(dict.fromkeys(_NAMES, object))
        keys = {RoundKey(*key) for key in calls[["arm", "case", "round"]].drop_duplicates().values}
        if not keys or (wanted is not None and not keys & set(wanted)):
            continue
        calls = calls.sort_values(since, ignore_index=True)
        found = pd.merge_asof(order, calls, left_on="at", right_on=since, by=by)
        found.index = order.index
        found = found.sort_index()
        started = found[since].fillna(-1).to_numpy(np.int64)
        better = started > begun
        begun[better] = started[better]
        best.loc[best.index[better]] = found.loc[better, _COLUMNS].set_index(best.index[better])
    return best
