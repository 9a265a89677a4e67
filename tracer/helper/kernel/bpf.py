# SPDX-License-Identifier: MIT
"""The few system calls with which a feature of the kernel is tried; glibc wraps none of them.

Every function raises OSError with the kernel's errno when it refuses. Descriptors are the caller's
to close.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

BPF, PERF_EVENT_OPEN, IO_URING_SETUP = range(3)
_NUMBERS = {
    "x86_64": (321, 298, 425),
    "aarch64": (280, 241, 425),
}

# enum bpf_cmd, bpf_map_type, bpf_prog_type, bpf_attach_type of linux/bpf.h
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD = 0, 1, 2, 3, 5
_RAW_TRACEPOINT_OPEN, _ENABLE_STATS = 17, 32
_RINGBUF = 27
KPROBE, TRACEPOINT, PERF_EVENT, RAW_TRACEPOINT, TRACING = 2, 5, 7, 17, 26
_FENTRY = 24
_ATTACH_BTF_ID = 108  # its offset in the attributes of _PROG_LOAD
_PROG_ATTRIBUTES = 120
_TYPES = Path("/sys/kernel/btf/vmlinux")  # what libbpf reads, first of several
_NAME = 15  # bytes of an object's name that the kernel keeps
_LOG = 1 << 24  # the verifier tells of each instruction, so often as it meets it

# A record of a ring buffer: its length with two flags, and 4 bytes more, before what was written.
RECORD_BUSY, RECORD_DISCARDED = 1 << 31, 1 << 30
RECORD_HEADER = 8

_SQPOLL = 1 << 1  # linux/io_uring.h

# r0 = 0; exit
_RETURN_ZERO = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def system_call(which: int, *args: object) -> int:
    """Make the system call BPF, PERF_EVENT_OPEN or IO_URING_SETUP; returns its result."""
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, f"memsc does not know the system calls of {platform.machine()}")
    result = _libc.syscall(ctypes.c_long(numbers[which]), *args)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return system_call(BPF, ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))


def make_ring_buffer() -> int:
    """Make the smallest BPF ring buffer; returns its descriptor."""
    return make_map(_RINGBUF, 0, 0, mmap.PAGESIZE)


def make_map(
    kind: int, key: int, value: int, entries: int, flags: int = 0, *, name: str = ""
) -> int:
    """Make a map; returns its descriptor.

    Args:
        kind: enum bpf_map_type.
        key: bytes of a key.
        value: bytes of a value.
        entries: how many; bytes of a ring buffer.
        flags: BPF_F_….
        name: for who lists maps; cut to what the kernel keeps.
    """
    attributes = struct.pack("<IIIIIII", kind, key, value, entries, flags, 0, 0)
    attributes += name.encode()[:_NAME].ljust(_NAME + 1, b"\0")
    try:
        return _bpf(_MAP_CREATE, attributes)
    except PermissionError:
        # Before Linux 5.11 maps count as locked memory.
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
        except (OSError, ValueError):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from None
        return _bpf(_MAP_CREATE, attributes)


def account_programs() -> int:
    """Have the kernel take account of every BPF program's time while the descriptor is open."""
    return _bpf(_ENABLE_STATS, struct.pack("<I", 0))


def look_up(table: int, key: int, size: int) -> bytes | None:
    """An element of a map by its 32-bit key; None if it is not there.

    Args:
        table: the map's descriptor.
        key: the element's.
        size: bytes of its value.
    """
    place, value = ctypes.c_uint32(key), ctypes.create_string_buffer(size)
    try:
        _bpf(_MAP_LOOKUP, _element(table, place, value))
    except FileNotFoundError:
        return None
    return value.raw


