# SPDX-License-Identifier: MIT
"""A report as OpenMetrics text: for Prometheus' textfile collector, or a push from CI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.report.model import ArmFigures, StageFigures, Verdict
from memsc.analysis.report.summary import arms_of, verdict_of
from memsc.analysis.trace import Trace

_HELP = {
    "memsc_calls": ("gauge", "", "Calls recorded."),
    "memsc_calls_lost": ("gauge", "", "Calls lost; more than 0 withholds every verdict."),
    "memsc_stage_mean_seconds": ("gauge", "seconds", "Mean time of a stage per call."),
    "memsc_stage_quantile_seconds": ("gauge", "seconds", "Quantile of a stage's time."),
    "memsc_stage_mean_bound_seconds": (
        "gauge",
        "seconds",
        "Bounds of the mean's 95 % interval, over rounds, or over blocks of one run.",
    ),
    "memsc_stage_quantile_bound_seconds": (
        "gauge",
        "seconds",
        "Bounds of a quantile's 95 % interval, likewise.",
    ),
    "memsc_check_held": ("gauge", "", "Whether an invariant held: 1 or 0."),
    "memsc_verdict_withheld": ("gauge", "", "Whether the verdict is withheld: 1 or 0."),
}

Sample = tuple[str, dict[str, str], float]


def write_openmetrics(trace: Trace, path: Path) -> str:
    """Writes a trace's report; what is not known is left out, never 0."""
    # A report looks at slow calls and their events too; none of that is asked for here.
    text = to_openmetrics(trace.name, verdict_of(trace), arms_of(trace))
    path.write_text(text, encoding="utf-8")
    return f"{sum(not line.startswith('#') for line in text.splitlines())} samples"


def to_openmetrics(trace: str, verdict: Verdict, arms: Mapping[str, ArmFigures]) -> str:
    """These parts of a report as text."""
    samples = list(_samples(trace, verdict, arms))
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


def _samples(name: str, verdict: Verdict, arms: Mapping[str, ArmFigures]) -> Iterator[Sample]:
    trace = {"trace": name}
    yield "memsc_verdict_withheld", trace, float(verdict.withheld)
    for arm, content in arms.items():
        labels = {**trace, "arm": arm}
        for metric, value in (("memsc_calls", content.calls), ("memsc_calls_lost", content.lost)):
            if value is not None:
                yield metric, labels, value
        for check, found in content.checks.items():
            if found.held is not None:
                yield "memsc_check_held", {**labels, "check": check}, float(found.held)
        for case, mine in content.cases.items():
            for stage, figures in mine.stages.items():
                yield from _stage({**labels, "case": case, "stage": stage}, figures)


def _stage(labels: dict[str, str], figures: StageFigures) -> Iterator[Sample]:
    if figures.mean_ns is not None:
        yield "memsc_stage_mean_seconds", labels, figures.mean_ns * 1e-9
        ends = {"low": figures.mean_low_ns, "high": figures.mean_high_ns}
        yield from _bounds("memsc_stage_mean_bound_seconds", labels, figures, ends)
    for name, q in PERCENTILES.items():
        value = figures.percentile(name)
        if value is not None:
            mine = {**labels, "quantile": f"{q:g}"}
            yield "memsc_stage_quantile_seconds", mine, value * 1e-9
            ends = {end: getattr(figures, f"{name}_{end}_ns") for end in ("low", "high")}
            yield from _bounds("memsc_stage_quantile_bound_seconds", mine, figures, ends)


def _bounds(
    name: str, labels: dict[str, str], figures: StageFigures, ends: Mapping[str, float | None]
) -> Iterator[Sample]:
    for end, value in ends.items():
        if value is not None:
            yield name, {**labels, "bound": end, "interval": figures.interval}, value * 1e-9


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
