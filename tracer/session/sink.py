# SPDX-License-Identifier: MIT
"""Where a round's calls and events go: all of them to the trace, or through a snapshot's filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memsc.tracer.format import RoundKey
from memsc.tracer.format.writer import Names, TraceWriter


class Sink(Protocol):
    """What takes them.

    Attributes:
        most_held: calls that may wait for it.
        safe_s: after so long what was drained shall be on disk.
        eager: it is to get at each look whatever there is.
    """

    @property
    def most_held(self) -> int: ...  # noqa: D102
    @property
    def safe_s(self) -> float: ...  # noqa: D102
    @property
    def eager(self) -> bool: ...  # noqa: D102

    def calls(
        self, key: RoundKey, pid: int, records: NDArray[np.void], names: Names, comm: str = ""
    ) -> None:
        """Drained calls; as `TraceWriter.calls`."""

    def events(
        self,
        probe: str,
        events: NDArray[np.void],
        names: Mapping[str, Names],
        units: Mapping[str, str] | None = None,
    ) -> None:
        """A probe's events; as `TraceWriter.events`."""

    def flush(self) -> bool:
        """As `TraceWriter.flush`."""
        ...

    def settle(self, now_ns: int | None = None) -> None:
        """Write or forget what is decided.

        Args:
            now_ns: a time of CLOCK_MONOTONIC before which everything was taken; None: all there is.
        """

    def enough(self, now_ns: int) -> bool:
        """Whether the round may stop: there is as much as was asked for."""
        ...

    def counts(self) -> dict[str, int]:
        """What it counted, as fields of `Round`."""
        ...


class Everything:
    """The trace's writer: it takes all, and never has enough.

    Args:
        writer: the trace's.
    """

    # Encoding costs the service's CPU more than copying does: it waits for its time, or until so
    # many calls (64 bytes each) are held.
    most_held = 4_000_000
    safe_s = 5.0
    eager = False

    def __init__(self, writer: TraceWriter) -> None:
        self.calls = writer.calls
        self.events = writer.events
        self.flush = writer.flush

    def settle(self, now_ns: int | None = None) -> None:
        """Nothing is undecided."""

    def enough(self, now_ns: int) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def counts(self) -> dict[str, int]:
        """None but what its rings say."""
        return {}
