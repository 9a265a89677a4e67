# SPDX-License-Identifier: MIT
"""A benchmark's results as Markdown: its targets, the thesis's tables beside ours, and the rest.

Made from what `memsc bench --json` prints and from nothing else, so it can be remade anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from memsc.analysis.data.estimates import Estimate, difference, quotient
from memsc.analysis.data.numbers import number
from memsc.bench.verdict import thesis
from memsc.bench.verdict.limits import df_pairs
from memsc.bench.verdict.limits_text import NAMES

Json = dict[str, Any]
ARMS = ("direct", "ipi", "memsc-scanner", "memsc")
_TEMPLATES = Path(__file__).with_name("templates")
_DASH = "–"


class Results:
    """What a benchmark found, by suite, case, arm and metric.

    Args:
        bench: the object that `memsc bench --json` prints.
    """

    def __init__(self, bench: Json) -> None:
        self.bench = bench
        self._rows = {(row["case"], row["arm"], row["metric"]): row for row in bench["rows"]}

    def value(self, case: str, arm: str, metric: str) -> float | None:
        """A figure; None if it was not measured."""
        return self._rows.get((case, arm, metric), {}).get("value")

    def row(self, case: str, arm: str, metric: str) -> Json:
        """A figure with its interval; empty if it was not measured."""
        return self._rows.get((case, arm, metric), {})

    def estimate(self, case: str, arm: str, metric: str) -> Estimate | None:
        """A figure with its interval; None if it was not measured."""
        row = self._rows.get((case, arm, metric), {})
        if row.get("value") is None:
            return None
        return Estimate(row["value"], row.get("low"), row.get("high"))

    def ratio(self, above: tuple[str, str], below: tuple[str, str], metric: str) -> Estimate | None:
        """One (case, arm) ÷ another."""
        return divided(self.estimate(*above, metric), self.estimate(*below, metric))

    def cases(self, suite: str) -> list[str]:
        """Cases of a suite, in the order they stand there."""
        return list(
            dict.fromkeys(row["case"] for row in self.bench["rows"] if row["suite"] == suite)
        )

    def arms(self, suite: str) -> list[str]:
        """Arms of a suite, the four that forward first."""
        found = dict.fromkeys(row["arm"] for row in self.bench["rows"] if row["suite"] == suite)
        return [arm for arm in ARMS if arm in found] + [arm for arm in found if arm not in ARMS]


def markdown(bench: Json, name: str, figures: Collection[str] = ()) -> str:
    """The results for people.

    Args:
        bench: the object that `memsc bench --json` prints.
        name: what the files of its figures begin with: `NAME-sync.svg` and others.
        figures: those there are (see `results_figures`).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        undefined=jinja2.StrictUndefined,
    )
    found = Results(bench)
    tables = {key: make(found) for key, make in TABLES.items()}
    template = environment.get_template("results.md")
    told = template.render(
        bench=bench, name=name, figures=figures, tables=tables, found=found, plain=_plain
    )
    # Sections without a table leave their blank lines behind.
    return re.sub(r"\n{3,}", "\n\n", told)


def divided(above: Estimate | None, below: Estimate | None) -> Estimate | None:
    """A ratio of two figures that may be unknown."""
    return quotient(above, below) if above is not None and below is not None else None


def shown(found: Estimate | None, show: Callable[[float], str]) -> str:
    """A figure, and how far the farther end of its interval is from it, in per cent."""
    if found is None:
        return _DASH
    told = show(found.value)
    if found.low is None or found.high is None or not found.value:
        return told
    share = 100 * max(found.value - found.low, found.high - found.value) / abs(found.value)
    if share < 0.05:
        return f"{told} ±0 %"
    return f"{told} ±{share:,.0f} %" if share >= 1 else f"{told} ±{share:.1g} %"


