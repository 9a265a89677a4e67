# SPDX-License-Identifier: MIT
"""Where users are: runs a command where something that memsc would like to have is really missing.

    python tests/helpers/places.py PLACE COMMAND…

Each place has memory and a journal folder of its own, so that nothing of this machine's is touched.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    *(0x00020000, 0x02000000, 0x04000000, 0x08000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
_DETACH = 2
_BIND, _PRIVATE = 1 << 12, (1 << 18) | (1 << 14)
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _DROP_BOUNDING = 38, 22, 24
_LIBC = ctypes.CDLL(None, use_errno=True)


def _done(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _unshare(flags: int) -> None:
    _done(_LIBC.unshare(flags))


def _mount(kind: str, place: str, options: str = "") -> None:
    _done(_LIBC.mount(b"none", os.fsencode(place), kind.encode(), 0, options.encode()))


def _cover(path: str, text: str) -> None:
    """Let a file of the kernel's read otherwise, for this mount namespace."""
    with tempfile.NamedTemporaryFile("w", dir="/dev/shm", delete=False) as file:
        file.write(text)
    _done(_LIBC.mount(os.fsencode(file.name), os.fsencode(path), None, _BIND, None))


def apart() -> None:
    """Mounts of one's own, and of those what sessions of this machine share."""
    _unshare(_NEWNS)
    _done(_LIBC.mount(b"none", b"/", None, _PRIVATE, None))
    for place, mode in (("/dev/shm", "1777"), ("/run", "0755")):
        _mount("tmpfs", place, f"mode={mode}")


def without_bpf() -> None:
    """Root whom a filter refuses what containers' filters do: bpf() and perf_event_open()."""
    apart()
    refused = (321, 298)
    load, equal, give = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 0)]
    for i, number in enumerate(refused):
        program.append((equal, len(refused) - i, 0, number))
    program += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050001)]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    kept = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(kept))
    _done(_LIBC.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _done(_LIBC.prctl(_SET_SECCOMP, 2, filters, 0, 0))


def without_capabilities() -> None:
    """Root by name alone."""
    apart()
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for bit in range(last + 1):
        _done(_LIBC.prctl(_DROP_BOUNDING, bit, 0, 0, 0))


def container() -> None:
    """As container engines make them: own users, processes and network, no tracefs, no cgroups."""
    user, group = os.geteuid(), os.getegid()
    apart()
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed(mounts):
        if place.startswith("/sys/"):
            _done(_LIBC.umount2(os.fsencode(place), _DETACH))
    _unshare(_NEWUSER | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP | _NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1\n")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1\n")
    child = os.fork()  # the first process of the new namespace
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    _mount("proc", "/proc")


def one_cpu() -> None:
    """A machine with one CPU, as far as a program may tell."""
    apart()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def without_counter() -> None:
    """A counter that may stop or change its pace, so the kernel keeps time by something else."""
    apart()
    text = Path("/proc/cpuinfo").read_text()
    _cover("/proc/cpuinfo", re.sub(r" (constant_tsc|nonstop_tsc|tsc_reliable)\b", "", text))
    clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    _cover(clock, "hpet\n")


PLACES: dict[str, Callable[[], None]] = {
    one.__name__.replace("_", "-"): one
    for one in (without_bpf, without_capabilities, container, one_cpu, without_counter)
}


def main() -> int:
    """Go there and become the command."""
    PLACES[sys.argv[1]]()
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
