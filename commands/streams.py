# SPDX-License-Identifier: MIT
"""Standard streams as they may be found: closed, in an encoding without our signs, or broken."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from memsc.runtime.errors import MemscError
from memsc.runtime.printable import printable

_PLAIN = str.maketrans(
    {
        **dict(zip("…÷–−·×±µ→✓✗≤≥", "./--*x~u>+x<>", strict=True)),
        **dict(zip("█▓▒░▁▂▃▅│─━", "#=-.___-|--", strict=True)),
    }
)
"""One character for one, so that tables keep their shape."""


def prepare() -> None:
    """Make standard streams fit to be written to, whatever they are."""
    codecs.register_error("memsc", _plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Its number must not become another file's; programs that are started find it closed.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = cast("TextIO", _Closed())
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="memsc")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An encoder's handler: our signs as ASCII draws them, other characters by their numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    text = printable(text).encode("ascii", "backslashreplace").decode()
    return text, error.end


class _Closed(io.TextIOBase):
    """Standard output that was closed from the start: what should be there is not lost silently."""

    def write(self, _: str) -> int:
        """Refuse.

        Raises:
            MemscError: always.
        """
        raise MemscError("standard output", "it is closed", "open it, or send it to /dev/null")


def silence(number: int) -> None:
    """Point a broken standard stream at nothing, so that Python's exit does not trip over it."""
    with suppress(OSError):
        os.close(number)  # first: there may be room for no other
    null = os.open(os.devnull, os.O_WRONLY)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def say(text: str) -> None:
    """Print a message on stderr; where that is broken nobody can be told, and work goes on."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(2)
