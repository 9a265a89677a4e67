# SPDX-License-Identifier: MIT
"""A trace with a table of every kind, what spoils it, and everything that looks at one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.helpers import traces

from memsc import analysis as ma
from memsc.analysis.export.formats import FORMATS, Options, export
from memsc.analysis.export.tables import DERIVED
from memsc.analysis.report.page import to_html
from memsc.analysis.report.text import to_string
from memsc.bench.verdict.report import SECTIONS, summarise
from memsc.probes.declaration import find
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.tables import STACKS, STACKS_SCHEMA
from memsc.tracer.format.writer import TraceWriter

PROBES = ("sched", "ipi", "noise", "profile", "offcpu", "syscalls")
_STACKS = [(0, 0, "read", "[kernel]"), (1, 0, "main", "/bin/some"), (1, 1, "", "[unknown]")]

NAMES = (
    *("", "=1+1", "<script>alert(1)</script>", "\x1b[2J\x1b]0;gone\x07", "a\nb\r\tc", "../../etc"),
    *(
        "$x_$",
        "[bold]no[/]",
        "\u202egnp",
        "\x00",
        "é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "{{ 7*7 }}",
        ";",
        "x" * 5000,
        "]]>",
        "--",
        "%s%n",
    ),
)
NUMBERS = (0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 10**30)
VALUES: tuple[Any, ...] = (
    *NAMES,
    *NUMBERS,
    *(None, True, False, 1e308, -1e308, 1e-308, 0.5, [], {}, [[]], [{}], {"a": {"b": []}}),
    *([-1], [10**12], list(range(2000)), ["memsc"], {"memsc": None}),
)


def base(folder: Path) -> Path:
    """Three arms in two rounds, and events of every probe in them."""
    traces.fabricate(folder, rounds=2, calls=150)
    session = fmt.open_trace(folder).session
    generator = np.random.default_rng(7)
    parts = folder.with_name("parts.memsc")
    (parts / "events").mkdir(parents=True)
    starts = [(r.start_ns or 0, r.end_ns or 1) for r in session.rounds]
    with TraceWriter(parts) as writer:
        for name in PROBES:
            probe = find(name)
            rows = np.zeros(240, probe.layout())
            for i, (start, end) in enumerate(starts):
                mine = slice(i * 40, i * 40 + 40)
                rows["time"][mine] = np.sort(generator.integers(start, max(end, start + 1), 40))
                rows["pid"][mine] = session.rounds[i].pids[0]
                rows["tid"][mine] = session.rounds[i].pids[0]
            rows["cpu"] = generator.integers(0, 2, 240)
            rows["kind"] = generator.integers(0, len(probe.kind_names), 240)
            for column in set(rows.dtype.names or ()) - {"time", "pid", "tid", "cpu", "kind"}:
                if rows.dtype[column].kind in "iu":
                    rows[column] = generator.integers(0, 2, 240)
            writer.events(name, rows, {"kind": probe.kind_names})
        stack, depth, function, module = zip(*_STACKS, strict=True)
        columns = {"stack": stack, "depth": depth, "function": function, "module": module}
        writer.append(
            STACKS,
            pa.table(
                {**columns, "offset": [0] * len(stack), "start": [-1] * len(stack)}, STACKS_SCHEMA
            ),
        )
    for made in (parts / "events", parts / "stacks"):
        made.rename(folder / made.name)
    rounds = [msgspec.structs.replace(r, probes=list(PROBES)) for r in session.rounds]
    probes = {name: fmt.ProbeStatus(True, seen=240, lost=0) for name in PROBES}
    changed = msgspec.structs.replace(session, rounds=rounds, probes=probes)
    (folder / fmt.SESSION).write_bytes(changed.encode())
    return folder


# ---- looking ----


def look(folder: Path, scratch: Path) -> tuple[str, str]:
    """Everything that reads a trace; what is refused must be refused by a MemscError.

    Returns:
        The report and the page, "" where they were refused.
    """
    try:
        trace = ma.open(folder)
    except MemscError as error:
        return _shown(error), ""
    said: dict[str, str] = {"text": "", "page": ""}

    def report() -> None:
        summary = summarise(trace)
        json.dumps(msgspec.to_builtins(summary), allow_nan=False)
        said["text"] = to_string(summary, SECTIONS)
        said["page"] = to_html(trace, summary)

    for act in (report, *_frames(trace), *_exports(trace, scratch)):
        try:
            act()
        except MemscError as error:
            said["text"] += _shown(error)
    return said["text"], said["page"]


def _frames(trace: ma.Trace) -> Iterator[Callable[[], object]]:
    yield trace.tail.df_worst
    yield trace.noise.df_noise
    yield trace.wakeup.df_paths
    yield lambda: trace.stacks.df_folded("offcpu")
    yield trace.stacks.df_coverage
    yield trace.checks.df_events_per_round
    yield trace.agreement.df_agreement


def _exports(trace: ma.Trace, scratch: Path) -> Iterator[Callable[[], object]]:
    for name in FORMATS:
        for table in [*DERIVED, "calls", "events/sched"] if name == "csv" else [None]:
            options = Options(table=table)
            yield lambda n=name, o=options: export(trace, n, scratch / "out", o)


def _shown(error: MemscError) -> str:
    return str(error) + "\n"


# ---- spoiling ----

Spoil = Callable[[Path], None]


def _places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content[:3])
    for key, inner in items:
        yield from _places(inner, (*path, key))


def spoil_session(seed: int, value: Any, *, as_key: bool) -> Spoil:
    """Another value somewhere in the session, or another name of a value."""

    def change(folder: Path) -> None:
        file = _regular([folder / fmt.SESSION])[0]
        content = json.loads(file.read_bytes())
        places = list(_places(content))
        *outer, last = places[seed % len(places)]
        inner = content
        for key in outer:
            inner = inner[key]
        if as_key and isinstance(inner, dict):
            inner[str(value)] = inner.pop(last)
        else:
            inner[last] = value
        file.write_text(json.dumps(content))

    return change


def _parts(folder: Path) -> list[Path]:
    return _regular(sorted(folder.rglob("part-*.parquet")))


def _regular(files: list[Path]) -> list[Path]:
    return [file for file in files if file.is_file() and not file.is_symlink()]


def spoil_column(part: int, column: int, row: int, value: Any) -> Spoil:
    """Other values in a column, as far as its type can hold them, or a column of that type."""

    def change(folder: Path) -> None:
        files = _parts(folder)
        file = files[part % len(files)]
        table = pq.ParquetFile(file).read()
        index = column % table.num_columns
        field = table.schema.field(index)
        values = table.column(index).to_pylist()
        if values:
            for at in range(row % len(values), len(values), 1 + row % 7):
                values[at] = value
        try:
            made = pa.array(values, field.type)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            made = pa.array([str(value)] * len(values))
        field = pa.field(field.name, made.type, metadata=field.metadata)
        pq.write_table(table.set_column(index, field, made), file)

    return change


def spoil_rows(part: int, how: int) -> Spoil:
    """Rows that are gone, double, in another order, or of another table."""

    def change(folder: Path) -> None:
        files = _parts(folder)
        file = files[part % len(files)]
        table = pq.ParquetFile(file).read()
        changes: list[Callable[[], pa.Table]] = [
            lambda: table.slice(0, 0),
            lambda: table.take(list(range(table.num_rows))[::-1]),
            lambda: pa.concat_tables([table] * 3),
            lambda: table.drop_columns([table.column_names[how % table.num_columns]]),
            lambda: pq.ParquetFile(files[how % len(files)]).read(),
        ]
        pq.write_table(changes[how % len(changes)](), file)

    return change


def spoil_bytes(part: int, at: int, length: int, byte: int) -> Spoil:
    """Other bytes in a file, or fewer."""

    def change(folder: Path) -> None:
        files = [*_parts(folder), *_regular([folder / fmt.SESSION])]
        file = files[part % len(files)]
        content = bytearray(file.read_bytes())
        start = at % len(content)
        if byte > 255:
            del content[start:]
        else:
            content[start : start + length] = bytes([byte]) * length
        file.write_bytes(content)

    return change


def spoil_files(how: int) -> Spoil:
    """Something else where a file of the trace should be."""

    def change(folder: Path) -> None:
        file = folder / fmt.SESSION if how % 2 else _parts(folder)[0]
        file.unlink()
        (
            lambda: os.mkfifo(file),
            lambda: file.symlink_to("/dev/zero"),
            lambda: file.symlink_to(file.name),
            file.mkdir,
        )[how // 2 % 4]()

    return change


def spoils(random: Random) -> list[Spoil]:
    """One to three of them."""

    def some() -> int:
        return random.randrange(1 << 16)

    def one() -> Spoil:
        return random.choice(
            [
                lambda: spoil_session(some(), random.choice(VALUES), as_key=random.random() < 0.3),
                lambda: spoil_session(some(), random.choice(VALUES), as_key=False),
                lambda: spoil_column(
                    some(), some(), some(), random.choice([*NAMES, *NUMBERS, None])
                ),
                lambda: spoil_column(some(), some(), some(), random.choice(NUMBERS)),
                lambda: spoil_rows(some(), some()),
                lambda: spoil_bytes(some(), some(), random.randint(1, 40), random.randint(0, 300)),
                lambda: spoil_files(some()),
            ]
        )()

    return [one() for _ in range(random.choice([1, 1, 2, 3]))]
