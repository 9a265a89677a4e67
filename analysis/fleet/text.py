# SPDX-License-Identifier: MIT
"""A fleet for a terminal and as JSON: each trace's standing first, then all calls together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET
from rich.console import Group, RenderableType
from rich.text import Text

from memsc.analysis.data.numbers import number
from memsc.analysis.data.order import natural
from memsc.analysis.data.sketch import TOTAL
from memsc.analysis.data.statistics import FEWEST_ROUNDS
from memsc.analysis.fleet.fleet import Fleet
from memsc.analysis.fleet.model import FleetArm, FleetCase, FleetReport, PartitionRow, StageRow
from memsc.analysis.report.model import SCHEMA, Verdict
from memsc.analysis.report.rows import Reason
from memsc.analysis.report.summary import rows as rows_of
from memsc.analysis.report.summary import stages_of
from memsc.analysis.report.text import heading, mark, stage_cells, table
from memsc.tracer.format import STAGES

_SHOWN_PARTITIONS = 20


def fleet_report(fleet: Fleet) -> FleetReport:
    """What `report --json` prints of a fleet."""
    reasons = fleet.withheld()
    return FleetReport(
        schema=SCHEMA,
        traces=len(fleet.summaries),
        skipped=len(fleet.failures),
        verdict=Verdict(bool(reasons), reasons),
        unrecorded=fleet.unrecorded(),
        uncounted=fleet.uncounted(),
        partitions=_partition_rows(fleet),
        arms=_arms(fleet),
        hosts={host: _totals(fleet, host) for host in fleet.hosts},
        environment=_environment(fleet),
    )


def _partition_rows(fleet: Fleet) -> list[PartitionRow]:
    return rows_of(fleet.df_partitions(), PartitionRow)


def _arms(fleet: Fleet) -> dict[str, FleetArm]:
    frame = fleet.df_stages(syscalls=False)
    arms: dict[str, FleetArm] = {}
    for arm in fleet.arms:
        sides = [one.arms[arm] for one in fleet.summaries if arm in one.arms]
        mine = frame[frame["arm"] == arm]
        cases: dict[str, FleetCase] = {}
        for (case, mode), rows in mine.groupby(["case", "mode"], sort=False):
            name = str(case) if case not in cases else f"{case} ({mode})"
            calls, traces = int(rows["n"].iloc[0]), int(rows["rounds"].iloc[0])
            cases[name] = FleetCase(str(mode), calls, traces, stages_of(rows))
        first = min(cases, key=natural, default=None)
        calls, calls_reason = _sum([side.calls for side in sides])
        lost, lost_reason = _sum([side.lost for side in sides])
        made, made_reason = _sum([side.made for side in sides])
        arms[arm] = FleetArm(
            calls=calls,
            calls_reason=calls_reason,
            lost=lost,
            lost_reason=lost_reason,
            made=made,
            made_reason=made_reason,
            case=first,
            stages=cases[first].stages if first else None,
            stages_reason=UNSET if first else "no calls recorded",
            cases=cases,
        )
    return arms


def _sum(counts: list[int | None]) -> tuple[int | None, Reason]:
    known = [count for count in counts if count is not None]
    if len(known) == len(counts):
        return sum(known), UNSET
    return None, "a session did not end in order"


def _totals(fleet: Fleet, host: str) -> list[StageRow]:
    frame = fleet.stages_of(host).df_stages(syscalls=False)
    return rows_of(frame[frame["stage"] == TOTAL], StageRow)


def _environment(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = {}
    machines = [msgspec.to_builtins(one.environment, str_keys=True) for one in fleet.summaries]
    for name in dict.fromkeys(name for machine in machines for name in machine):
        values = [machine.get(name) for machine in machines]
        if all(value == values[0] for value in values):
            found[name] = values[0]
        elif name.endswith("_reason"):
            found.setdefault(name, "the reasons differ between traces")
        else:
            found[name], found[f"{name}_reason"] = None, "it differs between traces"
    return found


def render_fleet(fleet: Fleet) -> RenderableType:
    """The fleet as a rich renderable, 80 columns."""
    return Group(*_parts(fleet))


def _parts(fleet: Fleet) -> Iterator[RenderableType]:
    summaries, hosts = fleet.summaries, fleet.hosts
    title = f"{_count(len(summaries), 'trace')} of {_count(len(hosts), 'host')}"
    yield Text.assemble((title, "bold"), "  merged call by call: no percentile is averaged")
    yield heading("Can it be believed?")
    withheld = fleet.withheld()
    for reason in withheld:
        yield mark("✗", f"verdict withheld: {reason}", "red")
    if not withheld:
        for what in fleet.unrecorded():
            yield mark("!", what, "yellow")
    for failure in fleet.failures:
        yield mark("!", f"skipped {failure.partition.path}: {failure.why}", "yellow")
    if fleet.failures:
        yield mark(
            "!", f"{_count(len(fleet.failures), 'trace')} left out of every figure", "yellow"
        )
    if not withheld:
        yield mark(
            "✓", f"{_count(len(summaries), 'trace')}: no calls lost, stamps in order", "green"
        )
    for what, times in fleet.uncounted().items():
        yield mark("?", f"{times} of {_count(len(summaries), 'trace')}: {what}", "yellow")
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
    rows = _partition_rows(fleet)
    for row in rows[:_SHOWN_PARTITIONS]:
        shown = f"{row.calls:,}" if row.calls is not None else "–"
        grid.add_row(row.host or "?", row.run, shown, number(row.lost), row.status)
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
            name = str(arm) if mode == "sync" else f"{arm} {mode}"
            grid.add_row(name, *stage_cells(stages_of(rows)))
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
            cells = stage_cells(stages_of(rows))[len(STAGES) :]
            counts = str(int(rows["rounds"].iloc[0])), number(int(rows["n"].iloc[0]))
            grid.add_row(first, str(arm), *counts, *cells)
            first = ""
    yield grid
    if len(fleet.hosts) > _SHOWN_PARTITIONS:
        yield Text(f"  and {len(fleet.hosts) - _SHOWN_PARTITIONS} more hosts: see --json", "dim")
