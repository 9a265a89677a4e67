# SPDX-License-Identifier: MIT
"""Makes the table anew:

    python -m tests.helpers.readers docs/readers.md        (make readers)

records a program, exports it in every format, opens each file with each reader that is here, and
looks for what the file has. What stands above the table stays.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.readers import numbers, stacks, tables, timelines
from tests.helpers.readers.seen import Trial, of, of_npm, tried

from memsc.analysis.export.formats import FORMATS

MEMSC = Path(sys.executable).with_name("memsc")
PROGRAM = "for (1..20000) { $s += -s '/etc/passwd'; $s += getppid }"


def main(page: Path) -> None:
    """Try all, and write the page's table anew."""
    with tempfile.TemporaryDirectory() as folder:
        lines = ["| format | reader | shows | drops |", "|---|---|---|---|"]
        missing = set(FORMATS)
        for trial in trials(Path(folder)):
            missing.discard(trial.formats)
            lines.append(row(trial))
            sys.stderr.write(f"{lines[-1]}\n")
    if missing:
        raise SystemExit(f"no reader of {', '.join(sorted(missing))}: add one")
    head = page.read_text().partition("\n| format | reader |")[0]
    page.write_text(head.rstrip() + "\n\n" + "\n".join(lines) + "\n")


def row(trial: Trial) -> str:
    """A line of the table."""
    if isinstance(trial.seen, str):
        return f"| {trial.formats} | {trial.reader} | not tried: {trial.seen} | |"
    shown = ", ".join(what for what, is_there in trial.seen.items() if is_there) or "nothing"
    dropped = ", ".join(what for what, is_there in trial.seen.items() if not is_there) or "–"
    return f"| {trial.formats} | {trial.reader} | {shown} | {dropped} |"


def trials(folder: Path) -> Iterator[Trial]:
    """Every reader on every format that it may read."""
    trace = folder / "t.memsc"
    recorded = ("trace", "-o", str(trace), "--transport", "direct,memsc", "--rounds", "2")
    probes = ("--probes", "paths,profile,offcpu,sched", "--paths-every", "101", "--no-calibrate")
    memsc(*recorded, *probes, "--", "perl", "-e", PROGRAM)

    def export(name: str, *options: str) -> Path:
        form = "".join(option for option in options if option.isalpha())
        made = folder / f"{name}{form}.{_SUFFIXES.get(name.rpartition('-')[2], 'txt')}"
        if not made.exists():
            memsc("export", str(trace), "--format", name, "-o", str(made), *options)
        return made

    session = json.loads((trace / "session.json").read_text())
    yield tried("hgrm", of("pandas"), lambda: numbers.hgrm(export("hgrm")))
    yield tried("hlog", of("hdrhistogram"), lambda: numbers.hlog(export("hlog"), session))
    js = of_npm("hdr-histogram-js")
    yield tried("hlog", js, lambda: numbers.hlog_by_node(export("hlog"), session))
    metrics = of("prometheus-client")
    yield tried("openmetrics", metrics, lambda: numbers.openmetrics(export("openmetrics")))
    yield from stacks.stacks(export)
    yield from stacks.flamegraph_pl(export)
    yield stacks.go(export)
    yield stacks.firefox(export)
    perfetto = of("perfetto")
    yield tried("perfetto", perfetto, lambda: timelines.perfetto(export("perfetto")))
    yield from _NOT_HAD
    for name in ("flamegraph", "calls-flamegraph", "profile-flamegraph", "offcpu-flamegraph"):
        yield timelines.drawn(name, export)
    for kind, readers in tables.READERS.items():
        file = export(kind, "--table", "calls")
        for name, read in readers.items():
            seen = functools.partial(tables.table, kind, file, trace, read)
            yield tried(kind, of(name), seen)
    for name, read in tables.READERS["parquet"].items():
        part = next((trace / "calls").glob("*.parquet"))
        seen = functools.partial(tables.table, "parquet", part, trace, read)
        yield tried("the trace's own files", of(name), seen)


def memsc(*words: str) -> None:
    """Run a command of memsc's."""
    done = subprocess.run([MEMSC, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"memsc {' '.join(words)}: {done.stderr}")


_NOT_HAD = (
    Trial("perfetto", "trace_processor", "PyPI's package fetches it when it is first used"),
    Trial("folded", "inferno", "Debian does not have it"),
)
_SUFFIXES = {
    "pprof": "pb.gz",
    "flamegraph": "svg",
    "speedscope": "json",
    "chrome": "json",
    "firefox": "json",
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
