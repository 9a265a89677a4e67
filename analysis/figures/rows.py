# SPDX-License-Identifier: MIT
"""Which rows of a frame a figure shows."""

from __future__ import annotations

import pandas as pd

from memsc.analysis.data.order import natural
from memsc.runtime.errors import MemscError


def case_of(
    frame: pd.DataFrame, case: str | None, what: str, remedy: str = "record for longer"
) -> pd.DataFrame:
    """The rows of one case; by default of the first.

    Raises:
        MemscError: there is no such case, or nothing at all.
    """
    cases = sorted(set(frame["case"]), key=natural)
    if not cases:
        raise MemscError(f"cannot draw {what}", "there is nothing of it", remedy)
    if case is not None and case not in cases:
        why = f"nothing of case {case} was found"
        raise MemscError(f"cannot draw {what}", why, f"its cases are {', '.join(cases)}")
    return frame[frame["case"] == (case or cases[0])]
