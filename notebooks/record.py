# SPDX-License-Identifier: MIT
"""Record the small traces that the notebooks read: `make record-notebooks`.

They are made by memsc itself, on whatever machine this runs; the figures in the notebooks follow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memsc.bench.suites.cases import BATCHES, Case
from memsc.bench.suites.run import run
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.format import EVENTS, SESSION, TraceFolder, open_trace
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.arms import ALL, place
from memsc.tracer.session.session import TraceSession
from memsc.tracer.session.work import Work

TRACES = Path(__file__).resolve().parent / "traces"
CALLS, BATCHED, BLOCKS, FILES = 1_000, 1_920, 2_000, 300
DD = ("dd", "if=/dev/zero", "of=/dev/null", "bs=512", "status=none")


def calls() -> None:
    """An unmodified program under three arms, with the kernel's events beside its calls."""
    _trace("calls.memsc", "direct,ipi,memsc", 4, "sched,ipi", 300)


def tail() -> None:
    """The same program, longer, while a known thief takes the CPUs for a millisecond now and then."""
    thief = f"for i in $(seq 600); do taskset -c $((i % 2)) {WORK} spin 1; sleep 0.003; done"
    with beside(thief):
        _trace("tail.memsc", "direct,memsc", 4, "sched,ipi,noise", 10_000)


def counters() -> None:
    """The same program again, its threads counted, with their switches."""
    _trace("counters.memsc", "direct,ipi,memsc", 4, "sched,counters", 220)


def fleet() -> None:
    """Four runs on each of three hosts; one machine at twelve times stands for them here."""
    for number in range(12):
        host, turn = ("alder", "birch", "cedar")[number % 3], number // 3 + 1
        _trace(f"fleet/host={host}/run={turn}.memsc", "direct,memsc", 1, "none", 600)


@contextmanager
def beside(script: str) -> Iterator[None]:
    """Something else that runs meanwhile."""
    with subprocess.Popen(["bash", "-c", script], start_new_session=True) as others:
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(others.pid, signal.SIGTERM)


def _trace(name: str, transports: str, rounds: int, probes: str, count: int) -> None:
    (TRACES / name).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "memsc.commands", "trace", "-f", "-o", str(TRACES / name)]
    command += ["--rounds", str(rounds), "--transport", transports, "--probes", probes]
    subprocess.run([*command, "--", *DD, f"count={count}"], check=True)


def thesis() -> None:
    """What the thesis measured: single calls, batches, dd and ls."""
    arms, _ = place(ALL, Launch())
    names = [arm.arm for arm in arms]
    rounds, recorded = dict.fromkeys(names, 4), dict.fromkeys(names, 2)
    cases = [Case("sync", _work("sync", str(CALLS)), rounds, recorded)]
    cases += [
        Case(f"batch-{size}", _work("batch", str(size), str(BATCHED)), rounds) for size in BATCHES
    ]
    cases += [
        Case("dd", lambda *_: _program("dd", *DD, f"count={BLOCKS}"), rounds),
        Case("ls", lambda *where: _program("ls", "ls", "-l", str(where[1])), rounds),
    ]
    command = ["notebooks/record.py"]
    with (
        TraceWriter(prepare_output(TRACES / "thesis.memsc", force=True), replace=True) as writer,
        TraceSession(writer, command, arms, ()) as session,
    ):
        for number in range(FILES):
            (session.scratch / f"file-{number}").touch()
        run(session, {"thesis": cases}, arms, lambda what: print(what, file=sys.stderr))


def compact(path: Path) -> None:
    """One part for each table, without what the kernel did before and after the calls."""
    folder = open_trace(path)
    stamps = folder.read("calls", ["round", "arm", "called", "completed"]).to_pandas()
    clock, spans = folder.session.clock, stamps.groupby(["arm", "round"], observed=True)
    start = clock.ns(np.sort(spans["called"].min().to_numpy()))
    end = clock.ns(np.sort(spans["completed"].max().to_numpy()))
    for name, parts in folder.parts.items():
        table = folder.read(name)
        if name.startswith(f"{EVENTS}/"):
            time = table["time"].to_numpy()
            window = np.searchsorted(start, time, "right") - 1
            table = table.filter(pa.array((window >= 0) & (time <= end[window])))
        for part in parts:
            part.path.unlink()
        numbers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
        pq.write_table(
            table,
            parts[0].path,
            compression="zstd",
            compression_level=19,
            use_dictionary=[n for n in table.column_names if n not in numbers],
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        )
    count_events(open_trace(path))


def count_events(folder: TraceFolder) -> None:
    """Lets the session say how many events are there now, or its tables would seem damaged."""
    probes = {
        name: msgspec.structs.replace(status, seen=folder.rows(f"{EVENTS}/{name}"))
        for name, status in folder.session.probes.items()
    }
    session = msgspec.structs.replace(folder.session, probes=probes)
    (folder.path / SESSION).write_bytes(session.encode())


def _work(kind: str, *arguments: str) -> Callable[[Launch, Path], Work]:
    size = int(arguments[0]) if kind == "batch" else 1

    def work(_: Launch, folder: Path) -> Work:
        file = folder / "timings"
        return Work(
            f"batch-{size}" if kind == "batch" else kind,
            (str(WORK), kind, *arguments, str(file)),
            layered=False,
            timings=file,
            per_interval=size,
            ring_holds_all=True,
        )

    return work


def _program(case: str, *command: str) -> Work:
    return Work(case, command, timed=True, quiet=True)


if __name__ == "__main__":
    calls()
    tail()
    counters()
    fleet()
    thesis()
    for trace in TRACES.rglob("*.memsc"):
        compact(trace)
