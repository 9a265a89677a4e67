# SPDX-License-Identifier: MIT
"""Which fault strikes which session when: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

# What is done to a session, its helper, its program, or another program on the same service CPU.
FAULTS = (
    *(
        f"{what}-{whom}"
        for what in ("kill", "stop")
        for whom in ("target", "session", "helper", "neighbour")
    ),
    "kill-all",
    "interrupt-session",
    "end-session",
    "disk-full",
    "memory-full",
    "read-only",
    "vanished",
    "few-descriptors",
    "few-descriptors-target",
    "little-memory",
    "memory-limit",
    "ring-full",
    "slow-tracer",
    "time-namespace",
)
ARMS = (("direct", "inline"), ("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner"))
PROGRAMS = ("sync", "batch", "dd")
# What the session does: trace a program, keep its slow calls, show it, attach to it, or measure.
FORMS = ("trace", "snapshot", "live", "pid", "bench")


@dataclass(frozen=True)
class Plan:
    """One round.

    Args:
        seed, number: what it follows from.
        fault: one of FAULTS.
        transport, service: the arm.
        program: one of PROGRAMS.
        ring, when_full: of the call ring.
        probed: attach a probe and isolate the CPUs, which takes a helper.
        early: strike while the session starts, not while its program runs.
        delay: seconds from that moment on.
        amount: how much of the fault, 0 to 1.
        form: one of FORMS.
    """

    seed: int
    number: int
    fault: str
    transport: str
    service: str
    program: str
    ring: int
    when_full: str
    probed: bool
    early: bool
    delay: float
    amount: float
    form: str


def plan(seed: int, number: int) -> Plan:
    """The round of that number."""
    chance = random.Random(f"{seed}-{number}")
    fault = FAULTS[(number + seed) % len(FAULTS)]
    transport, service = chance.choice(ARMS)
    full = fault in ("ring-full", "slow-tracer")
    early = chance.random() < 0.3
    ends = fault in ("kill-session", "kill-all", "interrupt-session", "end-session")
    # A benchmark that nobody ends takes a minute; and to faults of the disk all are alike.
    forms = FORMS if ends else FORMS[:-1] if fault.startswith(("kill", "stop")) else FORMS[:1]
    planned = Plan(
        seed=seed,
        number=number,
        fault=fault,
        transport=transport,
        service=service,
        program=chance.choice(PROGRAMS),
        ring=chance.choice((64, 1024)) if full else 1 << chance.randrange(12, 19),
        when_full=chance.choice(("drop", "wait")),
        probed=fault.endswith("helper") or chance.random() < 0.25,
        early=early,
        delay=round(chance.uniform(0, 3 if early else 0.8), 3),
        amount=round(chance.random(), 3),
        form=chance.choice(forms),
    )
    if planned.form == "pid" and transport == "direct":  # refused: it would show no calls
        return replace(planned, transport="memsc")
    return planned
