# SPDX-License-Identifier: MIT
"""A report as OpenMetrics text: for Prometheus' textfile collector, or a push from CI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.report.summary import Json, arms_of, verdict_of
from memsc.analysis.trace import Trace

_HELP = {
    "memsc_calls": ("gauge", "", "Calls recorded."),
    "memsc_calls_lost": ("gauge", "", "Calls lost; more than 0 withholds every verdict."),
    "memsc_stage_mean_seconds": ("gauge", "seconds", "Mean time of a stage per call."),
    "memsc_stage_quantile_seconds": ("gauge", "seconds", "Quantile of a stage's time."),
    "memsc_check_held": ("gauge", "", "Whether an invariant held: 1 or 0."),
    "memsc_verdict_withheld": ("gauge", "", "Whether the verdict is withheld: 1 or 0."),
}

Sample = tuple[str, dict[str, str], float]


def write_openmetrics(trace: Trace, path: Path) -> str:
    """Writes a trace's report; what is not known is left out, never 0."""
    # A report looks at slow calls and their events too; none of that is asked for here.
    text = to_openmetrics(
        {"trace": trace.name, "verdict": verdict_of(trace), "arms": arms_of(trace)}
    )
    path.write_text(text)
    return f"{sum(not line.startswith('#') for line in text.splitlines())} samples"


def to_openmetrics(summary: Json) -> str:
    """`trace`, `verdict` and `arms` of a summary (see `memsc.analysis.report.summary`) as text."""
    samples = list(_samples(summary))
    lines: list[str] = []
    for name, (kind, unit, text) in _HELP.items():
        mine = [sample for sample in samples if sample[0] == name]
        lines += [f"# TYPE {name} {kind}", *([f"# UNIT {name} {unit}"] if unit else [])]
        lines += [f"# HELP {name} {text}", *_lines(mine)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _lines(samples: Iterable[Sample]) -> Iterator[str]:
    for name, labels, value in samples:
        inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        yield f"{name}{{{inner}}} {value:.12g}"


def _samples(summary: Json) -> Iterator[Sample]:
    trace: dict[str, str] = {"trace": summary["trace"]}
    yield "memsc_verdict_withheld", trace, float(summary["verdict"]["withheld"])
    for arm, content in summary["arms"].items():
        labels = {**trace, "arm": arm}
        for name, key in (("memsc_calls", "calls"), ("memsc_calls_lost", "lost")):
            if content[key] is not None:
                yield name, labels, content[key]
        for check, found in content["checks"].items():
            if found["held"] is not None:
                yield "memsc_check_held", {**labels, "check": check}, float(found["held"])
        for case, mine in content["cases"].items():
            for stage, figures in mine["stages"].items():
                yield from _stage({**labels, "case": case, "stage": stage}, figures)


def _stage(labels: dict[str, str], figures: dict[str, Any]) -> Iterator[Sample]:
    if figures["mean_ns"] is not None:
        yield "memsc_stage_mean_seconds", labels, figures["mean_ns"] * 1e-9
    for name, q in PERCENTILES.items():
        value = figures[f"{name}_ns"]
        if value is not None:
            yield "memsc_stage_quantile_seconds", {**labels, "quantile": f"{q:g}"}, value * 1e-9


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
