# SPDX-License-Identifier: MIT
"""Which build of a program a session records: its file's content, in sixteen digits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET, UnsetType

from memsc.runtime.errors import MemscError
from memsc.runtime.program import resolve

LARGEST = 256 << 20
"""Bytes of a file that are read for it: a quarter of a second."""
_DIGITS = 16


def build_of(command: Sequence[str]) -> tuple[str | None, str | UnsetType]:
    """The build of a command's program, and why it is not known if it is not.

    A script's is its own, not its interpreter's; of `python3 app.py` it is python3's.
    """
    if not command or command[0] == "memsc":
        return None, "the session's work is memsc's own"
    try:
        path = Path(resolve(command[0]))
        if not path.is_file():
            return None, "it is no file"
        if path.stat().st_size > LARGEST:
            return None, f"its file has more than {LARGEST >> 20} MiB"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS], UNSET
    except MemscError as error:
        return None, error.why
    except OSError as error:
        return None, error.strerror or "its file cannot be read"
