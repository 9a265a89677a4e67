# SPDX-License-Identifier: MIT
"""What was compiled once is kept, for compiling takes a second. Privileged side.

A file is named by the hash of all that its content depends on, lies in a folder where only root may
write, and begins with the hash of what follows: what does not fit is not believed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MOST = 64
"""So many are kept."""

_HASH = hashlib.sha256().digest_size


class Kept:
    """One of them, there or not.

    Args:
        folder: where; only root may write there.
        kind: what it is, and in which format.
        words: all that it depends on.
    """

    def __init__(self, folder: Path, kind: str, words: Iterable[str]) -> None:
        self._folder = folder
        self._kind = kind
        known = hashlib.sha256("\0".join((kind, *words, *os.uname())).encode())
        self._path = folder / f"{kind}-{known.hexdigest()}"

    def read(self) -> bytes | None:
        """Its content; None if it is not there, not root's, or not whole."""
        with suppress(OSError), self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            sum_, content = file.read(_HASH), file.read()
            if hashlib.sha256(content).digest() == sum_:
                with suppress(OSError):
                    os.utime(file.fileno())  # the oldest that nobody uses go first
                return content
        return None

    def write(self, content: bytes) -> None:
        """Keep it, and forget the oldest.

        Raises:
            OSError: there is no room, or the folder cannot be written.
        """
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
            try:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                Path(file.name).replace(self._path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        with suppress(OSError):  # another helper may tidy up as well
            found = sorted(self._folder.glob(f"{self._kind}-*"), key=lambda p: p.stat().st_mtime)
            for path in found[:-MOST]:
                path.unlink(missing_ok=True)
