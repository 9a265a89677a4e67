# SPDX-License-Identifier: MIT
"""The names of memsc's own processes, so that what they take from a program is told as theirs.

Without, the kernel calls all of them "python", as it may call the program that is recorded.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

SESSION, HELPER = "memsc", "memsc-helper"
MEANINGS = {SESSION: "memsc's session", HELPER: "memsc's helper"}
"""What reports say of each; service threads have names of their own (`memsc-service`, …)."""


def take(name: str) -> None:
    """Have the kernel call this process, and the threads that it starts, by a name."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="utf-8")
