# SPDX-License-Identifier: MIT
"""libmemsc in Python: the direct API, the clock, the names of system calls."""

from __future__ import annotations

import ctypes
import errno
import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAUNCH, LAYER, LIBRARY, NATIVE, REINSTALL, WORK

__all__ = ["LAUNCH", "LAYER", "LIBRARY", "NATIVE", "WORK"]

_Args = ctypes.c_long * 6


class ClockSample(ctypes.Structure):
    """`struct memsc_clock_sample`: cycles, ns (CLOCK_MONOTONIC), width in cycles."""

    _fields_ = (("cycles", ctypes.c_uint64), ("ns", ctypes.c_int64), ("width", ctypes.c_uint64))
    cycles: int
    ns: int
    width: int


@functools.cache
def library() -> Any:
    """The loaded library, a `ctypes.CDLL`.

    Raises:
        MemscError: it has not been built.
    """
    try:
        lib = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise MemscError("loading libmemsc", str(error), REINSTALL) from error
    for name in ("memsc_version", "memsc_region_path"):
        getattr(lib, name).restype = ctypes.c_char_p
    for name in ("memsc_name_of", "memsc_reason_of", "memsc_exception_of"):
        getattr(lib, name).restype = ctypes.c_char_p
        getattr(lib, name).argtypes = [ctypes.c_long]
    lib.memsc_missed_of.restype = ctypes.c_char_p
    lib.memsc_missed_of.argtypes = [ctypes.c_uint32]
    lib.memsc_clock_cycles.restype = ctypes.c_uint64
    lib.memsc_call.argtypes = [ctypes.c_long, ctypes.POINTER(_Args), ctypes.c_void_p]
    lib.memsc_add.argtypes = [ctypes.c_long, ctypes.POINTER(_Args)]
    lib.memsc_retval.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return lib


def _checked(what: str, status: int) -> int:
    """Turn -errno into OSError; the header says what each means."""
    if status < 0:
        raise OSError(-status, f"{what}: {os.strerror(-status)} ({errno.errorcode[-status]})")
    return status


# ---- names ----


@functools.cache
def syscall_name(number: int) -> str:
    """Name of a system call; `#512` for a number that the build did not know."""
    name: bytes | None = library().memsc_name_of(number)
    return name.decode() if name else f"#{number}"


@functools.cache
def syscall_number(name: str) -> int:
    """Number of a system call on this machine.

    Raises:
        KeyError: there is none of that name.
    """
    for number in range(512):
        if syscall_name(number) == name:
            return number
    raise KeyError(name)


def local_reason(number: int) -> str | None:
    """Why a system call stays on the caller, None if it is forwarded."""
    reason: bytes | None = library().memsc_reason_of(number)
    return reason.decode() if reason else None


def exception(number: int) -> str | None:
    """Why some calls of one that is forwarded stay on the caller, by their arguments."""
    reason: bytes | None = library().memsc_exception_of(number)
    return reason.decode() if reason else None


def missed_reason(number: int) -> str | None:
    """Why calls were not forwarded that could have been, by where a region counts them."""
    reason: bytes | None = library().memsc_missed_of(number)
    return reason.decode() if reason else None


def version() -> str:
    """Version of the library."""
    text: bytes = library().memsc_version()
    return text.decode()


# ---- the direct API, for the calling thread ----


def start() -> None:
    """Start region and service as the MEMSC_* environment of this process says.

    Raises:
        OSError: as `memsc_start` in memsc.h.
    """
    # Python's os.environ reaches the C environment by putenv, which the library reads.
    _checked("memsc_start", library().memsc_start(None))


def stop() -> None:
    """End the service; every thread must have unregistered."""
    _checked("memsc_stop", library().memsc_stop())


def register() -> None:
    """Give the calling thread a syspage."""
    _checked("memsc_register", library().memsc_register())


def unregister() -> None:
    """Give it back."""
    _checked("memsc_unregister", library().memsc_unregister())


def call(number: int, *args: int) -> int:
    """Execute one system call and wait; the kernel's value or -errno."""
    result = ctypes.c_long()
    _checked(
        "memsc_call", library().memsc_call(number, ctypes.byref(_Args(*args)), ctypes.byref(result))
    )
    return result.value


def add(number: int, *args: int) -> int:
    """Post one; its index among the calls in flight."""
    return _checked("memsc_add", library().memsc_add(number, ctypes.byref(_Args(*args))))


def ready(index: int) -> bool:
    """Whether its result is there."""
    return _checked("memsc_ready", library().memsc_ready(index)) == 1


def retval(index: int) -> int:
    """Take its result and free the entry."""
    result = ctypes.c_long()
    _checked("memsc_retval", library().memsc_retval(index, ctypes.byref(result)))
    return result.value


def wait_any() -> int:
    """Wait for one; its index."""
    return _checked("memsc_wait_any", library().memsc_wait_any())


def wait_all() -> int:
    """Wait for all; how many results wait to be taken."""
    return _checked("memsc_wait_all", library().memsc_wait_all())


def region_path() -> Path | None:
    """This process's region file, None if it has none."""
    path: bytes = library().memsc_region_path()
    return Path(os.fsdecode(path)) if path else None


# ---- the clock ----


def clock_sample() -> ClockSample:
    """One reading of CLOCK_MONOTONIC between two of the cycle counter."""
    sample = ClockSample()
    _checked("clock_gettime", library().memsc_clock_sample(ctypes.byref(sample)))
    return sample


@dataclass(frozen=True)
class Step:
    """By how much the counter moves at a time: in cycles, and about so many nanoseconds."""

    cycles: int
    ns: float


def counter_step(readings: int = 1000) -> Step:
    """Find out from readings: a counter may say that it counts ns, and count forty at a time."""
    first = clock_sample()
    start = clock_cycles()
    cycles = math.gcd(*(clock_cycles() - start for _ in range(readings)))
    last = clock_sample()
    return Step(cycles, cycles * (last.ns - first.ns) / (last.cycles - first.cycles))


@dataclass(frozen=True)
class Skew:
    """Bounds of one CPU's counter minus another's, in cycles."""

    low: int
    high: int

    @property
    def bound(self) -> int:
        """The counters are at most so far apart, in cycles."""
        return max(abs(self.low), abs(self.high))


def clock_skew(here: int, there: int, trips: int = 20000) -> Skew:
    """Bound the skew of two CPUs' counters by passing a cache line to and fro.

    Raises:
        OSError: this process may not run on one of them.
    """
    low, high = ctypes.c_int64(), ctypes.c_int64()
    _checked(
        "memsc_clock_skew",
        library().memsc_clock_skew(here, there, trips, ctypes.byref(low), ctypes.byref(high)),
    )
    return Skew(low.value, high.value)


def clock_cycles() -> int:
    """The cycle counter now."""
    return int(library().memsc_clock_cycles())
