# SPDX-License-Identifier: MIT
"""A fleet for a terminal and as JSON: each trace's standing first, then all calls together."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET
from rich.console import Group, RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.data.order import natural
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.data.statistics import FEWEST_ROUNDS
from memsc.analysis.fleet.fleet import Fleet
from memsc.analysis.report.summary import SCHEMA, Json, records, stages_json
from memsc.analysis.report.text import heading, mark, stage_cells, table
from memsc.tracer.format import STAGES, Environment

_SHOWN_PARTITIONS = 20


def fleet_json(fleet: Fleet) -> Json:
    """A fleet as plain data: what `report --json` prints of several traces.

    Returns:
        `schema`, `traces`, `skipped`, `verdict`, `partitions` (see `Fleet.df_partitions`), `arms`,
        `hosts`, `environment`. `arms` is as in the report of one trace, of all calls together;
        `hosts` has the total of each host's arms and cases; `environment` what all have in
        common, and null with a reason where they differ.
    """
    reasons = fleet.withheld()
    partitions = records(fleet.df_partitions().astype(object))
    return {
        "schema": SCHEMA,
        "traces": len(fleet.summaries),
        "skipped": len(fleet.failures),
        "verdict": {"withheld": bool(reasons), "reasons": reasons},
        "partitions": [{key: _known(value) for key, value in row.items()} for row in partitions],
        "arms": _arms(fleet),
        "hosts": {host: _totals(fleet, host) for host in fleet.hosts},
        "environment": _environment(fleet),
    }


def _known(value: object) -> object:
    return value if isinstance(value, str | int | float) else None


def _arms(fleet: Fleet) -> Json:
    frame = fleet.df_stages(syscalls=False)
    arms: Json = {}
    for arm in fleet.arms:
        sides = [one.arms[arm] for one in fleet.summaries if arm in one.arms]
        mine = frame[frame["arm"] == arm]
        cases: Json = {}
        for (case, mode), rows in mine.groupby(["case", "mode"], sort=False):
            name = str(case) if case not in cases else f"{case} ({mode})"
            whole = {"calls": int(rows["n"].iloc[0]), "traces": int(rows["rounds"].iloc[0])}
            cases[name] = {"mode": str(mode), **whole, "stages": stages_json(rows)}
        first = min(cases, key=natural, default=None)
        arms[arm] = {
            **_sum("calls", [side.calls for side in sides]),
            **_sum("lost", [side.lost for side in sides]),
            **_sum("made", [side.made for side in sides]),
            "case": first,
            "stages": cases[first]["stages"] if first else None,
            **({} if first else {"stages_reason": "no calls recorded"}),
            "cases": cases,
        }
    return arms


def _sum(name: str, counts: list[int | None]) -> Json:
    known = [count for count in counts if count is not None]
    if len(known) == len(counts):
        return {name: sum(known)}
    return {name: None, f"{name}_reason": "a session did not end in order"}


def _totals(fleet: Fleet, host: str) -> list[Json]:
    frame = fleet.stages_of(host).df_stages(syscalls=False)
    return records(frame[frame["stage"] == TOTAL])


def _environment(fleet: Fleet) -> Json:
    found: Json = {}
    for name in Environment.__struct_fields__ if fleet.summaries else ():
        values = [getattr(one.environment, name) for one in fleet.summaries]
        same = all(value == values[0] for value in values)
        if name.endswith("_reason"):
            if same and values[0] is not UNSET:
                found[name] = values[0]
            continue
        found[name] = msgspec.to_builtins(values[0], str_keys=True) if same else None
        if not same:
            found[f"{name}_reason"] = "it differs between traces"
    return found


def render_fleet(fleet: Fleet) -> RenderableType:
    """The fleet as a rich renderable, 80 columns."""
    return Group(*_parts(fleet))


def _parts(fleet: Fleet) -> Iterator[RenderableType]:
    summaries, hosts = fleet.summaries, fleet.hosts
    title = f"{_count(len(summaries), 'trace')} of {_count(len(hosts), 'host')}"
    yield Text.assemble((title, "bold"), "  merged call by call: no percentile is averaged")
    yield heading("Can it be believed?")
    for reason in fleet.withheld():
        yield mark("✗", f"verdict withheld: {reason}", "red")
    for failure in fleet.failures:
        yield mark("!", f"skipped {failure.partition.path}: {failure.why}", "yellow")
    if fleet.failures:
        yield mark(
            "!", f"{_count(len(fleet.failures), 'trace')} left out of every figure", "yellow"
        )
    if not fleet.withheld():
        yield mark(
            "✓", f"{_count(len(summaries), 'trace')}: no calls lost, stamps in order", "green"
        )
    for name in ("cpu_model", "kernel", "virtual"):
        values = {str(getattr(one.environment, name)) for one in summaries}
        if len(values) > 1:
            yield mark("!", f"the hosts differ in {name}: {_some(sorted(values))}", "yellow")
    yield from _partitions(fleet)
    yield from _stages(fleet)


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}" + ("" if number_of == 1 else "s")


def _some(values: list[str]) -> str:
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _partitions(fleet: Fleet) -> Iterator[RenderableType]:
    yield heading("Traces")
    grid = table("host", "run", "calls", "lost", "status")
    rows = records(fleet.df_partitions().astype(object))
    for row in rows[:_SHOWN_PARTITIONS]:
        calls, lost = (_known(row[name]) for name in ("calls", "lost"))
        shown = f"{calls:,}" if isinstance(calls, int) else "–"
        grid.add_row(row["host"] or "?", row["run"], shown, number(lost), row["status"])
    yield grid
    if len(rows) > _SHOWN_PARTITIONS:
        yield Text(f"  and {len(rows) - _SHOWN_PARTITIONS} more: see --json", "dim")


def _stages(fleet: Fleet) -> Iterator[RenderableType]:
    frame = fleet.df_stages(syscalls=False)
    for case in sorted(set(frame["case"]), key=natural):
        mine = frame[frame["case"] == case]
        runs = int(mine["rounds"].max())
        yield heading(f"Where the time goes: {case}", f"ns, {_count(runs, 'trace')} together")
        grid = table("", *STAGES, "total", "±95 %", "p50", "p99", "p99.9")
        for (arm, mode), rows in mine.groupby(["arm", "mode"], sort=False):
            name = str(arm) if mode == "sync" else f"{arm} async"
            grid.add_row(name, *stage_cells(stages_json(rows)))
        yield grid
        if runs < FEWEST_ROUNDS:
            yield Text("  * within these traces: says nothing about other runs", "dim")
        if len(fleet.hosts) > 1:
            yield from _by_host(fleet, case)


def _by_host(fleet: Fleet, case: str) -> Iterator[RenderableType]:
    yield heading(f"By host: {case}", "ns, total of a call")
    grid = table("", "arm", "traces", "calls", "mean", "±95 %", "p50", "p99", "p99.9")
    for host in fleet.hosts[:_SHOWN_PARTITIONS]:
        frame = fleet.stages_of(host).df_stages(syscalls=False)
        first = host
        for (arm, _), rows in frame[frame["case"] == case].groupby(["arm", "mode"], sort=False):
            cells = stage_cells(stages_json(rows))[len(STAGES) :]
            counts = str(int(rows["rounds"].iloc[0])), number(int(rows["n"].iloc[0]))
            grid.add_row(first, str(arm), *counts, *cells)
            first = ""
    yield grid
    if len(fleet.hosts) > _SHOWN_PARTITIONS:
        yield Text(f"  and {len(fleet.hosts) - _SHOWN_PARTITIONS} more hosts: see --json", "dim")
