# SPDX-License-Identifier: MIT
"""Perf events, by the system call itself: counters, samples, and what BPF programs hang on.

Every function raises OSError with the kernel's errno when it refuses. Descriptors are the caller's
to close. Standard library only.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import fcntl
import mmap
import os
import struct
from pathlib import Path

from memsc.runtime.topology import parse_cpus
from memsc.tracer.helper.kernel.bpf import PERF_EVENT_OPEN, system_call

HARDWARE, SOFTWARE, TRACEPOINT, HARDWARE_CACHE = 0, 1, 2, 3
SOFTWARE_CPU_CLOCK, SOFTWARE_CONTEXT_SWITCHES, SOFTWARE_DUMMY = 0, 3, 9

_SIZE = 136  # PERF_ATTR_SIZE_VER8; a kernel that knows less takes zeros it does not know
_CLOEXEC = 1 << 3

ENABLE, SET_BPF = 0x2400, 0x40042408

_USER_RDPMC = 1 << 2  # cap_user_rdpmc in the capabilities of the mapped page
_CAPABILITIES = 40  # their offset


class Flag(enum.IntFlag):
    """Bits of struct perf_event_attr."""

    DISABLED = 1 << 0
    INHERIT = 1 << 1
    EXCLUDE_KERNEL = 1 << 5
    EXCLUDE_HV = 1 << 6
    MMAP = 1 << 8
    COMM = 1 << 9
    FREQUENCY = 1 << 10
    ENABLE_ON_EXEC = 1 << 12
    TASK = 1 << 13
    WATERMARK = 1 << 14
    SAMPLE_ID_ALL = 1 << 18
    MMAP2 = 1 << 23
    COMM_EXEC = 1 << 24
    USE_CLOCKID = 1 << 25


def open_event(
    kind: int,
    config: int = 0,
    *,
    pid: int = 0,
    cpu: int = -1,
    flags: Flag = Flag.DISABLED,
    where: bytes | None = None,
    offset: int = 0,
    period: int = 0,
    sample_type: int = 0,
    read_format: int = 0,
    group: int = -1,
    wakeup: int = 0,
) -> int:
    """Open a perf event; returns its descriptor.

    Args:
        kind: one of the types above, or a number from /sys/bus/event_source/devices/*/type.
        config: as the kind wants it.
        pid: thread it is about; 0 is the caller, -1 every thread.
        cpu: the only CPU it counts on; -1 is any.
        flags: its bits.
        where: kernel function of a kprobe or file of a uprobe.
        offset: place within it, in bytes.
        period: events per sample, or samples per second with Flag.FREQUENCY.
        sample_type: fields of a sample, and of every record with Flag.SAMPLE_ID_ALL.
        read_format: what reading it gives beside its value.
        wakeup: after so many samples who polls the descriptor is woken, or with Flag.WATERMARK
            after so many bytes; 0: as the ring fills.
        group: descriptor of the event with which it is counted or not counted; -1 for none.
    """
    name = ctypes.create_string_buffer(where or b"")
    attributes = bytearray(_SIZE)
    head = (kind, _SIZE, config, period, sample_type, read_format, flags)
    struct.pack_into("<IIQQQQQ", attributes, 0, *head)
    struct.pack_into("<I", attributes, 48, wakeup)
    struct.pack_into("<QQ", attributes, 56, ctypes.addressof(name) if where else 0, offset)
    if flags & Flag.USE_CLOCKID:
        struct.pack_into("<i", attributes, 92, 1)  # CLOCK_MONOTONIC
    buffer = ctypes.create_string_buffer(bytes(attributes), len(attributes))
    return system_call(
        PERF_EVENT_OPEN,
        buffer,
        ctypes.c_int(pid),
        ctypes.c_int(cpu),
        ctypes.c_int(group),
        ctypes.c_ulong(_CLOEXEC),
    )


def kind_of(device: str) -> int:
    """Number of a dynamic perf device, such as `kprobe` and `uprobe`.

    Raises:
        OSError: ENOENT if the kernel has none, or does not show any.
    """
    devices = Path("/sys/bus/event_source/devices")
    try:
        return int((devices / device / "type").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not devices.is_dir():
            raise
        raise OSError(errno.ENOENT, f"{device}s are not built in") from error


def attach(event: int, program: int) -> None:
    """Have a BPF program run at each occurrence of an event, from now on."""
    fcntl.ioctl(event, SET_BPF, program)
    fcntl.ioctl(event, ENABLE, 0)


def readable_from_user(event: int) -> bool:
    """Whether the rdpmc instruction may read this counter, by the kernel's own word."""
    with mmap.mmap(event, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as page:
        return bool(struct.unpack_from("<Q", page, _CAPABILITIES)[0] & _USER_RDPMC)


def open_uprobe(file: Path, offset: int, semaphore: int = 0) -> int:
    """A uprobe on a file, in whatever process maps it; returns its descriptor.

    Args:
        file: an executable or a library.
        offset: of the instruction, in bytes.
        semaphore: of a 16-bit counter that the kernel keeps while the probe is there; 0: none.
    """
    return open_event(
        kind_of("uprobe"),
        semaphore << 32,
        pid=-1,
        cpu=0,  # any one: a uprobe's program runs on all of them
        where=os.fsencode(file),
        offset=offset,
    )


def open_kprobe(function: str) -> int:
    """A kprobe at the entry of a kernel function; returns its descriptor."""
    return open_event(kind_of("kprobe"), pid=-1, cpu=0, where=function.encode())


def open_tracepoint(number: int) -> int:
    """A tracepoint, on every CPU for a program that is attached; returns its descriptor."""
    return open_event(TRACEPOINT, number, pid=-1, cpu=0)


def count_switches(cpu: int) -> int:
    """Count a CPU's context switches from now on; returns a descriptor that reads as 64 bits."""
    return open_event(SOFTWARE, SOFTWARE_CONTEXT_SWITCHES, pid=-1, cpu=cpu, flags=Flag(0))


def online_cpus() -> list[int]:
    """The CPUs that run now."""
    return sorted(parse_cpus(Path("/sys/devices/system/cpu/online").read_text(encoding="utf-8")))


def open_samples(event: str, hertz: int, cpu: int) -> int:
    """Samples of whatever a CPU runs; returns the descriptor.

    Args:
        event: `cycles`, which needs a PMU, or `cpu-clock`, a timer.
        hertz: samples per second.
        cpu: which.
    """
    kind, config = {"cycles": (HARDWARE, 0), "cpu-clock": (SOFTWARE, SOFTWARE_CPU_CLOCK)}[event]
    flags = Flag.DISABLED | Flag.FREQUENCY
    return open_event(kind, config, pid=-1, cpu=cpu, flags=flags, period=hertz)
