# SPDX-License-Identifier: MIT
"""What a session says of its rounds and arms: how launched, and how timed."""

from __future__ import annotations

import msgspec
import numpy as np

from memsc.runtime.launch import Launch
from memsc.tracer.format import Arm, ProbeStatus, RoundKey
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.session.work import Work


def measures(work: Work) -> dict[str, float | None] | None:
    """What the work wrote of itself, if it did."""
    if work.measures is None or not work.measures.exists() or not work.measures.stat().st_size:
        return None
    return msgspec.json.decode(work.measures.read_bytes(), type=dict[str, float | None])


def described(launch: Launch) -> Arm:
    """An arm as the trace describes it, before its first round."""
    return Arm(
        transport=launch.transport,
        service=None if launch.transport == "direct" else launch.service,
        app_cpus=list(launch.app_cpus),
        service_cpus=list(launch.service_cpus),
    )


def write_timings(
    writer: TraceWriter, key: RoundKey, work: Work, *, recording: bool, calls: int, cycles: int
) -> None:
    """Write what a round was timed at from outside, if it was.

    Args:
        writer: where to.
        key: the round.
        work: what it ran.
        recording: its calls were recorded.
        calls: how many it made; 0 where nobody counted them.
        cycles: how long all of it took.
    """
    if work.timed:
        writer.timings(key, recording, calls, np.array([cycles], np.int64))
    elif work.timings is not None and work.timings.exists():
        writer.timings(key, recording, work.per_interval, np.fromfile(work.timings, np.int64))
        work.timings.unlink()


def together(now: dict[str, ProbeStatus], before: dict[str, ProbeStatus]) -> dict[str, ProbeStatus]:
    """Probes of a session that went on, with what the one before saw and lost."""
    return {
        name: msgspec.structs.replace(
            status,
            seen=_sum(status.seen, before, name, "seen"),
            lost=_sum(status.lost, before, name, "lost"),
        )
        for name, status in now.items()
    }


def _sum(value: int | None, before: dict[str, ProbeStatus], name: str, field: str) -> int | None:
    earlier = getattr(before[name], field) if name in before else None
    return value if earlier is None else earlier + (value or 0)
