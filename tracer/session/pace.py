# SPDX-License-Identifier: MIT
"""When to write what is held: until then it lies in memory, and writing costs the service's CPU."""

from __future__ import annotations

import time

_PARTS = 20
_ROWS_PER_S = 50_000  # encoding so many takes a twentieth of a second
_PATIENCE = 4


class Pace:
    """How often parts are written.

    Few calls are safe within `first_s`, and further ones at intervals that grow with the time it
    has gone on, or parts would be small and many. Many calls wait longer, up to four times as long.

    Args:
        first_s: seconds to the first part.
    """

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._begun = self._last = time.monotonic()

    def due(self, rows: int) -> bool:
        """Whether it is time.

        Args:
            rows: calls that are to be encoded.
        """
        now = time.monotonic()
        since = now - self._last
        few = rows <= since * _ROWS_PER_S
        least = max(self._first_s * (1 if few else _PATIENCE), (now - self._begun) / _PARTS)
        return since > least

    def restart(self) -> None:
        """Everything has been written."""
        self._last = time.monotonic()
