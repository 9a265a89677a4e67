# SPDX-License-Identifier: MIT
"""The table of stages as somebody would write it with another library, to be held against ours.

Each peer reads the same files and answers the same question: number, mean, maximum and four
quantiles of every stage, per arm, case, system call and mode, and for all system calls together,
check rounds left out. Ours adds intervals on every figure. Run as a program, one contestant does
its work once and prints what it took.
"""

# The peers are loosely typed, and not installed everywhere.

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from memsc.analysis.data.modes import ASYNC, SYNC, WAIT, WAITS
from memsc.analysis.data.scan import ALL
from memsc.analysis.data.sketch import QUANTITIES, TOTAL
from memsc.analysis.data.statistics import PERCENTILES
from memsc.analysis.trace import open_one
from memsc.tracer.format import CALLS, FLAGS, STAGES, STAMPS, TraceFolder, open_trace

READ = [*("arm", "case", "round", "syscall", "flags"), *STAMPS]
KEY = ["arm", "case", "syscall", "mode"]
FIGURES = ["n", "mean", "max", *PERCENTILES]
COLUMNS = [*KEY, "stage", *FIGURES]
"""What every contestant but pyarrow returns, in cycles."""

_QS = list(PERCENTILES.values())


def _pyarrow(trace: TraceFolder) -> None:
    """Reads the columns and does nothing with them: nobody can be faster."""
    for part in trace.parts[CALLS]:
        pq.ParquetFile(part.path).read(columns=READ)


def _memsc(trace: TraceFolder) -> pd.DataFrame:
    frame = open_one(trace.path).stages.df_stages()
    ns = trace.session.clock.ns_per_cycle
    figures = {f"{name}_ns": name for name in FIGURES if name != "n"}
    frame[list(figures)] = frame[list(figures)] / ns
    return frame.rename(columns=figures)[COLUMNS]


def _pandas(trace: TraceFolder) -> pd.DataFrame:
    calls = pd.read_parquet(trace.path / CALLS, columns=READ)
    checks = pd.MultiIndex.from_tuples(_checks(trace), names=["arm", "case", "round"])
    if len(checks):
        calls = calls[~pd.MultiIndex.from_frame(calls[["arm", "case", "round"]]).isin(checks)]
    calls["mode"] = np.where(calls["flags"] & FLAGS["async"], ASYNC, SYNC)
    calls.loc[calls["syscall"].isin(list(WAITS)), "mode"] = WAIT
    for stage, start, end in zip(STAGES, STAMPS[:-1], STAMPS[1:], strict=True):
        calls[stage] = calls[end] - calls[start]
    calls[TOTAL] = calls[STAMPS[-1]] - calls[STAMPS[0]]
    return pd.concat([_by(calls, KEY), _by(calls, [key for key in KEY if key != "syscall"])])


