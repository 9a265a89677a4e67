# SPDX-License-Identifier: MIT
"""One offline HTML file: no network, no script, light and dark, readable on a telephone."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from msgspec import UNSET

from memsc.analysis.data.modes import ASYNC, WAIT
from memsc.analysis.data.numbers import number, short_ns
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.report import page_figures
from memsc.analysis.report.conditions import calibration_lines, clock_line, isolation_lines
from memsc.analysis.report.counter_text import (
    counter_notes,
    counter_tables,
    stage_counter_notes,
    stage_counter_tables,
)
from memsc.analysis.report.model import Report, Stages
from memsc.analysis.report.paths_text import looked_words, nameless_words, path_tables
from memsc.analysis.report.rows import RatioRow
from memsc.analysis.report.slow_text import cause_rows
from memsc.analysis.report.tables import DERIVED, to_csv
from memsc.analysis.report.text import biggest, cases_of, ratio_cells
from memsc.analysis.report.totals_text import (
    CALLER_HEADERS,
    SYSCALL_HEADERS,
    caller_rows,
    syscall_rows,
)
from memsc.analysis.report.trust_text import trust_lines
from memsc.analysis.report.wakeup_text import HEADERS, LEGEND, wakeup_rows
from memsc.analysis.report.waterfall import waterfalls
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError
from memsc.runtime.outputs import written
from memsc.tracer.format import STAGES

Context = dict[str, Any]
"""What the template takes."""

WORST = 6
"""Calls shown one by one, of each arm."""
CASES = 30
"""Cases with a table of their own: a page must not grow with the trace."""
LONGEST = 400_000
"""Bytes of a table that is offered in the page."""

_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN = (
    *("cpu_model", "hypervisor", "kernel", "distribution", "cpus_online", "isolated_cpus"),
    *("nohz_full_cpus", "idle_driver", "cpufreq_governor", "smt", "load_1m", "clocksource"),
)
_LONGEST_PATH = 200
_KINDS = {"✗": "bad", "✓": "good", "?": "doubt", "!": "doubt"}


def to_html(trace: Trace, report: Report) -> str:
    """The report as a page; the same trace gives the same bytes.

    Args:
        trace: the trace, for its figures and worst calls.
        report: of it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(
        s=report,
        stages=STAGES,
        trust=[(sign, _KINDS[sign], text) for sign, text in trust_lines(report)],
        environment=list(_environment(report)),
        halves=page_figures.halves(trace),
        bands=list(page_figures.bands(trace)),
        flames=list(page_figures.flames(trace)),
        cases=[_case(report, name) for name in cases_of(report)[:CASES]],
        more=max(len(cases_of(report)) - CASES, 0),
        **_against(report),
        syscalls=list(syscall_rows(report)),
        estimated=f" Estimated from one of {every} calls."
        if (every := report.record_every)
        else "",
        syscall_headers=SYSCALL_HEADERS,
        callers=list(caller_rows(report)),
        caller_headers=CALLER_HEADERS,
        paths=list(path_tables(report, _LONGEST_PATH)),
        paths_note=f"{looked_words(report)}. {nameless_words(report)}",
        machine=_machine(report),
        causes=list(_causes(report)),
        worst=list(_worst(trace)),
        wakeups=list(wakeup_rows(report)),
        wakeup_headers=HEADERS,
        wakeup_legend=LEGEND,
        counters=list(counter_tables(report)),
        counter_notes=list(counter_notes(report)),
        counted=page_figures.counters(trace, report),
        stage_counters=list(stage_counter_tables(report)),
        stage_counter_notes=list(stage_counter_notes(report)),
        perturbation=list(_perturbation(report)),
        downloads=list(_downloads(trace)),
    )


