# SPDX-License-Identifier: MIT
"""Other tracers over the same work: what recording every call costs with them.

Run as a program, `python -m memsc.bench.suites.peer_tracers TRACER LIBRARY RESULT -- COMMAND…`:
starts the tracer, waits until it watches, runs COMMAND, ends the tracer, and writes to RESULT what
it saw, as JSON. The tracer runs wherever the scheduler puts it; COMMAND stays on the CPUs that this
was given.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from memsc.bench.suites.peer_transports import UNAVAILABLE
from memsc.runtime.errors import MemscError
from memsc.runtime.files import LIBRARY, WORK
from memsc.runtime.launch import Launch
from memsc.runtime.topology import format_cpus
from memsc.tracer.helper.loading.headers import find_headers
from memsc.tracer.session.work import Work

_CALLS = 20_000
_PATIENCE_S = 60  # until a tracer watches
_SCHEDULED = 2  # CPUCLOCK_SCHED: with a process's number, its clock (see clock_getcpuclockid(3))
_ATTACHED, _ATTACHED_MS = "attached", 500  # what bpftrace says then, and how often
_ANYWHERE = ["taskset", "-c", f"0-{(os.cpu_count() or 1) - 1}"]  # replaced by what it starts


@dataclass
class Seen:
    """What a tracer has to show for it.

    Args:
        events: it recorded or counted; None if it does not say.
        lost: events that it says it lost; None if it does not say.
        bytes: it wrote.
        cpu_s: processor time of the tracer's own processes, from when it watches.
    """

    events: int | None = None
    lost: int | None = None
    bytes: int | None = None
    cpu_s: float | None = None


@dataclass(frozen=True)
class Tracer:
    """One other tracer.

    Args:
        program: its command.
        package: Debian's, that brings it.
        records: what it keeps of a call.
        run: runs the work under it; the work's status, and what it saw.
        parent: it starts the work itself.
    """

    program: str
    package: str
    records: str
    run: Callable[[Sequence[str], Path, Path], tuple[int, Seen]]
    parent: bool = False


def _strace(command: Sequence[str], folder: Path, _: Path) -> tuple[int, Seen]:
    out = folder / "strace"
    status, cpu = _timed(["strace", "-f", "-c", "-o", str(out), *command])
    counts = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)", out.read_text(), re.M)
    return status, Seen(sum(map(int, counts[:-1])), 0, out.stat().st_size, cpu)


def _perf_trace(command: Sequence[str], folder: Path, _: Path) -> tuple[int, Seen]:
    out = folder / "perf"
    status, cpu = _timed(["perf", "trace", "-o", str(out), *command])
    text = out.read_text(errors="replace")
    lost = sum(map(int, re.findall(r"LOST (\d+) events", text)))
    return status, Seen(text.count(" = "), lost, out.stat().st_size, cpu)


def _bpftrace(command: Sequence[str], folder: Path, library: Path) -> tuple[int, Seen]:
    """A line for every call, by the library's own static probes."""
    os.environ["MEMSC_PROBE_EVERY"] = "1"
    probe = f"usdt:{library}:memsc"
    script = (
        f"{probe}:posted {{ @at[arg4] = nsecs; }} "
        f'{probe}:completed {{ printf("%d %d\\n", arg4, nsecs - @at[arg4]); }} '
        f'interval:ms:{_ATTACHED_MS} {{ printf("{_ATTACHED}\\n"); }}'
    )
    out = folder / "bpftrace"
    # Line by line, or what it says first would come last.
    with _beside(["bpftrace", "-B", "line", "-e", script], out, _ATTACHED) as it:
        status = subprocess.call(command)
    text = out.read_text(errors="replace")
    lost = sum(map(int, re.findall(r"Lost (\d+) events", it.said() + text)))
    return status, Seen(
        len(re.findall(r"^\d+ \d+$", text, re.M)), lost, out.stat().st_size, it.cpu_s
    )


def _funclatency(command: Sequence[str], folder: Path, library: Path) -> tuple[int, Seen]:
    """A histogram: what two uprobes cost when nothing is written for a call."""
    find_headers().apply()
    out = folder / "funclatency"
    tool = shutil.which("funclatency-bpfcc") or "funclatency-bpfcc"
    with _beside(["/usr/bin/python3", "-u", tool, f"{library}:memsc_call"], out, "Tracing") as it:
        status = subprocess.call(command)
    rows = re.findall(r"->\s*\d+\s*:\s*(\d+)", out.read_text(errors="replace"))
    return status, Seen(sum(map(int, rows)), None, out.stat().st_size, it.cpu_s)


def _lttng(command: Sequence[str], folder: Path, library: Path) -> tuple[int, Seen]:
    """Two tracepoints in user space for every call, in buffers of the default kind, but larger."""
    home = {"LTTNG_HOME": str(folder), "LTTNG_UST_REGISTER_TIMEOUT": "5000"}
    os.environ |= home
    trace = folder / "trace"
    # Else it starts a daemon that outlives it where ours does not listen yet.
    lttng = ("lttng", "--no-sessiond")
    with _beside(["lttng-sessiond", "--no-kernel"], folder / "sessiond", None) as daemon:
        _say(*lttng, "create", "memsc", f"--output={trace}")
        _say(*lttng, "enable-channel", "-u", "calls", "--subbuf-size=4M", "--num-subbuf=8")
        _say(*lttng, "enable-event", "-u", "-c", "calls", "memsc_work:*")
        _say(*lttng, "start")
        # The same work, built with tracepoints around each call.
        program = [
            str(library.parent / "memsc-work-lttng") if _is_work(word) else word for word in command
        ]
        daemon.begin()
        status = subprocess.call(program)
        _say(*lttng, "stop")
        listed = _say(*lttng, "list", "memsc")
        _say(*lttng, "destroy", "memsc")
    size = sum(path.stat().st_size for path in trace.rglob("*") if path.is_file())
    lost = sum(map(int, re.findall(r"Discarded events: (\d+)", listed)))
    return status, Seen(None, lost, size, daemon.cpu_s)


