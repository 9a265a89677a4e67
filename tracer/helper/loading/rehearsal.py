# SPDX-License-Identifier: MIT
"""What may end the process that does it is done in a child first. Privileged side.

BCC and LLVM abort where they meet what they do not expect: a name spelled for another release,
headers of a newer kernel. That would cost the session all its probes, and take the message along.
What went well once is not tried again on this kernel with this BCC: it costs a second.
"""

from __future__ import annotations

import faulthandler
import hashlib
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

KEPT = 64
"""So many texts are remembered."""


def rehearse(work: Callable[[], object]) -> str | None:
    """Do it in a child, so that it happens to nothing else.

    Returns:
        Why it cannot be done, one line; None if it can.
    """
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            _perform(work, file.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return None
        file.seek(0)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    said = next((line for line in reversed(lines) if line), "nothing was said")
    return said if status > 0 else f"it ends the process ({signal.Signals(-status).name}): {said}"


def _perform(work: Callable[[], object], output: int) -> None:
    """The child's part, which never returns."""
    code = 1
    faulthandler.disable()  # it is the parent who tells
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        code = 0
    # Whatever it is, the parent is told.
    except BaseException as error:
        why = getattr(error, "why", None) or getattr(error, "strerror", None) or error
        os.write(output, f"\n{why}\n".encode())
    finally:
        os._exit(code)


class Remembered:
    """What went well before, as empty files named by its hash.

    Args:
        folder: where; only root may write there.
        *words: all that it depends on.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self._folder = folder
        known = hashlib.sha256("\0".join((*words, *os.uname())).encode())
        self._mark = folder / f"rehearsed-{known.hexdigest()[:32]}"

    def __bool__(self) -> bool:
        return self._mark.exists()

    def keep(self) -> None:
        """Remember it, and forget what is oldest."""
        self._mark.touch()
        marks = sorted(self._folder.glob("rehearsed-*"), key=lambda mark: mark.stat().st_mtime)
        for mark in marks[:-KEPT]:
            mark.unlink(missing_ok=True)