def save_html(trace: Trace, report: Report, path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        MemscError: the file cannot be written.
    """
    page = to_html(trace, report)
    with written(path) as place:
        place.write_text(page, encoding="utf-8")


def _environment(report: Report) -> Iterator[tuple[str, str]]:
    found = report.environment
    for name in _SHOWN:
        value, reason = getattr(found, name), getattr(found, f"{name}_reason", UNSET)
        if value is None and reason:
            yield name.replace("_", " "), f"unknown: {reason}"
        elif value not in (None, ""):
            yield name.replace("_", " "), str(value)
    yield "clock", clock_line(report)
    for line in isolation_lines(report):
        yield "application CPU", line
    for line in calibration_lines(report):
        yield "observing", line
    for name, arm in report.arms.items():
        sides = {"application": arm.app_cpus, "service": arm.service_cpus}
        cpus = [f"{side} CPU {', '.join(map(str, some))}" for side, some in sides.items() if some]
        service = f"{arm.service} service" if arm.service else "no service"
        handoff = [f"hand-off {arm.handoff}"] if arm.handoff else []
        yield f"arm {name}", "; ".join([f"{arm.transport}, {service}", *cpus, *handoff])


def _case(report: Report, case: str) -> Context:
    found = {n: a.cases[case] for n, a in report.arms.items() if case in a.cases}
    rows: list[Context] = []
    for name, content in found.items():
        rows.append(_row(name, content.calls, content.stages, sub=False))
        if len(content.syscalls) > 1 or content.mode == WAIT:
            rows += [
                _row(call, mine.calls, mine.stages, sub=True) for call, mine in biggest(content)
            ]
    return {
        "name": case,
        "rounds": max(content.rounds for content in found.values()),
        "late": any(content.mode == ASYNC for content in found.values()),
        "waits": any(content.mode == WAIT for content in found.values()),
        "rows": rows,
        "starred": any(content.stages[TOTAL].interval == "blocks" for content in found.values()),
    }


def _row(name: str, calls: int, stages: Stages, sub: bool) -> Context:
    total = stages[TOTAL]
    bounds = _bounds(total.mean_low_ns, total.mean_high_ns)
    if total.interval == "blocks":
        bounds += "*"
    cells = [_cell(stages[stage].mean_ns) for stage in STAGES]
    cells += [_cell(total.mean_ns), {"text": bounds, "why": None}]
    cells += [_cell(total.percentile(p), total.reason(p)) for p in PERCENTILES]
    cells.append(_cell(total.max_ns))
    return {"name": name, "calls": f"{calls:,}", "cells": cells, "sub": sub}


def _bounds(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{number(low)} to {number(high)}"


def _cell(value: float | None, why: str | None = None) -> Context:
    return {"text": number(value), "why": why}


def _machine(report: Report) -> str:
    found = report.environment
    return " · ".join(filter(None, (found.cpu_model, found.hypervisor, found.kernel)))


def _against(report: Report) -> Context:
    """The first case's ratios as `ratios`, all others folded: `folded`, a title and rows each."""
    rows = [] if report.verdict.withheld else list(_ratios(report))
    first = (rows[0]["case"], rows[0]["source"]) if rows else None
    folded: dict[str, list[Context]] = {}
    for row in rows:
        if (row["case"], row["source"]) != first:
            # All batches are one story: what waiting costs, shared by more and more calls.
            family = re.sub(r"-\d+$", "", row["case"])
            title = "batches" if family == "batch" else family
            folded.setdefault(f"{title}, measured by {row['source']}", []).append(row)
    return {
        "ratios": [row for row in rows if (row["case"], row["source"]) == first],
        "folded": [
            {"title": title, "rows": mine, "gist": _gist(mine)} for title, mine in folded.items()
        ],
    }


def _gist(rows: list[Context]) -> str:
    """What a folded table says in a few words: the ratio this is all about, first to last."""
    found = [row["cells"][2] for row in rows if row["name"] == "ipi ÷ memsc"]
    if not found:
        return ""
    ends = found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"ipi ÷ memsc, mean {ends}"


def _ratios(report: Report) -> Iterator[Context]:
    found: dict[tuple[str, str, str, bool], dict[str, RatioRow]] = {}
    for row in report.ratios:
        if row.arm == "direct" or (row.arm == "ipi" and row.base == "limit"):
            continue
        flip = row.base == "ipi"
        pair = (row.base, row.arm) if flip else (row.arm, row.base)
        source = {"stamps": "stamps", "timings": "the workload's clock"}[row.source]
        found.setdefault((row.case, " ÷ ".join(pair), source, flip), {})[row.metric] = row
    for (case, name, source, flip), metrics in found.items():
        both = [ratio_cells(metrics.get(metric), flip) for metric in ("p50", "mean")]
        cells = [*both[0], *both[1]]
        yield {"case": case, "name": name, "source": source, "cells": cells}


def _worst(trace: Trace) -> Iterator[Context]:
    for call in waterfalls(trace, WORST):
        total = max(call.total_ns, 1e-9)
        parts = list(call.stages.items())
        yield {
            "arm": f"{call.arm} {call.case}",
            "syscall": call.syscall,
            "at": f"{call.start_s:.3f} s",
            "total": short_ns(call.total_ns),
            "cause": call.cause,
            "title": ", ".join(f"{stage} {short_ns(ns)}" for stage, ns in parts),
            "parts": [(stage, f"{max(100 * ns / total, 0):.1f}") for stage, ns in parts],
            "events": [
                {
                    "text": f"{one.side}: {one.what}" + (f" {short_ns(one.ns)}" if one.ns else ""),
                    "left": f"{min(100 * one.from_ns / total, 99.5):.1f}",
                    "width": f"{max(100 * one.ns / total, 0.5):.1f}",
                }
                for one in call.events
            ],
        }


def _causes(report: Report) -> Iterator[Context]:
    for title, counts, rows in cause_rows(report):
        yield {"title": title, "counts": counts, "rows": rows}


def _perturbation(report: Report) -> Iterator[Context]:
    for row in report.perturbation:
        bounds = _bounds(row.added_low_ns, row.added_high_ns)
        ratio = row.p50_ratio
        shown = {"adds": number(row.added_ns), "interval": bounds}
        names = {"arm": row.arm, "case": row.case}
        yield names | shown | {"ratio": f"{ratio:.3f}" if ratio is not None else "–"}


def _downloads(trace: Trace) -> Iterator[tuple[str, str | None]]:
    """Name and content of each small table; None where it would outgrow the page."""
    for name, make in DERIVED.items():
        try:
            frame = make(trace)
        except MemscError:
            continue  # the trace does not have what it takes
        if name == "stages":
            # Every system call of a large program would outgrow the page.
            frame = frame[frame["syscall"] == ALL]
        content = to_csv(frame)
        yield name, base64.b64encode(content).decode() if len(content) <= LONGEST else None
