# SPDX-License-Identifier: MIT
"""What may end the process that does it is done in a child. Privileged side.

BCC and LLVM abort where they meet what they do not expect: a name spelled for another release,
headers of a newer kernel. That would cost the session all its probes, and take the message along.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from typing import BinaryIO, NoReturn, cast


class NotDoneError(Exception):
    """It cannot be done; the text is why, one line."""


class Apart:
    """A child that does some work, from now on.

    Args:
        work: what it does; its result comes back as bytes.
    """

    def __init__(self, work: Callable[[], bytes]) -> None:
        self._said = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed by `result`
        self._made = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
        self._child = os.fork()
        if self._child == 0:
            _perform(work, self._said.fileno(), self._made)

    def result(self) -> bytes:
        """Waits for it; once.

        Raises:
            NotDoneError: it raised something, or has died.
        """
        status = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        with self._said, self._made:
            if status == 0:
                self._made.seek(0)
                return self._made.read()
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").splitlines()
        words = (line.strip() for line in reversed(lines))
        said = next((line for line in words if line), "nothing was said")
        if status > 0:
            raise NotDoneError(said)
        raise NotDoneError(f"it ends the process ({signal.Signals(-status).name}): {said}")


def _perform(work: Callable[[], bytes], output: int, made: BinaryIO) -> NoReturn:
    code = 1
    faulthandler.disable()  # it is the parent who tells
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        made.write(work())
        made.flush()
        code = 0
    # Whatever it is, the parent is told.
    except BaseException as error:
        why = getattr(error, "why", None) or getattr(error, "strerror", None) or error
        os.write(output, f"\n{why}\n".encode())
    finally:
        os._exit(code)
