# SPDX-License-Identifier: MIT
"""What was compiled once is kept, for compiling takes a second. Privileged side.

A file is named by the hash of all that its content depends on. Where it may lie and what of it is
believed is as with the helper's own code (`memsc.tracer.helper.boot`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from memsc.tracer.helper.boot import believed, keep

MOST = 64
"""So many are kept."""


class Kept:
    """One of them, there or not.

    Args:
        folder: where; only root may write there.
        kind: what it is, and in which format.
        words: all that it depends on.
    """

    def __init__(self, folder: Path, kind: str, words: Iterable[str]) -> None:
        self._kind = kind
        known = hashlib.sha256("\0".join((kind, *words, *os.uname())).encode())
        self._path = folder / f"{kind}-{known.hexdigest()}"

    def read(self) -> bytes | None:
        """Its content; None if it is not there, not root's, or not whole."""
        content = believed(self._path)
        if content is not None:
            with suppress(OSError):
                os.utime(self._path)  # the oldest that nobody uses go first
        return content

    def write(self, content: bytes) -> None:
        """Keep it, and forget the oldest; where there is no room, nothing is kept."""
        keep(self._path, content, f"{self._kind}-*", MOST)
