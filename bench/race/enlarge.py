# SPDX-License-Identifier: MIT
"""A long trace made from a short one: to measure analyses by, never machines.

Calls are drawn with replacement from each recorded part, so every distribution, and what belongs
together in a call, is the recorded one. Only the times between the starts of calls are drawn apart
from the calls themselves. Each pass over the source makes rounds of its own, later in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

_BETWEEN_ROUNDS = 1_000_000  # cycles: rounds never overlap
_OF_A_PASS = 1_000_000  # added to a round's number in each further pass


def enlarge(
    source: fmt.TraceFolder,
    calls: int,
    output: str | Path,
    *,
    force: bool = False,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Writes a trace of exactly so many calls, with the distributions of a recorded one.

    Args:
        source: the trace to draw from. Its check rounds, timings and events are left out.
        calls: how many; rounds are made in turn until there are enough.
        output: the new trace's folder.
        force: replace a trace there.
        seed: of the draw; the same gives the same trace.
        progress: told the rows after each part.

    Raises:
        MemscError: the source has no calls outside check rounds, or the output cannot be written.
    """
    checks = {r.key for r in source.session.rounds if r.check}
    if not source.session.rounds or calls < 1:
        why = "it has no rounds" if calls > 0 else f"{calls} is no number of calls"
        raise MemscError(f"cannot enlarge {source.path}", why, "name a whole trace", USAGE)
    folder = prepare_output(output, force)
    generator = np.random.default_rng(seed)
    written: dict[fmt.RoundKey, _Span] = {}
    clock = source.session.clock.anchor_cycles
    left = calls
    with TraceWriter(folder, replace=force) as writer:
        for number in _passes():
            last: fmt.RoundKey | None = None
            before = left
            for key, rows in _rounds(source, checks):
                if not left:
                    break
                now = key._replace(round=key.round + number * _OF_A_PASS)
                if now != last:
                    writer.flush()  # as a session does at each round's end
                    clock, last = clock + _BETWEEN_ROUNDS, now
                part, end = _drawn(rows, min(left, rows.num_rows), now, clock, generator)
                writer.append(fmt.CALLS, part)
                span = written.get(now, _Span(clock, clock, 0))
                written[now] = _Span(span.start, end, span.calls + part.num_rows)
                clock, left = end, left - part.num_rows
                if progress:
                    progress(part.num_rows)
            if left == before:
                why = "it has no calls outside check rounds"
                raise MemscError(f"cannot enlarge {source.path}", why, "name another", USAGE)
            if not left:
                break
        writer.session(_session(source, written))
    return folder


class _Span(msgspec.Struct, frozen=True):
    start: int
    end: int
    calls: int


def _passes() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _rounds(
    source: fmt.TraceFolder, checks: set[fmt.RoundKey]
) -> Iterator[tuple[fmt.RoundKey, pa.Table]]:
    """The calls of each recorded round, a part at a time."""
    for table in source.batches(fmt.CALLS):
        keys = table.select(["arm", "case", "round"]).group_by(["arm", "case", "round"])
        found = keys.aggregate([]).to_pylist()
        for row in found:
            key = fmt.RoundKey(row["arm"], row["case"], row["round"])
            if key not in checks:
                yield key, table if len(found) == 1 else table.filter(_equal(table, key))


def _equal(table: pa.Table, key: fmt.RoundKey) -> pa.Array[Any]:
    same = [
        np.asarray(table[name].cast(pa.string()).to_numpy()) == value
        for name, value in (("arm", key.arm), ("case", key.case))
    ]
    return pa.array(same[0] & same[1] & (table["round"].to_numpy() == key.round))


def _drawn(
    rows: pa.Table, calls: int, key: fmt.RoundKey, start: int, generator: np.random.Generator
) -> tuple[pa.Table, int]:
    """So many calls of a round, one after the other from a start; and where they end."""
    at = generator.integers(0, rows.num_rows, calls)
    called = rows["called"].to_numpy()
    apart = np.diff(called)
    apart = apart[apart > 0] if (apart > 0).any() else np.ones(1, np.int64)
    begins = start + np.cumsum(generator.choice(apart, calls))
    table = rows.take(at)
    shift = begins - called[at]
    columns = {stamp: table[stamp].to_numpy() + shift for stamp in fmt.STAMPS}
    columns["round"] = np.full(calls, key.round, np.int64)
    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), pa.array(values))
    return table, int(columns["completed"].max())


def _session(source: fmt.TraceFolder, written: dict[fmt.RoundKey, _Span]) -> fmt.Session:
    clock = source.session.clock
    known = {r.key: r for r in source.session.rounds}
    rounds: list[fmt.Round] = []
    for key, span in written.items():
        start, end = clock.ns(np.array([span.start, span.end])).tolist()
        rounds.append(
            msgspec.structs.replace(
                known[key._replace(round=key.round % _OF_A_PASS)],
                round=key.round,
                probes=[],
                start_ns=start,
                end_ns=end,
                start_cycles=span.start,
                end_cycles=span.end,
                calls=span.calls,
                lost=0,
                made=span.calls,
                unfinished=0,
            )
        )
    arms: dict[str, fmt.Arm] = {}
    for name in dict.fromkeys(key.arm for key in written):
        calls = sum(span.calls for key, span in written.items() if key.arm == name)
        arm = source.session.arms[name]
        arms[name] = msgspec.structs.replace(arm, calls=calls, lost=0, made=calls)
    return msgspec.structs.replace(
        source.session,
        command=["enlarged", "from", source.path.name],
        complete=True,
        environment=msgspec.structs.replace(
            source.session.environment, enlarged_from=source.path.name
        ),
        arms=arms,
        rounds=rounds,
        probes={},
        perturbation=None,
    )
