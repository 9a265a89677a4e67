# SPDX-License-Identifier: MIT
"""First file of the privileged helper: checks who could have written memsc, then imports it.

Run by path as `/usr/bin/python3 -I -B -X pycache_prefix=/nonexistent …/tracer/boot.py`, with the
session's socket as standard input. Nothing of memsc is imported before the check, and no folder is
added to sys.path: docs/decisions/0002-privileged-helper.md.
"""

from __future__ import annotations

import importlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

NEEDED = ("probes", "runtime", "tracer")
SUFFIXES = (".py", ".c", ".h")


def _folder(root: Path, name: str) -> Path:
    """Where a sub-package lies: in memsc's sources the runtime's stands among those in C."""
    inner = root / name / "python"
    return inner if inner.is_dir() else root / name


def _code(root: Path) -> Iterator[Path]:
    yield root
    yield from root.parents
    for name in NEEDED:
        folder = _folder(root, name)
        yield root / name
        yield folder
        yield from (p for p in folder.iterdir() if p.suffix in SUFFIXES)


def unsafe(root: Path, user: int) -> str | None:
    """Why code under root must not run as root for user, or None if it may.

    Args:
        root: the folder that holds the sub-packages, resolved.
        user: the user who asks; he and root may own the code, nobody else may write it.
    """
    for path in _code(root):
        status = path.stat()
        if status.st_uid not in (0, user):
            return f"{path} belongs to user {status.st_uid}"
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & 0o022 and not sticky:
            return f"others may write to {path} (chmod go-w)"
    return None


def _asker() -> tuple[int, int] | None:
    """User and process at the other end of standard input; None when it is no socket."""
    try:
        with socket.socket(fileno=os.dup(0)) as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    pid, user, _ = struct.unpack("3i", credentials)
    return int(user), int(pid)


def main() -> int:
    """Check, import, serve; exit status 2 when it was not started by a session."""
    asker = _asker()
    if asker is None:
        sys.stderr.write("memsc: only a memsc session starts this program\n")
        return 2
    user, pid = asker
    root = Path(__file__).resolve().parent.parent
    # A session that is root already has run the same code as root.
    reason = unsafe(root, user) if user else None
    if reason:
        sys.stderr.write(f"memsc: the helper would run as root, but {reason}\n")
        return 1
    sys.modules["memsc"] = ModuleType("memsc")
    for name in NEEDED:
        part = ModuleType(f"memsc.{name}")
        part.__path__ = [str(_folder(root, name))]
        sys.modules[part.__name__] = part
    serve = importlib.import_module("memsc.tracer.helper").serve
    return int(serve(user, pid))


if __name__ == "__main__":
    # No interpreter clean-up: BCC would detach one by one what the kernel detaches by itself.
    code = main()
    sys.stderr.flush()
    os._exit(code)
