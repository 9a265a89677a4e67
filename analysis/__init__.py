# SPDX-License-Identifier: MIT
"""From a finished trace to tables, figures and reports.

Example:
    >>> from memsc import analysis as ma
    >>> t = ma.open("notebooks/traces/calls.memsc")
    >>> frame = t.where(arm="memsc").stages.df_stages()
    >>> frame.query("syscall == 'all'")["stage"].tolist()
    ['post', 'poll', 'execute', 'complete', 'total']
"""

from memsc.analysis.compare.comparison import Comparison, compare
from memsc.analysis.fleet.fleet import Fleet, open_many
from memsc.analysis.trace import Trace
from memsc.analysis.trace import open_one as open  # noqa: A004 (analysis.open is its name)

__all__ = ["Comparison", "Fleet", "Trace", "compare", "open", "open_many"]
