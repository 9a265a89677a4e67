# SPDX-License-Identifier: MIT
"""Where a session keeps what it needs while it lives: this user's alone, named after the session.

Region files lie in memory, bulky files where temporary files do. Either is removed by the session,
or by `memsc clean` after it was killed. Containers may see the same places, and other process ids:
names of theirs end with whose ids they hold.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel.tasks import id_space, is_same, number_here, start_time

MEMORY = Path("/dev/shm")
ROUND = "round"
"""In a session's folder, what is recorded just now; see `memsc.tracer.state.backlog`."""
_RUNNING = "running"


def places() -> tuple[Path, Path]:
    """Where there may be folders of sessions: in memory, and among temporary files."""
    return MEMORY, Path(os.environ.get("TMPDIR") or "/tmp")


def base(uid: int | None = None, place: Path | None = None) -> Path:
    """The folder of all sessions of a user, in memory unless elsewhere is asked for."""
    return (place or MEMORY) / f"memsc-{os.getuid() if uid is None else uid}"


def private(place: Path | None = None) -> Path:
    """The folder of all sessions of this user, made if need be, and certainly this user's alone.

    Raises:
        MemscError: another user's file stands in its place, or it cannot be written to.
    """
    place = place or MEMORY
    top = base(place=place)
    what = f"making the session's folder in {place}"
    try:
        top.mkdir(mode=0o700, exist_ok=True)
        # Anybody may write beside it: what stands there must be a folder, ours, and closed.
        status = top.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise MemscError(what, f"{top} is not yours", "have it removed")
        top.chmod(0o700)
    except OSError as error:
        raise MemscError(what, error.strerror or str(error), _remedy(place)) from error
    return top


def _remedy(place: Path) -> str:
    return "mount a tmpfs there" if place == MEMORY else "name another place by TMPDIR"


def session_folder() -> Path:
    """Make this session's folder.

    Raises:
        MemscError: as for `private`.
    """
    folder = private() / _name()
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        what = f"making the session's folder in {MEMORY}"
        raise MemscError(what, error.strerror or str(error), _remedy(MEMORY)) from error
    return folder


def _name() -> str:
    return f"session-{os.getpid()}-{start_time(os.getpid())}{of_container()}"


@contextmanager
def scratch() -> Generator[Path]:
    """A folder among temporary files, as long as the context lasts.

    Raises:
        MemscError: as for `private`.
    """
    place = places()[1]
    folder = private(place) / _name()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        what = f"making a folder in {place}"
        raise MemscError(what, error.strerror or str(error), _remedy(place)) from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):  # another is open
            folder.rmdir()


def running_folder() -> Path:
    """The folder of region files of programs that may be attached to, made if need be.

    Raises:
        MemscError: as for `private`.
    """
    private()
    folder = running(base())
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def running(top: Path) -> Path:
    """Where in a user's folder those regions lie."""
    return top / f"{_RUNNING}{of_container()}"


def id_space_of(folder: Path) -> int:
    """Whose process ids a session's or a running folder is named by, as `tasks.id_space` says."""
    _, *words = folder.name.split("-")
    words = words[2:] if folder.name.startswith("session-") else words
    return int(words[0]) if words and words[0].isdecimal() else 0


def owner_is_alive(folder: Path) -> bool:
    """Whether the session that made a folder still runs; to be asked where its process ids hold."""
    _, pid, started, *_ = folder.name.split("-")
    return is_same(int(pid), int(started))


def of_container() -> str:
    """End of a name that holds process ids: nothing where they are the machine's."""
    return f"-{number}" if (number := id_space()) else ""


def is_alive(pid: int, started: int) -> bool:
    """Whether a process still runs, to be asked where its number holds, or above that."""
    here = number_here(pid, started)
    if here is None:
        return False
    try:
        text = Path(f"/proc/{here}/stat").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return not text.rpartition(")")[2].startswith(" Z")  # dead, and nobody has asked how it ended
