# SPDX-License-Identifier: MIT
"""What a session says of an arm: how it was launched, and the sums over its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from memsc.runtime.launch import Launch
from memsc.tracer.format import Arm, Round
from memsc.tracer.work import Work


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


def sums(arm: str, rounds: Sequence[Round]) -> dict[str, Any]:
    """Counts of an arm over its recorded rounds, as fields of `Arm`."""
    mine = [r for r in rounds if r.arm == arm and r.recording]
    found = {name: sum(getattr(r, name) or 0 for r in mine) for name in ("calls", "lost", "made")}
    for name in ("over", "kept"):
        if any(getattr(r, name) is not None for r in mine):
            found[name] = sum(getattr(r, name) or 0 for r in mine)
    # What a program made before it was attached to is nobody's to count.
    return found | ({"made": None} if any(r.attached for r in mine) else {})
