# SPDX-License-Identifier: MIT
"""Gives away, for good, what of root's power the privileged helper has no use for.

The system calls are capabilities(7)'s and prctl(2)'s. Why each is kept stands in
docs/decisions/0002-privileged-helper.md.
"""

from __future__ import annotations

import ctypes
import os
import struct
from itertools import count
from pathlib import Path

KEPT = {
    "dac_override": 1,
    "kill": 5,
    "ipc_lock": 14,
    "sys_ptrace": 19,
    "sys_admin": 21,
    "sys_nice": 23,
    "sys_resource": 24,
    "syslog": 34,
    "perfmon": 38,
    "bpf": 39,
}

AS_THE_MACHINES_ROOT = "run it as the machine's own root (in a container: --privileged --pid=host)"
"""What helps against a `shortfall`."""

_ALL_USERS = ["0", "0", "4294967295"]  # /proc/PID/uid_map of whoever sees users as they are
_VERSION_3 = 0x20080522  # of linux/capability.h: two words of 32 bits for each set
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 23, 24, 38

_libc = ctypes.CDLL(None, use_errno=True)


def effective() -> int:
    """The capabilities this process can use, one bit each."""
    return int(_status("CapEff"), 16)


def shortfall() -> str | None:
    """Why the kernel refuses to this root what it lets the machine's root do; None if it is that.

    To be asked after a refusal, for a filter may let through what memsc needs.
    """
    if Path("/proc/self/uid_map").read_text(encoding="utf-8").split() != _ALL_USERS:
        return "root here is no root outside of this container (user namespace)"
    if not effective() >> KEPT["sys_admin"] & 1:
        return "root here lacks the capability sys_admin"
    if _status("Seccomp") != "0":
        return "a seccomp filter is in force here"
    return None


def _status(name: str) -> str:
    lines = (
        Path("/proc/self/status").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    )
    return next(line for line in lines if line.startswith(f"{name}:")).split()[1]


def drop() -> None:
    """Keep `KEPT` only, as far as it is there, here and in whatever this process may execute.

    Raises:
        OSError: the kernel refuses.
    """
    wanted = effective() & sum(1 << bit for bit in KEPT.values())
    for bit in count():
        there = _libc.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0)
        if there < 0:  # it is the kernel's last
            break
        # To drop is a right, too, which whoever has none of the others lacks.
        if there and not wanted >> bit & 1:
            _done(_libc.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0))
    _done(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    words = [wanted & 0xFFFFFFFF, wanted >> 32]
    # Effective, permitted, inheritable; first the low words of all three.
    sets = struct.pack("6I", words[0], words[0], 0, words[1], words[1], 0)
    _done(_libc.capset(struct.pack("Ii", _VERSION_3, 0), sets))


def _done(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
