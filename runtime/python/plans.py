# SPDX-License-Identifier: MIT
"""Where programs keep from one start to the next how their C library is to be changed.

The folder is made here, before a program starts: the layer in the program makes none, so that one
with a new /dev/shm, or another user's rights, finds nothing there that it did not put there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
STARTS = "starts"


def make_place() -> None:
    """Make this user's folder of plans; where it cannot be made, programs plan anew each time.

    The layer believes what is there only if it is this user's alone (`runtime/src/own_file.h`).
    """
    folder = MEMORY / f"memsc-{os.geteuid()}"
    with suppress(OSError):
        for each in (folder, folder / STARTS):
            with suppress(FileExistsError):
                each.mkdir(mode=0o700)
                each.chmod(0o700)  # whatever this process's mask has taken from it
