# SPDX-License-Identifier: MIT
"""The report of a benchmark's trace as data: that of any trace, and what its suites show."""

from __future__ import annotations

import msgspec

from memsc.analysis.report.model import Report


class TracingRow(msgspec.Struct, frozen=True):
    """A tracer at work on synchronous calls under the arm memsc (see `tracing.df_tracing`)."""

    tracer: str
    calls: int
    p50_ns: float
    p99_ns: float
    added_p50_ns: float
    slowdown_p50: float
    slowdown_p99: float
    slowdown_p50_low: float | None
    slowdown_p50_high: float | None
    slowdown_p99_low: float | None
    slowdown_p99_high: float | None
    seen: float | None
    lost: float | None
    cpu_ns_per_call: float | None
    bytes_per_call: float | None
    cpu_ns_per_call_low: float | None
    cpu_ns_per_call_high: float | None
    bytes_per_call_low: float | None
    bytes_per_call_high: float | None


class ThroughputRow(msgspec.Struct, frozen=True):
    """Many callers at once, of one case under one arm (see `throughput.df_throughput`)."""

    case: str
    arm: str
    loop: str
    processes: int
    threads: int
    batch: int
    offered_per_s: float | None
    calls: int | None
    rounds: int | None
    per_s: float | None
    per_s_low: float | None
    per_s_high: float | None
    p50_ns: float | None
    p99_ns: float | None
    p999_ns: float | None
    behind: int
    p50_ns_low: float | None
    p50_ns_high: float | None
    p99_ns_low: float | None
    p99_ns_high: float | None
    p999_ns_low: float | None
    p999_ns_high: float | None


class BenchReport(Report, frozen=True, kw_only=True):
    """The report of one trace.

    `tracing`, `throughput` and `limits` (nanoseconds by name) are there if the suites were run.
    """

    tracing: list[TracingRow]
    throughput: list[ThroughputRow]
    limits: dict[str, float]
