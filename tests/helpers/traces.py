# SPDX-License-Identifier: MIT
"""Fabricates small traces with the real writer, from stages the test chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.sketch import Sketch
from memsc.runtime import library
from memsc.tracer.format import Arm, Clock, ProbeStatus, Round, Session
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

CALL = np.dtype(
    [
        ("called", "u8"),
        ("posted", "u8"),
        ("picked", "u8"),
        ("executed", "u8"),
        ("completed", "u8"),
        ("result", "i8"),
        ("number", "u4"),
        ("tid", "u4"),
        ("app_cpu", "u2"),
        ("service_cpu", "u2"),
        ("flags", "u4"),
    ]
)
NAMES = {0: "read", 1: "write", 110: "getppid"}
# Two cycles to the nanosecond, so that a test can tell the two apart.
CLOCK = Clock(
    *("tsc", 2e9, 1_000_000, 5_000_000, 0.5),
    residual_ns=3.0,
    points=9,
    skew_bound_ns=20.0,
    realtime_offset_ns=1_795_000_000_000_000_000,
)
CENTRE = {
    "direct": (2, 2, 240, 2),
    "ipi": (60, 40_000, 300, 30_000),
    "memsc": (40, 120, 260, 130),
    "memsc-scanner": (40, 15_000, 260, 140),
}


def records(
    stages: NDArray[np.int64],
    *,
    start: int = 2_000_000,
    number: int | NDArray[np.int64] = 110,
    tid: int = 101,
    flags: int = 0,
    result: int | NDArray[np.int64] = 1,
) -> NDArray[np.void]:
    """Call records, one after the other, from an (n, 4) array of stages in cycles."""
    total = stages.sum(axis=1)
    out = np.zeros(len(stages), CALL)
    out["called"] = start + np.concatenate([[0], np.cumsum(total + 50)[:-1]])
    for i, stamp in enumerate(("posted", "picked", "executed", "completed")):
        out[stamp] = out["called"].astype(np.int64) + stages[:, : i + 1].sum(axis=1)
    out["number"], out["tid"], out["flags"], out["result"] = number, tid, flags, result
    out["app_cpu"], out["service_cpu"] = 1, 0
    return out


def stages_like(
    arm: str, calls: int, generator: np.random.Generator, scale: float = 1.0
) -> NDArray[np.int64]:
    """Skewed stages around the arm's centre; one call in a thousand is interrupted."""
    centre = np.array(CENTRE[arm]) * scale
    stages = np.rint(centre * generator.gamma(20.0, 1 / 20.0, (calls, 4)))
    stages[generator.random(calls) < 1e-3, 1] += 20_000
    return stages.astype(np.int64)


def sketch_of(stages: NDArray[np.int64]) -> Sketch:
    """The sketch of calls without flags, given their four stages: shape (n, 4), cycles."""
    stamps = np.cumsum(np.hstack([np.zeros((len(stages), 1), np.int64), stages]), axis=1)
    return Sketch.of(list(stamps.T), np.zeros(len(stages), np.int64))


def session(rounds: list[Round], arms: dict[str, Arm], **changes: object) -> Session:
    base = {
        "memsc": library.version(),
        "created": "2026-11-23T06:47:19+00:00",
        "command": ["memsc", "bench"],
        "clock": CLOCK,
        "complete": True,
        "environment": {
            "cpu_model": "Fabricated CPU",
            "hypervisor": "kvm",
            "kernel": "6.18.0",
            "virtual": True,
            "cpus_online": "0-1",
            "isolated_cpus": "",
            "idle_driver": "haltpoll",
        },
        "probes": {"sched": ProbeStatus(attached=False, reason="not asked for")},
    }
    return Session(**(base | {"arms": arms, "rounds": rounds} | changes))  # type: ignore[arg-type]


def fabricate(
    folder: Path,
    *,
    arms: tuple[str, ...] = ("direct", "ipi", "memsc"),
    rounds: int = 6,
    calls: int = 2_000,
    case: str = "sync",
    seed: int = 1,
    lost: int = 0,
    scale: float = 1.0,
    jitter: float = 0.02,
    complete: bool = True,
) -> Path:
    """A comparison of arms in interleaved rounds; rounds differ by `jitter`, as real ones do."""
    generator = np.random.default_rng(seed)
    done: list[Round] = []
    clock = 2_000_000
    with TraceWriter(prepare_output(folder)) as writer:
        for index in range(rounds):
            for pid, arm in enumerate(arms if index % 2 == 0 else arms[::-1]):
                shift = scale * (1 + jitter * generator.standard_normal())
                stages = stages_like(arm, calls, generator, shift)
                batch = records(stages, start=clock, tid=101 + pid)
                end = int(batch["completed"][-1])
                ends_ns = CLOCK.ns(np.array([clock, end]))
                done.append(
                    Round(
                        arm,
                        case,
                        index,
                        turn=index,
                        start_ns=int(ends_ns[0]),
                        end_ns=int(ends_ns[1]),
                        start_cycles=clock,
                        end_cycles=end,
                        pids=[101 + pid],
                        exit_status=0,
                        calls=calls,
                        lost=lost,
                        made=calls + lost,
                        local=0,
                    )
                )
                clock = end + 100_000
                writer.calls(done[-1].key, 101 + pid, batch, NAMES)
                total = int(batch["completed"].astype(np.int64).sum() - batch["called"].sum())
                for recording in (False, True):
                    cycles = np.array([total + (calls * 3 if recording else 0)])
                    writer.timings(done[-1].key, recording, calls, cycles)
            writer.flush()
        sums = rounds * calls
        made = {
            arm: Arm(
                arm.removesuffix("-scanner"),
                "scanner" if arm.endswith("-scanner") else "inline",
                [1],
                [0],
                sums,
                rounds * lost,
                sums + rounds * lost,
            )
            for arm in arms
        }
        line = CLOCK_LINE + generator.integers(-3, 4, 200)
        writer.timings(done[0].key._replace(arm="direct", case="line"), False, 1, line)
        writer.session(session(done, made, complete=complete))
    return folder


CLOCK_LINE = 150
