# SPDX-License-Identifier: MIT
"""Traces of many hosts as one dataset, partitioned by host and run.

Every trace is summarised for itself, here or on a cluster, by the same function, and the summaries
merge exactly: counts are added, percentiles never averaged. A trace is one run, so intervals draw
traces with replacement, then blocks within them.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property, partial

import pandas as pd

from memsc.analysis.data.order import in_order
from memsc.analysis.data.scan import BlockKey, Cell, Cells
from memsc.analysis.data.selection import Selection, names
from memsc.analysis.data.sketch import Sketch
from memsc.analysis.domains.stages import COLUMNS as STAGE_COLUMNS
from memsc.analysis.domains.stages import Stages
from memsc.analysis.domains.tail import Bands
from memsc.analysis.fleet.cluster import on_cluster
from memsc.analysis.fleet.partition import UNITS, Failure, Partition, Summary, summarise_partition
from memsc.analysis.fleet.places import find_partitions
from memsc.runtime.errors import MemscError

Progress = Callable[[Summary | Failure], None]
PARTITION_COLUMNS = [
    *("host", "run", "path", "created", "memsc", "calls", "lost"),
    *("status", "reason"),
]
"""Columns of `df_partitions`."""


class Fleet:
    """Many traces and a selection of their calls; nothing is read until a figure is asked for.

    Args:
        partitions: the traces.
        cluster: address of a `dask.distributed` scheduler; by default all is done here.
        skip_failed: leave out traces that cannot be read, and say so, instead of refusing.
        selection: which calls.
        progress: told each trace's summary as it comes.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        *,
        cluster: str | None = None,
        skip_failed: bool = False,
        selection: Selection | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.partitions = list(partitions)
        self.selection = selection or Selection()
        self._cluster = cluster
        self._skip_failed = skip_failed
        self._progress = progress

    @cached_property
    def results(self) -> list[Summary | Failure]:
        """Every trace's summary, or why there is none, in the traces' order.

        Raises:
            MemscError: traces cannot be read, and nobody said to skip them; it names them.
        """
        work = partial(summarise_partition, selection=self.selection)
        if self._cluster:
            found = on_cluster(self._cluster, work, self.partitions, _lost, self._progress)
        else:
            found: list[Summary | Failure] = []
            for partition in self.partitions:
                found.append(work(partition))
                if self._progress:
                    self._progress(found[-1])
        failures = [one for one in found if isinstance(one, Failure)]
        if failures and (not self._skip_failed or len(failures) == len(found)):
            raise _refusal(failures, len(found))
        return found

    @property
    def summaries(self) -> list[Summary]:
        """Of the traces that could be read."""
        return [one for one in self.results if isinstance(one, Summary)]

    @property
    def failures(self) -> list[Failure]:
        """The traces that were skipped."""
        return [one for one in self.results if isinstance(one, Failure)]

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts, by name."""
        return sorted({summary.partition.host for summary in self.summaries})

    @property
    def arms(self) -> list[str]:
        """Arms of any trace, in the order they are shown."""
        return in_order({arm for summary in self.summaries for arm in summary.arms})

    @cached_property
    def stages(self) -> Stages:
        """Where the time of a call goes, all hosts together (`df_stages` has the figures)."""
        return self._stages_of(self.summaries)

    @cached_property
    def tail(self) -> Bands:
        """What slow calls are made of; each of them must be looked for in its own trace."""
        return Bands(self.stages)

    def stages_of(self, host: str) -> Stages:
        """Where the time of a call goes on one host, all its runs together.

        Raises:
            MemscError: there is no such host.
        """
        chosen = [one for one in self.summaries if one.partition.host == host]
        if not chosen:
            why = "no trace is of it"
            raise MemscError(f"cannot show host {host}", why, f"it is one of {self._some_hosts()}")
        return self._stages_of(chosen)

    def df_stages(
        self, by: str | None = None, syscalls: bool = True, intervals: bool = True
    ) -> pd.DataFrame:
        """Mean, percentiles, maximum and share of each stage and of the total.

        Args:
            by: "host" for each host by itself; by default all hosts together.
            syscalls: one row per system call too, not only for all of them together.
            intervals: 95 % intervals; without them it is faster.

        Returns:
            The columns of `Stages.df_stages`, after `host` if that was asked for. Here `rounds`
            counts traces, and an `interval` over "rounds" is one over traces; with fewer than four
            it is over "blocks", and says nothing about other runs.

        Raises:
            MemscError: traces cannot be read, or `by` is neither.

        Example:
            >>> frame = ma.open_many("notebooks/traces").df_stages(by="host")
            >>> frame["host"].unique().tolist()
            ['traces']
        """
        if by is None:
            return self.stages.df_stages(syscalls, intervals)
        if by != "host":
            raise MemscError(f"cannot show stages by {by}", "no such partition", "use by='host'")
        frames = [
            self.stages_of(host).df_stages(syscalls, intervals).assign(host=host)
            for host in self.hosts
        ]
        return pd.concat(frames, ignore_index=True)[["host", *STAGE_COLUMNS]]

    def df_partitions(self) -> pd.DataFrame:
        """The traces, and what became of each.

        Returns:
            One row per trace: the columns `PARTITION_COLUMNS`. `status` is "ok", "withheld" (its
            own checks fail, so no verdict is given) or "skipped" (it could not be read), with the
            `reason`; `calls` and `lost` are <NA> where not known.

        Raises:
            MemscError: traces cannot be read, and are not to be skipped.

        Example:
            >>> frame = ma.open_many("notebooks/traces/fleet").df_partitions()
            >>> frame[["host", "run", "status"]].head(2).values.tolist()
            [['alder', '1', 'ok'], ['alder', '2', 'ok']]
        """
        rows = [_row(one) for one in self.results]
        counts = {"calls": "Int64", "lost": "Int64"}
        return pd.DataFrame(rows, columns=PARTITION_COLUMNS).astype(counts)

    def withheld(self) -> list[str]:
        """Why no verdict may be given over all traces; empty if one may."""
        return [
            f"{one.partition.host}/{one.partition.run}: {why}"
            for one in self.summaries
            for why in one.withheld
        ]

    def unrecorded(self) -> list[str]:
        """What ran and was not recorded, trace by trace."""
        return [
            f"{one.partition.host}/{one.partition.run}: {what}"
            for one in self.summaries
            for what in one.unrecorded
        ]

    def uncounted(self) -> dict[str, int]:
        """What nobody counted that may have been called besides, and in how many traces."""
        return dict(Counter(what for one in self.summaries for what in one.uncounted))

    def where(
        self,
        *,
        arm: str | Collection[str] | None = None,
        case: str | Collection[str] | None = None,
        syscall: str | Collection[str] | None = None,
        outcome: str | None = None,
    ) -> Fleet:
        """The same traces with fewer calls.

        Args:
            arm: one name or several, as are the next two (see `Trace.where`).
            case: which cases.
            syscall: which system calls.
            outcome: "ok" or "error".

        Example:
            >>> ma.open_many("notebooks/traces/fleet").where(arm="memsc").stages.cells()[0].arm
            'memsc'
        """
        chosen = replace(
            self.selection,
            arms=names(arm) or self.selection.arms,
            cases=names(case) or self.selection.cases,
            syscalls=names(syscall) or self.selection.syscalls,
            outcome=outcome or self.selection.outcome,
        )
        return Fleet(
            self.partitions,
            cluster=self._cluster,
            skip_failed=self._skip_failed,
            selection=chosen,
            progress=self._progress,
        )

    def _stages_of(self, summaries: Sequence[Summary]) -> Stages:
        cells: dict[Cell, dict[BlockKey, Sketch]] = {}
        for run, summary in enumerate(summaries):
            for cell, blocks in summary.cells.items():
                mine = cells.setdefault(cell, {})
                mine.update({BlockKey(run, i): block for i, block in enumerate(blocks)})
        order = in_order({arm for summary in summaries for arm in summary.arms})
        return Stages(lambda: Cells(cells), 1 / UNITS, order)

    def _some_hosts(self) -> str:
        return ", ".join(self.hosts[:8]) + (", …" if len(self.hosts) > 8 else "")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(one.host or '?')}</td><td>{html.escape(one.run)}</td></tr>"
            for one in self.partitions[:20]
        )
        more = len(self.partitions) - 20
        rest = f"<p>and {more} more</p>" if more > 0 else ""
        head = "<tr><th>host</th><th>run</th></tr>"
        return (
            f"<b>memsc fleet of {len(self.partitions)} traces</b><table>{head}{rows}</table>{rest}"
        )


def open_many(
    places: str | Sequence[str],
    *,
    cluster: str | None = None,
    skip_failed: bool = False,
    progress: Progress | None = None,
) -> Fleet:
    """Opens the traces of many hosts as one dataset.

    Args:
        places: traces, folders that hold traces (themselves or one level down), or patterns of
            such; local, or of any file system that fsspec knows, as in `s3://bucket/*/`.
        cluster: address of a `dask.distributed` scheduler whose workers do the reading; they
            must see the same paths. By default everything is read here.
        skip_failed: leave out traces that cannot be read, counted and named in
            `df_partitions`, instead of refusing.
        progress: told each trace's summary as it comes.

    Raises:
        MemscError: a place holds no trace.

    Example:
        >>> fleet = ma.open_many("traces/*/", cluster="tcp://10.0.0.1:8786")  # doctest: +SKIP
        >>> fleet.df_stages(by="host")  # doctest: +SKIP
    """
    wanted = [places] if isinstance(places, str) else [str(place) for place in places]
    return Fleet(
        find_partitions(wanted), cluster=cluster, skip_failed=skip_failed, progress=progress
    )


def _lost(partition: Partition, why: str) -> Summary | Failure:
    return Failure(partition, f"cannot read {partition.path}", why, "read it alone to see why")


def _row(one: Summary | Failure) -> dict[str, object]:
    row: dict[str, object] = {"host": one.partition.host, "run": one.partition.run}
    row["path"] = one.partition.path
    if isinstance(one, Failure):
        return row | {"status": "skipped", "reason": f"{one.why}; {one.remedy}"}
    calls = [arm.calls for arm in one.arms.values()]
    lost = [arm.lost for arm in one.arms.values()]
    return row | {
        "created": one.created,
        "memsc": one.memsc,
        "calls": None if None in calls else sum(c for c in calls if c is not None),
        "lost": None if None in lost else sum(c for c in lost if c is not None),
        "status": "withheld" if one.withheld else "ok",
        "reason": "; ".join(one.withheld) or None,
    }


def _refusal(failures: Sequence[Failure], traces: int) -> MemscError:
    first = failures[0]
    if traces == 1:
        return MemscError(first.what, first.why, first.remedy)
    others = ", ".join(one.partition.path for one in failures[1:4])
    more = len(failures) - 4
    others = f"; also {others}" + (f" and {more} more" if more > 0 else "") if others else ""
    return MemscError(
        f"{len(failures)} of {traces} traces cannot be read",
        f"{first.what}: {first.why}{others}",
        f"{first.remedy}, or leave them out with --skip-failed (skip_failed=True)",
    )