def put(table: int, key: int, number: int, size: int) -> None:
    """Set an element of a map by its 32-bit key to a number.

    Args:
        table: the map's descriptor.
        key: the element's.
        number: what it becomes.
        size: bytes of its value, at least as many as the number needs.
    """
    place = ctypes.c_uint32(key)
    value = ctypes.create_string_buffer(number.to_bytes(size, sys.byteorder, signed=True), size)
    _bpf(_MAP_UPDATE, _element(table, place, value))


def forget(table: int, key: int) -> None:
    """Delete an element of a map by its 32-bit key, if it is there."""
    place = ctypes.c_uint32(key)
    with suppress(FileNotFoundError):
        _bpf(_MAP_DELETE, _element(table, place, None))


def _element(table: int, key: ctypes.c_uint32, value: Any) -> bytes:
    where = ctypes.addressof(value) if value is not None else 0
    return struct.pack("<IIQQQ", table, 0, ctypes.addressof(key), where, 0)


def load_program(kind: int, btf_id: int = 0, code: bytes = _RETURN_ZERO, name: str = "") -> int:
    """Load a program; returns its descriptor.

    Args:
        kind: one of those above; TRACING: entry of the kernel function btf_id.
        btf_id: the function's number in the kernel's type information.
        code: its instructions, which name maps by their descriptors; without any it returns 0.
        name: for who lists programs; cut to what the kernel keeps.

    Raises:
        OSError: the kernel refused it; the text is the verifier's, where it says something.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = bytearray(_PROG_ATTRIBUTES)
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    struct.pack_into("<IIQQ", attributes, 0, kind, len(code) // 8, *places)
    struct.pack_into(f"{_NAME}s", attributes, 48, name.encode())
    if kind == TRACING:
        struct.pack_into("<I", attributes, 68, _FENTRY)
        struct.pack_into("<I", attributes, _ATTACH_BTF_ID, btf_id)
    try:
        return _bpf(_PROG_LOAD, bytes(attributes))
    except OSError as error:
        said = _verdict(attributes)
        raise OSError(error.errno, said or error.strerror) from error


def _verdict(attributes: bytearray) -> str:
    """What the verifier says last of a program that was refused; empty if it was not asked."""
    log = ctypes.create_string_buffer(_LOG)
    struct.pack_into("<IIQ", attributes, 24, 1, len(log), ctypes.addressof(log))
    with suppress(OSError):
        os.close(_bpf(_PROG_LOAD, bytes(attributes)))
    lines = log.value.decode(errors="replace").splitlines()
    return next((line for line in reversed(lines) if not line.startswith("processed ")), "")


def attach_raw(program: int, event: str | None) -> int:
    """Attach a program to a raw tracepoint, or to the function it was loaded for (None)."""
    name = ctypes.create_string_buffer((event or "").encode())
    address = ctypes.addressof(name) if event else 0
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QII", address, program, 0))


def libbpf() -> Any:
    """The library libbpf, which says nothing of its own on standard error.

    Raises:
        OSError: ENOSYS without it; it comes with BCC.
    """
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise OSError(errno.ENOSYS, "libbpf.so.1 is not installed") from error
    lib.libbpf_set_print(None)
    return lib


def function_id(name: str) -> int:
    """A kernel function's number in the kernel's type information.

    Raises:
        OSError: ENOENT if the kernel has no such function or no such information; ENOSYS without
            libbpf, which comes with BCC.
    """
    found = libbpf().libbpf_find_vmlinux_btf_id(name.encode(), _FENTRY)
    if found < 0:
        if not _TYPES.exists():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(_TYPES))
        raise OSError(-found, os.strerror(-found))
    return int(found)


def make_polled_ring() -> int:
    """Make an io_uring whose kernel thread polls; returns its descriptor."""
    parameters = bytearray(120)
    struct.pack_into("<III", parameters, 8, _SQPOLL, 0, 1)  # flags, CPU, idle milliseconds
    buffer = ctypes.create_string_buffer(bytes(parameters), len(parameters))
    return system_call(IO_URING_SETUP, ctypes.c_uint(1), buffer)
