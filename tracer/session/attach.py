# SPDX-License-Identifier: MIT
"""A program that runs already and forwards its calls: found, checked, and described."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.runtime.launch import MODES, TRANSPORTS, Launch
from memsc.runtime.region import SUFFIX, Region
from memsc.tracer.format import Round, RoundKey
from memsc.tracer.helper.kernel import tasks
from memsc.tracer.session.session import TraceSession
from memsc.tracer.state.backlog import Before

_HOW = (
    "start it with `memsc run --attachable` and another transport than direct, "
    "or with MEMSC_DIRECTORY naming a folder in memory"
)


_CLAIMS = 10  # tries, since what looks for the remains of dead sessions claims a region …
_BETWEEN_S = 0.05  # … for a moment


def _claim(path: Path) -> Region:
    for _ in range(_CLAIMS - 1):
        try:
            return Region(path, exclusive=True)
        except MemscError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
        time.sleep(_BETWEEN_S)
    return Region(path, exclusive=True)


def find(pid: int) -> Region:
    """The region of a running program, claimed for this session.

    Args:
        pid: its process.

    Raises:
        MemscError: there is no such process, it is another user's, it forwards no calls where
            others can see them, or another session has it.
    """
    what = f"attaching to process {pid}"
    try:
        tasks.require_own(pid, os.geteuid(), what)
        lines = (
            Path(f"/proc/{pid}/maps")
            .read_text(encoding="utf-8", errors="surrogateescape")
            .splitlines()
        )
    except (FileNotFoundError, ProcessLookupError) as error:
        raise MemscError(what, "there is no such process", "check its number") from error
    except OSError as error:
        remedy = "run memsc as root" if os.geteuid() else "name another; this one is kept from root"
        raise MemscError(what, error.strerror or str(error), remedy) from error
    paths = {line.split(maxsplit=5)[5] for line in lines if line.endswith(SUFFIX)}
    for path in sorted(paths):
        region = _claim(Path(path))
        if tasks.number_here(region.pid, int(region["start_time"])) == pid:
            region.known_as(pid)
            return region
        region.close()
    mapped = any("libmemsc" in line for line in lines)
    why = "nobody else can see its calls" if mapped else "it does not forward its calls"
    raise MemscError(what, why, _HOW)


def launch_of(region: Region) -> Launch:
    """How a running program was started, as far as its region and its affinity tell.

    Raises:
        MemscError: its header holds no transport or mode that is known.
    """
    transport, mode = int(region["transport"]), int(region["service_mode"])
    services = min(int(region["services"]), len(region["service"]))
    if transport >= len(TRANSPORTS) or mode >= len(MODES):
        raise MemscError(f"reading {region.path.name}", "its header is damaged", "start it again")
    cpus = {int(line["cpu"]) for line in region["service"][:services]}
    return Launch(
        transport=TRANSPORTS[transport],
        service=MODES[mode],
        app_cpus=tuple(sorted(os.sched_getaffinity(region.pid) - cpus))[:1],
        service_cpus=() if transport == 0 else tuple(sorted(cpus)),
        ring_records=int(region["ring_records"]),
    )


def record(session: TraceSession, region: Region, duration_s: float | None = None) -> Round:
    """Record a program that runs already, and leave it as it was found.

    Args:
        session: an entered one, of one arm.
        region: of the program, claimed; closed afterwards.
        duration_s: how long; None until it ends.

    Raises:
        MemscError: the disk is full, it may not be traced, a probe's helper died.
        KeyboardInterrupt: after what was recorded was written.
    """
    (arm,) = session.arms
    pid, before = region.pid, region.counts()
    probes = session.probing.of_round(check=False)
    key = RoundKey(arm, "program", 0)
    begun = Round(*key, probes=probes, pids=[pid], attached=True)
    backlog = session.backlog(begun, Before(str(region.path), before.dropped, before.skipped))
    recording = session.recording(key, region, probes, backlog=backlog)
    recording.run(_Running(region, session.record_every), duration_s=duration_s)
    with recording.over():
        drain = recording.drain
        lost = drain.counts.dropped - before.dropped
        done = recording.told(
            covered=False,
            pids=[pid],
            calls=drain.calls,
            lost=lost,
            skipped=drain.counts.skipped - before.skipped,
            attached=True,
        )
        session.keep(done)
    return done


class _Running:
    """A program that runs already; recorded or not, it goes on as it was."""

    running = True

    def __init__(self, region: Region, every: int) -> None:
        self._region = region
        self._every = every
        self.pid = region.pid

    @contextmanager
    def kept(self) -> Generator[None]:
        """Nothing was taken from it."""
        yield

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Have it record its calls."""
        before = self._region.recording
        self._region.drain()  # what was left there is no part of this
        try:
            self._region.recording = self._every  # Ctrl-C may come at any moment
            yield
        finally:
            if not self._region.closed:  # the program has ended, and who drains it saw that first
                self._region.recording = before

    def wait(self) -> None:
        """Its parent does."""
