# SPDX-License-Identifier: MIT
"""The command `memsc`, run as a user would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MEMSC = (sys.executable, "-m", "memsc.commands")
# As people start it: Python by itself prints a traceback when it is interrupted early.
FRONT = Path(sys.executable).with_name("memsc")


_OF_OTHERS = re.compile(r"^memsc: .*\bkilled session\b.*\n", re.MULTILINE)


def own(said: str) -> str:
    """What a command said of itself: each first tells what killed sessions left, anybody's."""
    return _OF_OTHERS.sub("", said)


def _command(words: tuple[str, ...]) -> list[str]:
    command, *options = words
    if command in ("trace", "bench"):
        options.insert(0, "--no-calibrate")  # tests/live/test_calibration.py has it
    return [*MEMSC, command, *options]


def start(*words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command with nothing to read; what it records is not calibrated.

    Args:
        words: its name and its options.
        cwd: where.
    """
    return subprocess.Popen(
        _command(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def memsc(
    *words: str, cwd: Path | None = None, limit_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; for the rest see `start`.

    Args:
        words: its name and its options.
        cwd: where.
        limit_s: seconds after which it hangs.
    """
    return subprocess.run(
        _command(words),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=limit_s,
    )
