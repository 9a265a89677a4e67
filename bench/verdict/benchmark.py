# SPDX-License-Identifier: MIT
"""What `memsc bench` prints: every figure of its trace as a row, and the targets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memsc.analysis.data.estimates import mean_of
from memsc.analysis.report.summary import records
from memsc.analysis.trace import Trace
from memsc.bench.verdict.interposed import interposed
from memsc.bench.verdict.limits import CASES, estimated
from memsc.bench.verdict.targets import Target, targets
from memsc.bench.verdict.throughput import df_throughput, is_load
from memsc.bench.verdict.tracing import CASE as TRACING
from memsc.bench.verdict.tracing import df_tracing

SCHEMA = 1
TRACING_METRICS = (
    *("slowdown_p50", "slowdown_p99", "seen", "lost", "cpu_ns_per_call", "bytes_per_call"),
)
UNSETTLED = "not settled: the bound lies within the interval, so another run may say otherwise"
_NO_BOUNDS = {"low": None, "high": None}
THROUGHPUT, FILES = "throughput", "files"
SUITES = {**dict.fromkeys(("line", *CASES), "limit"), "sync": "sync", "sync-long": "sync"}
_PROGRAMS = frozenset(
    ("dd", "ls", "fio", "dbench", "bonnie", "sqlite3", "tar", "untar", "git"),
)


def benchmark(trace: Trace) -> dict[str, Any]:
    """The benchmark as plain data.

    Returns:
        `schema`, `created`, `command`, `isolated` (by what means, where it was), `rows` (suite,
        case, arm, metric, value, low, high, n; times in nanoseconds per call, bounds at 95 % over
        rounds, null where there are fewer than four), `targets` (as `Target`), `environment`.
    """
    return {
        "schema": SCHEMA,
        "created": trace.session.created,
        "command": trace.session.command,
        "isolated": sorted({r.isolated for r in trace.session.rounds if r.isolated}),
        "rows": [
            *_rows(trace),
            *_limit_rows(trace),
            *({"suite": "layer", **row} for row in interposed(trace.session)),
            *_total_rows(trace),
            *_stage_rows(trace),
            *_program_rows(trace),
            *_load_rows(trace),
            *_tracing_rows(trace),
        ],
        "targets": [dataclasses.asdict(target) for target in targets(trace)],
        "environment": msgspec.to_builtins(trace.session.environment, str_keys=True),
    }


def _rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for found in trace.timings.df_timings().to_dict("records"):
        if is_load(found["case"]) or found["case"] in CASES:  # no calls, or not their time
            continue
        suffix = "_recorded" if found["recording"] else ""
        for metric in ("mean", "p50", "p999"):
            if math.isnan(found[f"{metric}_ns"]):
                continue
            bounds = {end: _known(found[f"{metric}_{end}_ns"]) for end in ("low", "high")}
            yield {
                "suite": _suite(found["case"]),
                "case": found["case"],
                "arm": found["arm"],
                "metric": f"{metric}_ns{suffix}",
                "value": found[f"{metric}_ns"],
                **(bounds if found["interval"] == "rounds" else _NO_BOUNDS),
                "n": int(found["calls"]),
            }


def _limit_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for case, ns in estimated(trace.session, trace.timings.per_call()).items():
        told = "interrupt" if case == "ipi-one-way" else None
        rounds = sum(case in (r.measures or {}) or r.case == told for r in trace.session.rounds)
        where = {"suite": "limit", "case": case, "arm": "machine", "metric": "p50_ns"}
        yield {**where, **ns._asdict(), "n": rounds}


def _total_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """Time of the first 1, 10, … 100 000 synchronous calls of a round, as the thesis has them."""
    for row in trace.timings.df_totals(("sync", "sync-long")).to_dict("records"):
        common = {"suite": "sync", "case": "sync", "arm": row["arm"]}
        name = {"metric": f"total_{row['calls']}_ns", "value": row["median_ns"]}
        bounds = {end: _known(row[f"{end}_ns"]) for end in ("low", "high")}
        yield {**common, **name, **bounds, "n": row["rounds"]}


def _stage_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """Mean of each stage, where calls were recorded."""
    for row in records(trace.stages.df_stages(syscalls=False)):
        suite = _suite(row["case"])
        common = {"suite": suite, "case": row["case"], "arm": row["arm"], "n": row["n"]}
        bounds = {"low": row["mean_low_ns"], "high": row["mean_high_ns"]}
        bounds = bounds if row["interval"] == "rounds" else _NO_BOUNDS
        yield {**common, "metric": f"{row['stage']}_mean_ns", "value": row["mean_ns"], **bounds}


def _program_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """Seconds that a program took as a whole, or what it says of itself if it runs for a time."""
    said: dict[tuple[str, str, str], list[float]] = {}
    for r in trace.session.rounds:
        if _suite(r.case) != FILES or r.recording or r.start_ns is None or r.end_ns is None:
            continue
        for metric, value in (r.measures or {"seconds": (r.end_ns - r.start_ns) / 1e9}).items():
            if value is not None:
                said.setdefault((r.case, r.arm, metric), []).append(value)
    for (case, arm, metric), values in said.items():
        common = {"suite": FILES, "case": case, "arm": arm, "metric": metric}
        yield {**common, **mean_of(values, f"{case}/{arm}")._asdict(), "n": len(values)}


def _load_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for row in records(df_throughput(trace.session, trace.timings.per_call())):
        common = {"suite": THROUGHPUT, "case": row["case"], "arm": row["arm"]}
        why = {"reason": f"fell behind in {row['behind']} rounds"} if row["behind"] else {}
        for metric in (
            "per_s",
            *(("p50_ns", "p99_ns", "p999_ns") if row["loop"] == "open" else ()),
        ):
            bounds = {"low": row.get(f"{metric}_low"), "high": row.get(f"{metric}_high")}
            value = {"metric": metric, "value": row[metric], **bounds, "n": row["calls"]}
            yield {**common, **value, **(why if row[metric] is None else {})}


def _tracing_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """What seeing every call costs beside time."""
    for row in records(df_tracing(trace.folder, trace.timings.per_call())):
        common = {"suite": TRACING, "case": TRACING, "arm": row["tracer"], "n": row["calls"]}
        for metric in TRACING_METRICS:
            value = row[metric]
            bounds = {end: row.get(f"{metric}_{end}") for end in ("low", "high")}
            why = {} if value is not None else {"reason": f"{row['tracer']} does not tell"}
            yield {**common, "metric": metric, "value": value, **bounds, **why}


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _suite(case: str) -> str:
    if case == TRACING:
        return case
    if is_load(case):
        return THROUGHPUT
    if case.startswith(("batch-", "peers-", "shared-", "isolation-", "causes")):
        return case.partition("-")[0]
    if case.partition("-")[0] in _PROGRAMS:
        return FILES
    return SUITES.get(case, "calls")


def render(trace: Trace) -> RenderableType:
    """The targets for people, 80 columns wide."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("target", ratio=1)
    for name in ("value", "low–high", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", max_width=20)
    found = targets(trace)
    for target in found:
        if not target.run:
            continue
        value = "–" if target.value is None else f"{target.value:.3g}"
        between = "–" if target.low is None else f"{target.low:.3g}–{target.high:.3g}"
        table.add_row(target.name, value, between, target.bound, _verdict(target))
    held = sum(target.held is True for target in found)
    missed = sum(target.held is False for target in found)
    unknown = sum(target.run for target in found) - held - missed
    summary = f"{held} held, {missed} missed" + (f", {unknown} not known" if unknown else "")
    if idle := sum(not target.run for target in found):
        summary += f"; {idle} more belong to suites that were not run"
    notes = [Text(f"?: {UNSETTLED}", "dim")] if any(t.settled is False for t in found) else []
    head = Text("Targets", style="bold")
    head.append("  what memsc's makers aim at; no fault of this machine's", style="dim")
    return Group(head, table, *notes, Text(summary))


def _verdict(target: Target) -> Text:
    if target.held is None:
        return Text(f"? {target.reason or ''}", style="yellow")
    sign = " ?" if target.settled is False else ""
    if target.held:
        return Text(f"held{sign}", style="green")
    return Text(f"missed{sign}", style="yellow")
