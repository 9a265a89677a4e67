# SPDX-License-Identifier: MIT
"""What `memsc run` found out, kept so that its native front starts the same again alone.

`runtime/front/record.h` describes the file. It lies in the user's own folder in memory, and holds
as long as every file that the choice was made by is as it was, memsc's own among them.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYER
from memsc.runtime.launch import Launch
from memsc.runtime.plans import STARTS
from memsc.runtime.program import Looked, status_of
from memsc.tracer.state import folders

MOST = 256  # a record takes two kilobytes of memory; beyond, all are forgotten


def remember(launch: Launch, looked: Looked, messages: Sequence[str]) -> None:
    """Write the record that the front has asked for; without a front, or room, do nothing.

    Args:
        launch: how the program is started, statistics and region's folder apart.
        looked: what finding and checking the program has looked at.
        messages: lines printed before the start.
    """
    key = os.environ.get("MEMSC_FRONT_KEY")
    name = os.environ.get("MEMSC_FRONT_RECORD", "")
    if key is None or not (name.isascii() and name.isalnum()):
        return
    with suppress(OSError, MemscError):
        folder = _folder()
        items = _items(key, launch, looked, messages)
        _write(folder / name, "".join(f"{item}\0" for item in items))


def _folder() -> Path:
    """The folder of records, this user's alone, or the front would not believe them."""
    folder = folders.private() / STARTS
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    alone = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o77
    if alone and status.st_uid == os.geteuid() and len(list(folder.iterdir())) < MOST:
        return folder
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    return folder


def _items(key: str, launch: Launch, looked: Looked, messages: Sequence[str]) -> Iterator[str]:
    yield f"k{key}"
    for name, status in looked.names.items():
        yield f"n{status} {name}"
    modules = (module for name, module in sys.modules.items() if name.startswith("memsc."))
    own = {file for module in modules if (file := module.__file__) is not None}
    files = looked.files | {file: status_of(file) for file in sorted(own)}
    if not launch.inert:
        files[str(LAYER)] = status_of(str(LAYER))
    for path, status in files.items():
        yield f"f{status} {path}"
    yield from (f"a{cpu}" for cpu in launch.app_cpus)
    yield from (f"s{cpu}" for cpu in launch.service_cpus)
    if not launch.inert:
        yield from (f"v{name}={value}" for name, value in launch.environment().items())
        yield f"l{LAYER}"
    yield from (f"m{line}" for line in messages)
    yield "."


def _write(file: Path, text: str) -> None:
    """Write it as a whole or not at all: two starts at once must not see half of it."""
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        new.touch(mode=0o600, exist_ok=False)
        new.write_text(text, errors="surrogateescape")
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
