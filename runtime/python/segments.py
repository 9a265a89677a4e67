# SPDX-License-Identifier: MIT
"""The System V shared memory of the runtime, as far as it may outlive its processes.

A *registry*, by which the processes of a user share a service CPU, goes with the last one
that uses it, unless that is killed; the next process takes it over then. A process's *segment* of
syspages goes with the process, unless that is killed in the moment between making and mapping it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memsc.runtime.layout import layout
from memsc.runtime.library import library

SEGMENTS = Path("/proc/sysvipc/shm")
_IPC_RMID = 0


@dataclass(frozen=True)
class Shared:
    """One piece of shared memory.

    Attributes:
        number: its System V identifier.
        user: whose it is.
        cpu: the service CPU of a registry; None for a process's segment.
        maker: the process that made it.
        attached: how many processes map it.
    """

    number: int
    user: int
    cpu: int | None
    maker: int
    attached: int


def shared(listing: Path = SEGMENTS) -> list[Shared]:
    """All registries and segments of this machine (of this IPC name space), in the kernel's order.

    Args:
        listing: the kernel's list; a kernel without System V IPC has none.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return list(_parsed(lines))


def remove(found: Shared) -> None:
    """Remove one; processes that map it keep it until they end.

    Raises:
        OSError: it is another user's, or gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.shmctl(found.number, _IPC_RMID, None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _parsed(lines: list[str]) -> Iterator[Shared]:
    numbers = layout().enums["numbers"]
    registry, segment = numbers["REGISTRY_BYTES"], numbers["SEGMENT_BYTES"]
    names = lines[0].split() if lines else []
    for line in lines[1:]:
        row = dict(zip(names, line.split(), strict=False))
        user, size = int(row["uid"]), int(row["size"])
        # A segment that is marked for removal (1600) needs no care.
        if row["perms"] != "600" or int(row["cuid"]) != user or size not in (registry, segment):
            continue
        key = int(row["key"]) & 0xFFFFFFFF
        cpu = _cpu_of(key, user) if size == registry else None
        if cpu is not None or (size == segment and key == 0):
            yield Shared(int(row["shmid"]), user, cpu, int(row["cpid"]), int(row["nattch"]))


def _cpu_of(key: int, user: int) -> int | None:
    of = library().memsc_registry_key_of
    of.restype = ctypes.c_uint32
    cpus, keys = range(os.cpu_count() or 1), range(layout().enums["numbers"]["REGISTRY_KEYS"])
    return next((cpu for cpu in cpus for i in keys if of(user, cpu, i) == key), None)