TRACERS = {
    "strace": Tracer("strace", "strace", "counts by system call", _strace, parent=True),
    "perf-trace": Tracer("perf", "linux-perf", "a line for each system call", _perf_trace),
    "bpftrace": Tracer("bpftrace", "bpftrace", "a line for each call", _bpftrace),
    "funclatency": Tracer("funclatency-bpfcc", "bpfcc-tools", "a histogram", _funclatency),
    "lttng": Tracer("lttng", "lttng-tools liblttng-ust-dev", "two events for each call", _lttng),
}


# The processor time of the work alone, to be taken from that of a tracer that is its parent.
_TIMES = '"$@"; status=$?; times >"$0"; exit $status'


def _spent(times: Path) -> float:
    found = re.findall(r"(\d+)m([\d.]+)s", times.read_text(encoding="utf-8"))
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


def _is_work(word: str) -> bool:
    return Path(word).name == "memsc-work"


def absent() -> dict[str, str]:
    """Tracers that are not installed, and the packages that bring them."""
    return {n: one.package for n, one in TRACERS.items() if not shutil.which(one.program)}


def arms(placed: Sequence[Launch]) -> list[Launch]:
    """Each tracer as an arm: memsc itself, unrecorded, with the tracer at work on it."""
    return [replace(arm, peer=name) for arm in placed if arm.arm == "memsc" for name in TRACERS]


def work(launch: Launch, folder: Path) -> Work:
    """Synchronous calls, under the tracer that the launch names."""
    file, measures = folder / "timings", folder / "measures"
    command = (str(WORK), "sync", str(_CALLS), str(file))
    if launch.peer is not None:
        measures.unlink(missing_ok=True)
        module = (sys.executable, "-m", "memsc.bench.suites.peer_tracers", launch.peer)
        command = (*module, str(LIBRARY), str(measures), "--", *command)
    return Work(
        "tracing",
        command,
        layered=False,
        timings=file,
        measures=None if launch.peer is None else measures,
        ring_holds_all=True,
    )


class _Beside:
    """A tracer that runs beside the work."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], errors: Path) -> None:
        self.process = process
        self._name = name
        self.cpu_s: float | None = None
        self._errors = errors
        self._before = 0.0

    def begin(self) -> None:
        """From now on it works: what it needed to start is no cost of a call."""
        self._before = self._spent()

    def said(self) -> str:
        return self._errors.read_text(errors="replace")

    def end(self) -> None:
        ended = self.process.poll() is not None  # another daemon of its kind does its work
        spent = self._spent()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            # What it has seen it did not tell.
            why = "it does not end when it is asked to"
            raise MemscError(self._name, why, "try it alone") from error
        self.cpu_s = None if ended else spent - self._before

    def _spent(self) -> float:
        return sum(map(_cpu_s, [self.process.pid, *_descendants(self.process.pid)]))


@contextmanager
def _beside(command: Sequence[str], out: Path, ready: str | None) -> Generator[_Beside]:
    """Run a tracer beside the block; `ready` is what it writes to `out` once it watches."""
    errors = out.with_name(f"{out.name}.errors")
    own = "-o" in command  # it writes the file itself
    with errors.open("wb") as stderr, (errors if own else out).open("ab") as stdout:
        process = subprocess.Popen(
            _ANYWHERE + list(command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
    beside = _Beside(command[0], process, errors)
    try:
        until = time.monotonic() + _PATIENCE_S
        while ready is not None and not (
            out.exists() and ready in out.read_text(encoding="utf-8", errors="replace")
        ):
            if process.poll() is not None or time.monotonic() > until:
                raise MemscError(
                    command[0], beside.said().strip() or "it does not start", "try it alone"
                )
            time.sleep(0.1)
        beside.begin()
        yield beside
    finally:
        beside.end()


def _say(*command: str) -> str:
    error = ""
    for attempt in range(50):
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        if done.returncode == 0:
            return done.stdout
        error = done.stderr.strip()
        time.sleep(0.1 if attempt else 0.5)  # its daemon may not listen yet
    raise MemscError(" ".join(command), error, "try it alone")


def _timed(command: Sequence[str], stderr: IO[bytes] | None = None) -> tuple[int, float]:
    """Status and processor time of a tracer that is the parent of the work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = subprocess.call(_ANYWHERE + list(command), stderr=stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _cpu_s(pid: int) -> float:
    """Processor time of a process, all its threads'; ticks would be longer than what some need."""
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError:
        return 0.0


def _descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from _descendants(child)


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(arguments: Sequence[str]) -> int:
    """Run the command under a tracer; its status, or UNAVAILABLE."""
    name, library, result, _, *command = arguments
    # In the background a shell ignores it, and what is started would go on ignoring it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tracer = TRACERS[name]
    if not shutil.which(tracer.program):
        _complain(f"memsc: {name} is not installed; apt install {tracer.package}")
        return UNAVAILABLE
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        here = ["taskset", "-c", format_cpus(sorted(os.sched_getaffinity(0)))]
        try:
            placed = [*here, "bash", "-c", _TIMES, str(times), *command]
            status, seen = tracer.run(placed, Path(folder), Path(library))
            if seen.cpu_s is not None and tracer.parent:
                seen.cpu_s = max(seen.cpu_s - _spent(times), 0)
        except MemscError as error:
            _complain(str(error))
            return UNAVAILABLE
    Path(result).write_text(json.dumps(asdict(seen)), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
