# SPDX-License-Identifier: MIT
"""The files that a user names to be written: whole or not at all, and what is no file is kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from memsc.runtime.errors import failed

STDOUT = Path("/dev/stdout")
_STREAM = re.compile(r"(?:/dev|/proc/(?:self|thread-self))/fd/(\d+)")


def named(word: str) -> Path:
    """The file that a word of the command line stands for; `-` is standard output."""
    return STDOUT if word == "-" else Path(word)


def is_kept(path: Path) -> bool:
    """Whether something stands there that is written to and never replaced: no regular file."""
    return _stream(path) is not None or (path.exists() and not path.is_file())


@contextmanager
def written(path: Path, what: str | None = None) -> Generator[Path]:
    """As `whole`, with errors for the user.

    Raises:
        MemscError: it cannot be written; what says what could not be done.
        BrokenPipeError: who reads it has gone.
    """
    try:
        with whole(path) as place:
            yield place
    except BrokenPipeError:
        raise
    except OSError as error:
        raise failed(what or f"cannot write {path}", error, "choose another place") from error


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """Where to write what shall stand at path: there it is when the block has ended, or never.

    A regular file is replaced, behind links, too. A device, a pipe or a stream that is open already
    (`/dev/stdout`, `>(…)`) is written to, in one go, so that writers may seek.

    Args:
        path: what the user named.

    Raises:
        OSError: it cannot be written.
    """
    number = _stream(path)
    if number is None and not is_kept(path):
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".{target.name}.partial")
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return
    # Opened first: whoever reads a pipe learns that there will be nothing, too.
    there = os.open(path, os.O_WRONLY | os.O_NOCTTY) if number is None else os.dup(number)
    # It has no name, so nothing of it is left, however this ends.
    with os.fdopen(there, "wb") as out, tempfile.TemporaryFile() as kept:
        yield Path(f"/proc/self/fd/{kept.fileno()}")
        sys.stdout.flush()  # which may be the same stream
        kept.seek(0)
        shutil.copyfileobj(kept, out)


def _stream(path: Path) -> int | None:
    """The number of the open file that a path means, which another open() might begin anew."""
    standard = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    text = os.path.normpath(path)
    if text in standard:
        return standard[text]
    found = _STREAM.fullmatch(text)
    return int(found[1]) if found else None
