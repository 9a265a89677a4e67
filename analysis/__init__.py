# SPDX-License-Identifier: MIT
"""From a finished trace to tables, figures and reports.

Example:
    >>> from memsc import analysis as ma
    >>> t = ma.open("notebooks/traces/calls.memsc")
    >>> frame = t.where(arm="memsc").stages.df_stages()
    >>> frame.query("syscall == 'all'")["stage"].tolist()
    ['post', 'poll', 'execute', 'complete', 'total']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memsc.analysis.comparison.comparison import Comparison, compare
    from memsc.analysis.fleet.fleet import Fleet, open_many
    from memsc.analysis.history.history import History, over_time
    from memsc.analysis.trace import Trace
    from memsc.analysis.trace import open_one as open  # noqa: A004 (analysis.open is its name)

__all__ = ["Comparison", "Fleet", "History", "Trace", "compare", "open", "open_many", "over_time"]
_PLACES = {
    "Comparison": ("comparison.comparison", "Comparison"),
    "Fleet": ("fleet.fleet", "Fleet"),
    "History": ("history.history", "History"),
    "Trace": ("trace", "Trace"),
    "compare": ("comparison.comparison", "compare"),
    "open": ("trace", "open_one"),
    "open_many": ("fleet.fleet", "open_many"),
    "over_time": ("history.history", "over_time"),
}


def __getattr__(name: str) -> Any:
    """Each name when it is first used: a command imports what it needs and no more."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, there = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), there)
