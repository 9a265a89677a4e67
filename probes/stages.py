# SPDX-License-Identifier: MIT
"""The runtime's static probes: what a call does, as seen from outside its stamps.

A hit costs as much as several stages, so these events measure nothing: they check that the stamps
say the truth (`memsc.analysis.domains.agreement`). One call of `MEMSC_PROBE_EVERY` passes them.
"""

from __future__ import annotations

from memsc.probes.declaration import Column, Hook, Kind, Probe

_REMEDY = "use a kernel with CONFIG_UPROBE_EVENTS and Linux 4.20 or newer, and install memsc again"

EVERY = 13  # with all calls passing the probes a round would say little else


def _static(name: str) -> Hook:
    return Hook(
        f"memsc:{name}",
        f"stages_on_{name}",
        kinds=(name,),
        way="usdt",
        required=True,
        remedy=_REMEDY,
    )


PROBE = Probe(
    name="stages",
    summary="static probes of the runtime, for some calls: an independent check of the stamps",
    kinds=(
        Kind("posted", "tid has published the entry"),
        Kind("picked", "tid starts to execute it"),
        Kind("executed", "the system call has returned to tid"),
        Kind("completed", "tid has the result"),
        Kind(
            "calibrate",
            "nothing: the session measures what a hit costs. Entry counts the hits, odd ones after "
            "a sleep; number is the counter just before, result the cycles of the hit before it",
        ),
    ),
    columns=(
        Column("slot", "u32", "number", "slot of the calling thread's syspage in its region"),
        Column("entry", "u32", "number", "entry of the syspage"),
        Column("number", "i64", "number", "system call number"),
        Column("result", "i64", "value", "value or -errno; 0 before it is executed"),
        Column("caller", "u32", "task", "thread that makes the call"),
        Column("service", "u32", "flags", "1 if another thread than the caller passed the probe"),
    ),
    cost_ns=860,
    hooks=tuple(
        _static(name) for name in ("posted", "picked", "executed", "completed", "calibrate")
    ),
    disturbs=True,
    every=EVERY,
)
