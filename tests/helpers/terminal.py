# SPDX-License-Identifier: MIT
"""A terminal of 80 columns, and what was written on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading

SCREEN, SCREEN_BACK, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


class Terminal:
    """One that shows nothing, and keeps all that it is sent.

    Attributes:
        device: descriptor for the programs on it.
    """

    def __init__(self) -> None:
        self._keeper, self.device = pty.openpty()
        fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._keeper, 65536):
                self._written += part
        except OSError:  # how a terminal says that nobody is there any more
            pass

    def written(self) -> str:
        """All that was written; called once, when those who wrote have ended."""
        os.close(self.device)
        self._reader.join()
        os.close(self._keeper)
        return self._written.decode(errors="replace")
