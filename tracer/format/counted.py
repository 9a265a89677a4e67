# SPDX-License-Identifier: MIT
"""What `session.json` says of the table `counters`. Pure."""

from __future__ import annotations

import msgspec


class CounterEvent(msgspec.Struct, frozen=True):
    """One event of the table `counters`; what cannot be counted says why, and has no rows."""

    unit: str
    meaning: str
    counted: bool
    reason: str | None = None
    kernel: bool = True  # what happens in the kernel is counted, too


class Counters(msgspec.Struct, frozen=True):
    """What was counted of threads, and how."""

    events: dict[str, CounterEvent]
    apart: bool  # what is done on the service's CPUs from what is done on the application's
    apart_reason: str | None = None
    elsewhere_ns: int = 0  # time that threads spent on CPUs that were not counted on
