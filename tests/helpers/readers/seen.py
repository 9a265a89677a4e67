# SPDX-License-Identifier: MIT
"""What a reader shows of a file."""

from __future__ import annotations

import json
import signal
import subprocess
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from memsc.analysis.data.sketch import QUANTITIES

STAGES = frozenset(QUANTITIES[:-1])
READERS = Path(__file__).parents[2] / "unit" / "readers"
"""Those that npm brings."""
LIMIT_S = 90
"""What a reader may take for a file, with what makes that."""
CALLS = "newfstatat"
"""The call that the recorded program makes most."""
Seen = dict[str, bool]
"""What the file has, and whether the reader shows it."""


class Export(Protocol):
    """Writes a format, with options, and says where."""

    def __call__(self, name: str, *options: str) -> Path: ...


@dataclass(frozen=True)
class Trial:
    """A reader on a file.

    Args:
        formats: what it reads.
        reader: its name and version.
        seen: what it shows of it; a text is why it was not tried.
    """

    formats: str
    reader: str
    seen: Seen | str


def of(package: str) -> str:
    """A reader's name with its version."""
    return f"{package} {version(package)}"


def of_debian(name: str, package: str) -> str:
    """The same of a program of Debian's."""
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return f"{name} ({package} {found})"


def tried(formats: str, reader: str, read: Callable[[], Seen]) -> Trial:
    """What a reader shows, if it says so within its time."""

    def stop(_signal: int, _frame: types.FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        return Trial(formats, reader, read())
    except TimeoutError:
        return Trial(formats, reader, f"it took more than {LIMIT_S} s")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def of_npm(package: str) -> str:
    """The same of one that npm has brought."""
    about = READERS / "node_modules" / package / "package.json"
    return f"{package} {json.loads(about.read_text())['version']}"
