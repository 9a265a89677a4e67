# SPDX-License-Identifier: MIT
"""The report of a benchmark's trace: that of any trace, and what its suites show."""

from __future__ import annotations

import msgspec

from memsc.analysis.report import summary
from memsc.analysis.report.summary import rows
from memsc.analysis.report.text import Section
from memsc.analysis.trace import Trace
from memsc.bench.verdict.beside_text import beside, is_beside
from memsc.bench.verdict.limits import CASES, limits
from memsc.bench.verdict.limits_text import limits_text
from memsc.bench.verdict.model import BenchReport, ThroughputRow, TracingRow
from memsc.bench.verdict.throughput import df_throughput, is_load
from memsc.bench.verdict.throughput_text import throughput
from memsc.bench.verdict.tracing import CASE, df_tracing
from memsc.bench.verdict.tracing_text import tracing


def summarise(trace: Trace) -> BenchReport:
    """As `memsc.analysis.report.summary.summarise`, and what the suites show."""
    timed = {} if trace.selection.cut else trace.timings.per_call()
    return BenchReport(
        **msgspec.structs.asdict(summary.summarise(trace)),
        tracing=rows(df_tracing(trace.folder, timed), TracingRow),
        throughput=rows(df_throughput(trace.session, timed), ThroughputRow),
        limits=limits(trace.session, timed),
    )


SECTIONS = (
    Section(beside, is_beside),
    Section(throughput, is_load),
    Section(lambda found: limits_text(found.limits), CASES.__contains__),
    Section(tracing, CASE.__eq__),
)
"""What a report shows of them, in this order."""
