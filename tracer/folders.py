# SPDX-License-Identifier: MIT
"""Where a session's region files lie: in memory, this user's alone, named after the session."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer.tasks import start_time

MEMORY = Path("/dev/shm")
RUNNING = "running"


def base(uid: int | None = None) -> Path:
    """The folder of all sessions of a user."""
    return MEMORY / f"memsc-{os.getuid() if uid is None else uid}"


def private() -> Path:
    """The folder of all sessions of this user, made if need be, and certainly this user's alone.

    Raises:
        MemscError: another user's file stands in its place, or memory cannot be written to.
    """
    top = base()
    what = f"making the session's folder in {MEMORY}"
    try:
        top.mkdir(mode=0o700, exist_ok=True)
        # Anybody may write beside it: what stands there must be a folder, ours, and closed.
        status = top.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise MemscError(what, f"{top} is not yours", "have it removed")
        top.chmod(0o700)
    except OSError as error:
        raise MemscError(what, error.strerror or str(error), "mount a tmpfs there") from error
    return top


def session_folder() -> Path:
    """Make this session's folder.

    Raises:
        MemscError: as for `private`.
    """
    folder = private() / f"session-{os.getpid()}-{start_time(os.getpid())}"
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        what = f"making the session's folder in {MEMORY}"
        raise MemscError(what, error.strerror or str(error), "mount a tmpfs there") from error
    return folder


def running_folder() -> Path:
    """The folder of region files of programs that may be attached to, made if need be.

    Raises:
        MemscError: as for `private`.
    """
    folder = private() / RUNNING
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def owner_is_alive(folder: Path) -> bool:
    """Whether the session that made a folder still runs."""
    _, pid, started = folder.name.split("-")
    return start_time(int(pid)) == int(started)