def _by(calls: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    groups = calls.groupby(key, observed=True)
    found: list[pd.DataFrame] = []
    for stage in QUANTITIES:
        rows = groups[stage].agg(["size", "mean", "max"])
        quantiles = groups[stage].quantile(np.array(_QS), interpolation="higher").unstack()
        quantiles.columns = list(PERCENTILES)
        rows = rows.rename(columns={"size": "n"}).join(quantiles).reset_index()
        found.append(rows.assign(stage=stage, syscall=rows.get("syscall", ALL)))
    return pd.concat(found)[COLUMNS]


def _duckdb(trace: TraceFolder) -> pd.DataFrame:
    import duckdb  # noqa: PLC0415

    spent = [
        f"{end} - {start} as {stage}"
        for stage, start, end in zip(STAGES, STAMPS[:-1], STAMPS[1:], strict=True)
    ]
    spent.append(f"{STAMPS[-1]} - {STAMPS[0]} as {TOTAL}")
    figures = [
        f"avg({q}) as {q}_mean, max({q}) as {q}_max, quantile_disc({q}, {_QS}) as {q}_q"
        for q in QUANTITIES
    ]
    checks = _checks(trace) or [("", "", -1)]
    waits = ", ".join(f"'{name}'" for name in WAITS)
    query = f"""
        with calls as (
            select arm::varchar as arm, "case"::varchar as "case", syscall::varchar as syscall,
                case when syscall in ({waits}) then '{WAIT}'
                    when flags & {FLAGS["async"]} > 0 then '{ASYNC}' else '{SYNC}' end as mode,
                {", ".join(spent)}
            from read_parquet('{trace.path / CALLS}/*.parquet')
            where (arm, "case", round) not in ({", ".join(map(str, checks))})
        )
        select arm, "case", coalesce(syscall, '{ALL}') as syscall, mode, count(*) as n,
            {", ".join(figures)}
        from calls
        group by grouping sets ((arm, "case", syscall, mode), (arm, "case", mode))
    """
    wide: pd.DataFrame = duckdb.execute(query).df()
    return _long(wide, quantiles=lambda wide, q: np.vstack(wide[f"{q}_q"].to_list()))


def _polars(trace: TraceFolder) -> pd.DataFrame:
    import polars as pl  # noqa: PLC0415

    names = ("arm", "case", "syscall")
    calls = pl.scan_parquet(trace.path / CALLS / "*.parquet").select(READ)
    if checks := _checks(trace):
        known = pl.LazyFrame(checks, schema=["arm", "case", "round"], orient="row")
        known = known.with_columns(pl.col("arm", "case").cast(pl.Categorical))
        calls = calls.join(known, on=["arm", "case", "round"], how="anti")
    asynchronous = (pl.col("flags") & FLAGS["async"]) > 0
    calls = calls.with_columns(
        *(
            (pl.col(end) - pl.col(start)).alias(stage)
            for stage, start, end in zip(STAGES, STAMPS[:-1], STAMPS[1:], strict=True)
        ),
        (pl.col(STAMPS[-1]) - pl.col(STAMPS[0])).alias(TOTAL),
        pl.when(pl.col("syscall").cast(pl.String).is_in(list(WAITS)))
        .then(pl.lit(WAIT))
        .when(asynchronous)
        .then(pl.lit(ASYNC))
        .otherwise(pl.lit(SYNC))
        .alias("mode"),
    )
    figures = [pl.len().alias("n")]
    for stage in QUANTITIES:
        column = pl.col(stage)
        figures += [column.mean().alias(f"{stage}_mean"), column.max().alias(f"{stage}_max")]
        figures += [
            column.quantile(q, "equiprobable").alias(f"{stage}_{p}") for p, q in PERCENTILES.items()
        ]
    keys = [KEY, [key for key in KEY if key != "syscall"]]
    found = pl.collect_all([calls.group_by(key).agg(figures) for key in keys])
    wide = pd.concat([pd.DataFrame(frame.to_dict(as_series=False)) for frame in found])
    wide["syscall"] = wide["syscall"].fillna(ALL)
    wide[list(names)] = wide[list(names)].astype(str)
    ps = list(PERCENTILES)
    return _long(wide, quantiles=lambda wide, q: wide[[f"{q}_{p}" for p in ps]].to_numpy())


def _long(wide: pd.DataFrame, quantiles: Callable[[pd.DataFrame, str], Any]) -> pd.DataFrame:
    found: list[pd.DataFrame] = []
    for stage in QUANTITIES:
        rows = wide[[*KEY, "n"]].assign(
            stage=stage, mean=wide[f"{stage}_mean"], max=wide[f"{stage}_max"]
        )
        rows[list(PERCENTILES)] = quantiles(wide, stage)
        found.append(rows)
    return pd.concat(found)[COLUMNS]


def _checks(trace: TraceFolder) -> list[tuple[str, str, int]]:
    return [(r.arm, r.case, r.round) for r in trace.session.rounds if r.check]


CONTESTANTS: dict[str, Callable[[TraceFolder], pd.DataFrame | None]] = {
    "pyarrow": _pyarrow,
    "memsc": _memsc,
    "pandas": _pandas,
    "duckdb": _duckdb,
    "polars": _polars,
}
"""By name; `pyarrow` only reads."""


def main(name: str, path: str, output: str | None = None) -> None:
    """Runs one contestant once and prints seconds and MB as JSON.

    Args:
        name: one of `CONTESTANTS`.
        path: the trace.
        output: where its table goes, as Parquet.
    """
    trace = open_trace(path)
    for module in ("duckdb", "polars"):
        if name == module:
            __import__(module)  # importing is not what is measured
    pa.set_io_thread_count(pa.cpu_count())
    start = time.perf_counter()
    frame = CONTESTANTS[name](trace)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if frame is not None and output:
        frame.astype(dict.fromkeys([*KEY, "stage"], "string")).to_parquet(Path(output))
    print(json.dumps({"seconds": seconds, "mb": peak}))  # noqa: T201 (its caller reads it)


if __name__ == "__main__":
    main(*sys.argv[1:])
