# SPDX-License-Identifier: MIT
"""The classic small calls: of files in memory and on disk, pipes, sockets, mappings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from memsc.bench.suites.peer_transports import FAST, timed
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.session.work import Work

_FEW = 500
_MANY = 10_000
_SIZES = (1, 4096, 65536, 1 << 20)
OPERATIONS = (
    *(f"{call}-{size}" for call in ("read", "write", "pread") for size in _SIZES),
    *("openclose", "stat", "fstat", "lseek", "mmap", "pipe", "socket"),
)
NO_FILE = frozenset(("mmap", "pipe", "socket"))
"""Operations that know no file system."""
_PAIRS = frozenset(("openclose", "mmap", "pipe", "socket"))
"""Operations of two calls each."""


def operation(name: str, disk: Path | None = None) -> Callable[[Launch, Path], Work]:
    """One of the classic small calls.

    Args:
        name: one of OPERATIONS.
        disk: a folder for its files; by default the session's scratch folder, in memory.
    """
    case = name if disk is None else f"disk-{name}"

    def work(launch: Launch, folder: Path) -> Work:
        file = folder / "timings"
        count = _FEW if name.endswith("-1048576") else _MANY if launch.arm in FAST else _FEW
        place = str(folder if disk is None else disk)
        return timed(
            case,
            (str(WORK), "calls", name, place, str(count), str(file)),
            file,
            2 if name in _PAIRS else 1,
        )

    return work