def times(found: Estimate | None) -> str:
    """A ratio in few characters."""
    return shown(found, lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


def _plain(found: Estimate | None) -> str:
    """A ratio in a sentence, where its interval would stand in the way."""
    return times(found and Estimate(found.value))


def seconds(found: Estimate | None) -> str:
    """Seconds in few characters."""
    return shown(found, lambda value: f"{value:.2f}" if value >= 0.1 else f"{value:.3f}")


def _grid(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """A table: names to the left, figures to the right. Empty if it has no rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *lines]) if lines else ""


def _targets(found: Results) -> str:
    rows: list[list[str]] = []
    for target in found.bench["targets"]:
        if target["run"]:
            says = {True: "✓ held", False: "✗ missed"}.get(target["held"])
            says = says and says + (", not settled" if target["settled"] is False else "")
            ends = [target["low"], target["high"]]
            between = _DASH if None in ends else "–".join(f"{end:.3g}" for end in ends)
            value = _DASH if target["value"] is None else f"{target['value']:.3g}"
            bound = target["bound"].replace("<=", "≤").replace(">=", "≥")
            says = says or f"? {target['reason'] or ''}"
            rows.append([target["name"], value, between, bound, says])
    return _grid(["target", "value", "low–high", "bound", ""], rows)


def _sync(found: Results) -> str:
    head = ["N", "native", "IPI", "Memsc", "IPI ÷ Memsc"]
    head += [*ARMS, "ipi ÷ memsc-scanner", "ipi ÷ memsc"]
    rows: list[list[str]] = []
    for i, calls in enumerate(thesis.CALLS):
        theirs = [thesis.TOTAL_US[side][i] for side in ("native", "IPI", "Memsc")]
        ours = {arm: found.estimate("sync", arm, f"total_{calls}_ns") for arm in ARMS}
        gain = times(Estimate(theirs[1] / theirs[2]))
        row = [f"{calls:,}", *(f"{us:,}" for us in theirs), gain]
        row += [_micro(ours[arm]) for arm in ARMS]
        row += [times(divided(ours["ipi"], ours[arm])) for arm in ("memsc-scanner", "memsc")]
        rows.append(row)
    return _grid(head, rows) if found.cases("sync") else ""


def _micro(ns: Estimate | None) -> str:
    us = ns and ns.scaled(1e-3)
    return shown(us, lambda us: f"{us:,.0f}" if us >= 100 else f"{us:.3g}")


def _distribution(found: Results) -> str:
    rows: list[list[str]] = []
    for arm in found.arms("sync"):
        stages = [f"{stage}_mean_ns" for stage in ("post", "poll", "execute", "complete")]
        mine = [found.estimate("sync", arm, m) for m in ("mean_ns", "p50_ns", "p999_ns", *stages)]
        if mine[0]:
            rows.append([arm, *map(_ns, mine)])
    head = ["", "mean", "p50", "p99.9", "post", "poll", "execute", "complete"]
    return _grid(head, rows)


def _ns(found: Estimate | None) -> str:
    return shown(found, number)


def _batches(found: Results) -> str:
    if not found.cases("batch"):
        return ""
    rows: list[list[str]] = []
    for size, ms in zip(thesis.BATCHES, thesis.BATCH_MS, strict=True):
        case = f"batch-{size}"
        single = thesis.TOTAL_US["IPI"][-1] / 1000
        ours = [found.estimate(case, arm, "mean_ns") for arm in ARMS]
        by_ipi = divided(found.estimate("batch-1", "ipi", "mean_ns"), ours[-1])
        row = [str(size), f"{ms:,}", times(Estimate(single / ms)), *map(_ns, ours)]
        rows.append([*row, times(by_ipi), times(divided(ours[-1], ours[0]))])
    head = ["batch", "Memsc, ms", "IPI ÷ Memsc", *(f"{arm}, ns" for arm in ARMS)]
    return _grid([*head, "single ipi ÷ memsc", "memsc ÷ direct"], rows)


def _throughput(found: Results) -> str:
    cases = [case for case in found.cases("throughput") if case.startswith("closed-")]
    rows: list[list[str]] = []
    for case in cases:
        ours = [found.estimate(case, arm, "per_s") for arm in ARMS]
        theirs = _THESIS_LOADS.get(case, {})
        named = [f"{theirs[side]:,}" if side in theirs else _DASH for side in ("IPI", "Memsc")]
        rows.append([_callers(case), *named, *map(_ns, ours)])
    return _grid(["processes × threads", "IPI", "Memsc", *ARMS], rows)


_THESIS_LOADS = {
    "closed-2x1": {side: thesis.PER_S[side] for side in ("IPI", "Memsc")},
    "closed-2x1-batch-4": {"Memsc": thesis.PER_S["batch-4"]},
    "closed-2x1-batch-64": {"Memsc": thesis.PER_S["batch-64"]},
}


def _callers(case: str) -> str:
    _, callers, *batch = case.split("-")
    return callers.replace("x", " × ") + (f", batches of {batch[1]}" if batch else "")


def _open_loop(found: Results) -> str:
    rows: list[list[str]] = []
    for case in (case for case in found.cases("throughput") if case.startswith("open-")):
        _, callers, rate = case.split("-")
        cells: list[str] = []
        for arm in ARMS:
            told = " / ".join(_ns(found.estimate(case, arm, f"{p}_ns")) for p in ("p50", "p99"))
            cells.append("✗" if found.row(case, arm, "p50_ns").get("reason") else told)
        rows.append([f"{int(rate):,} by {callers.replace('x', ' × ')}", *cells])
    return _grid(["calls/s offered", *ARMS], rows)


def _programs(found: Results, tool: str, sizes: Sequence[int], theirs: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    usual = {"dd": 10, "ls": 5_000}[tool]
    for i, size in enumerate(sizes):
        case = tool if size == usual else f"{tool}-{size}"
        ours = [found.estimate(case, arm, "seconds") for arm in ARMS]
        if not any(ours):
            continue
        ipi, memsc = theirs["IPI"][i], theirs["Memsc"][i]
        gain = times(Estimate(ipi / memsc))
        row = [f"{size:,}", str(ipi), str(memsc), gain, *map(seconds, ours)]
        rows.append([*row, times(divided(ours[1], ours[2])), times(divided(ours[1], ours[3]))])
    head = ["", "IPI", "Memsc", "IPI ÷ Memsc", *ARMS, "ipi ÷ memsc-scanner", "ipi ÷ memsc"]
    return _grid(head, rows)


def _others(found: Results) -> str:
    rows: list[list[str]] = []
    for case in found.cases("files"):
        if case.startswith(("dd", "ls")):
            continue
        metric, show = ("mb_per_s", _ns) if case == "dbench" else ("seconds", seconds)
        ours = [found.estimate(case, arm, metric) for arm in ARMS]
        gain = divided(ours[3], ours[1]) if case == "dbench" else divided(ours[1], ours[3])
        unit = "MB/s" if case == "dbench" else "s"
        rows.append([f"{case}, {unit}", *map(show, ours), times(gain)])
    return _grid(["", *ARMS, "gain of memsc over ipi"], rows)


def _by_case(suite: str, metrics: Sequence[str]) -> Callable[[Results], str]:
    """Cases as rows, arms as columns."""

    def make(found: Results) -> str:
        arms = found.arms(suite)
        rows = (
            [case, *(_cell(found, case, arm, metrics) for arm in arms)]
            for case in found.cases(suite)
        )
        return _grid(["", *arms], list(rows))

    return make


def _cell(found: Results, case: str, arm: str, metrics: Sequence[str]) -> str:
    values = [found.estimate(case, arm, metric) for metric in metrics]
    return _DASH if values[0] is None else " / ".join(map(_ns, values))


def _calls(found: Results) -> str:
    stages = ("post", "poll", "execute", "complete")
    rows: list[list[str]] = []
    for case in found.cases("calls"):
        # Recorded, if they were: then the stages add up to it.
        metric = "total_mean_ns" if found.value(case, "memsc", "total_mean_ns") else "mean_ns"
        totals = [found.estimate(case, arm, metric) for arm in ARMS]
        parts = (_ns(found.estimate(case, "memsc", f"{stage}_mean_ns")) for stage in stages)
        dearer = times(divided(totals[3], totals[0]))
        rows.append([case, *map(_ns, totals), *parts, dearer])
    return _grid(["", *ARMS, *stages, "memsc ÷ direct"], rows)


def _peers(found: Results) -> str:
    def mean(arm: str) -> float:
        return found.value("peers-null", arm, "mean_ns") or float("inf")

    rows: list[list[str]] = []
    for arm in sorted(found.arms("peers"), key=mean):
        row = [arm]
        for case in ("peers-null", "peers-read"):
            row += [_ns(found.estimate(case, arm, metric)) for metric in ("mean_ns", "p50_ns")]
            beside = None if arm == "memsc" else (case, arm)
            row.append(times(found.ratio(beside, (case, "memsc"), "mean_ns")) if beside else "1")
        rows.append(row)
    return _grid(["", "getppid, mean", "p50", "÷ memsc", "4 KiB, mean", "p50", "÷ memsc"], rows)


def _limit(found: Results) -> str:
    """What stands apart of the pairs, which are a figure."""
    rows = [
        [words, _ns(found.estimate(name, "machine", "p50_ns"))] for name, words in NAMES.items()
    ]
    line = next((_ns(found.estimate("line", arm, "p50_ns")) for arm in found.arms("limit")), _DASH)
    rows.append(["a cache line's round trip between application and service CPU", line])
    return _grid(["", "ns"], [row for row in rows if row[1] != _DASH])


def pairs(found: Results) -> pd.DataFrame:
    """Round trips of a cache line between each two CPUs (see `limits.df_pairs`)."""
    rows = (row for row in found.bench["rows"] if row["arm"] == "machine")
    return df_pairs({row["case"]: row["value"] for row in rows})


def _tracing(found: Results) -> str:
    base = found.estimate("tracing", "memsc", "p50_ns")
    rows: list[list[str]] = []
    for arm in found.arms("tracing"):
        metric = "p50_ns_recorded" if arm == "memsc" else "p50_ns"
        mine = found.estimate("tracing", arm, metric)
        if mine is None or base is None:
            continue
        adds = shown(difference(mine, base), lambda value: f"{value:+,.0f}")
        slower = (found.estimate("tracing", arm, f"slowdown_{p}") for p in ("p50", "p99"))
        rest = (
            _ns(found.estimate("tracing", arm, name))
            for name in ("lost", "cpu_ns_per_call", "bytes_per_call")
        )
        rows.append([arm, _ns(mine), adds, *map(_growth, slower), *rest])
    head = ["", "p50, ns", "adds", "to p50", "to p99", "events lost", "CPU, ns a call"]
    return _grid([*head, "bytes a call"], rows)


def _growth(found: Estimate | None) -> str:
    """A share that is added, and the bounds of that: it may be nothing, or less."""
    if found is None:
        return _DASH
    told = f"{100 * found.value:+,.0f} %"
    if found.low is None or found.high is None:
        return told
    return f"{told} ({100 * found.low:+,.0f} to {100 * found.high:+,.0f})"


TABLES: dict[str, Callable[[Results], str]] = {
    "targets": _targets,
    "sync": _sync,
    "distribution": _distribution,
    "batches": _batches,
    "throughput": _throughput,
    "open_loop": _open_loop,
    "dd": lambda found: _programs(found, "dd", thesis.DD_MB, thesis.DD_S),
    "ls": lambda found: _programs(found, "ls", thesis.LS_FILES, thesis.LS_S),
    "programs": _others,
    "calls": _calls,
    "peers": _peers,
    "tracing": _tracing,
    "isolation": _by_case("isolation", ("mean_ns", "p50_ns", "p999_ns")),
    "shared": _by_case("shared", ("mean_ns", "p50_ns", "p999_ns")),
    "limit": _limit,
}
