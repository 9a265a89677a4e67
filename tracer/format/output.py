# SPDX-License-Identifier: MIT
"""The folder that a trace is written to, and what becomes of an earlier trace there."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer.format.session_file import SESSION
from memsc.tracer.format.tables import CALLS, COUNTERS, EVENTS, STACKS, TIMINGS

_TABLES = (CALLS, TIMINGS, EVENTS, COUNTERS, STACKS)


def prepare_output(path: str | Path, force: bool = False) -> Path:
    """Makes sure of the folder that a trace is written to.

    One that is not there yet comes with its session (`TraceWriter.session`): whatever is killed
    leaves a trace, or nothing. A trace that is there stays until the new one is (`Earlier`).

    Args:
        path: the folder; its parent must exist.
        force: a trace may be there. What is not a trace is never touched.

    Raises:
        MemscError: something is there, or the folder cannot be made.
    """
    folder = Path(path)
    what = f"cannot write to {folder}"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise MemscError(what, "it exists and is not a trace", "choose another name", USAGE)
    Earlier(folder).recover()
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / SESSION).is_file():
            raise MemscError(what, "the folder is not a trace", "choose another name", USAGE)
        if not force:
            raise MemscError(what, "it exists", "choose another name, or replace it with -f", USAGE)
    if not folder.exists():
        try:
            unfinished(folder).rmdir()
        except OSError as error:
            raise MemscError(what, error.strerror or str(error), "choose another place") from error
    return folder


def unfinished(folder: Path) -> Path:
    """The same folder under the name that it has until it is a trace; an empty one, made anew."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    return partial


class Earlier:
    """The trace that a new one replaces.

    It lies beside the folder while nothing has been recorded anew, so that a session that cannot
    begin costs nobody a trace. Other files that a user keeps in the folder stay where they are.

    Args:
        folder: the trace's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder.with_name(f".{folder.name}.replaced")

    def put_aside(self) -> None:
        """Make room for the new one."""
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir()
        # The session first: a half-moved trace must not look like a whole one.
        _move(self._folder, self._aside, (SESSION, *_TABLES))
        with suppress(OSError):  # the user keeps something there
            self._folder.rmdir()

    def bring_back(self) -> None:
        """Nothing came of the new one, and it is gone."""
        self._folder.mkdir(exist_ok=True)
        _move(self._aside, self._folder, (*_TABLES, SESSION))
        self._aside.rmdir()

    def remove(self) -> None:
        """The new one is there."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def recover(self) -> None:
        """Bring it back if whoever put it aside was killed before there was a new one."""
        if self._aside.is_dir() and not (self._folder / SESSION).exists():
            self.bring_back()


def _move(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        with suppress(FileNotFoundError):
            (source / name).rename(target / name)
