# SPDX-License-Identifier: MIT
"""Runs a command in a cpuset and a journal folder of its own, so that what it isolates is itself.

A cgroup namespace makes the cpuset the top of the hierarchy for all that runs in it; other programs
of the machine, other tests among them, keep all their CPUs. Interrupts are the machine's own.

    python tests/helpers/enclosure.py COMMAND…
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CPUSET = Path("/sys/fs/cgroup/cpuset")
_NEWNS, _NEWCGROUP = 0x00020000, 0x02000000
_DETACH = 2
_PRIVATE = (1 << 18) | (1 << 14)
_LIBC = ctypes.CDLL(None, use_errno=True)


def lacking() -> str | None:
    """Why nothing can be enclosed here."""
    if os.geteuid() != 0:
        return "needs root"
    if not (CPUSET / "cpuset.cpus").exists():
        return "needs the cpuset controller of cgroup v1"
    return None


def _call(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _mount(kind: bytes, place: Path, options: bytes | None) -> None:
    _call(_LIBC.mount(b"none", os.fsencode(place), kind, 0, options))


def enter(group: Path) -> None:
    """Become a process of the group, which is the top for it."""
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    _call(_LIBC.unshare(_NEWNS | _NEWCGROUP))
    _call(_LIBC.mount(b"none", b"/", None, _PRIVATE, None))
    # The kernel refuses a second mount of the same hierarchy on top of the first.
    _call(_LIBC.umount2(os.fsencode(CPUSET), _DETACH))
    _mount(b"cgroup", CPUSET, b"cpuset")
    folder = Path("/run/memsc")
    folder.mkdir(mode=0o700, exist_ok=True)
    _mount(b"tmpfs", folder, b"mode=0700")


def main() -> int:
    """Run the command; its exit status."""
    # Not by process id: what a killed run left behind may have had the same.
    group = Path(tempfile.mkdtemp(prefix="memsc-test-", dir=CPUSET))
    try:
        for name in ("cpuset.cpus", "cpuset.mems"):
            (group / name).write_text((CPUSET / name).read_text())
        child = os.fork()
        if child == 0:
            try:
                enter(group)
                os.execvp(sys.argv[1], sys.argv[1:])
            except OSError as error:
                sys.stderr.write(f"enclosure: {error}\n")
            os._exit(127)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for _ in range(200):
            # What the command has left, too: the innermost first.
            inner = sorted(group.rglob("*/"), reverse=True)
            with suppress(OSError):
                for place in (*inner, group):
                    for pid in (place / "cgroup.procs").read_text().split():
                        with suppress(OSError):
                            (CPUSET / "cgroup.procs").write_text(f"{pid}\n")
                    place.rmdir()
                break
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
