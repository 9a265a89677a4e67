# SPDX-License-Identifier: MIT
"""From a finished trace to tables, figures and reports.

Example:
    >>> from memsc import analysis as ma
    >>> t = ma.open("demo.memsc")  # doctest: +SKIP
    >>> t.where(arm="memsc").stages.df_stages()  # doctest: +SKIP
"""

from memsc.analysis.compare import Comparison, compare
from memsc.analysis.fleet import Fleet, open_many
from memsc.analysis.trace import Trace
from memsc.analysis.trace import open_one as open  # noqa: A004 (analysis.open is its name)

__all__ = ["Comparison", "Fleet", "Trace", "compare", "open", "open_many"]
