# SPDX-License-Identifier: MIT
"""The one place that touches BCC, which has no types. Privileged side; standard library and bcc."""

from __future__ import annotations

import ctypes
import importlib
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, cast

from memsc.probes.declaration import Way
from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel import bpf, perf

# As linux/bpf.h numbers program types.
_TYPES: dict[Way, int] = {
    "tracepoint": 5,
    "raw": 17,
    "kprobe": 2,
    "usdt": 2,
    "sample": 7,
}

FITTING = "install headers that fit the compiler: apt install linux-headers-amd64"
_INSTALL = "install Debian's python3-bpfcc (apt install python3-bpfcc) for /usr/bin/python3"


class _Function(Protocol):
    fd: int


class _Table(Protocol):
    def __setitem__(self, key: ctypes.c_uint32, value: ctypes.c_int64) -> None: ...
    def __delitem__(self, key: ctypes.c_uint32) -> None: ...


class _Bpf(Protocol):
    module: int

    def load_func(self, func_name: bytes, prog_type: int) -> _Function: ...
    def __getitem__(self, key: bytes) -> _Table: ...


class _Library(Protocol):
    def bpf_attach_tracepoint(self, fd: int, category: bytes, event: bytes) -> int: ...
    def bpf_attach_raw_tracepoint(self, fd: int, event: bytes) -> int: ...
    def bpf_function_start(self, module: int, name: bytes) -> int: ...
    def bpf_function_size(self, module: int, name: bytes) -> int: ...
    def bpf_table_fd(self, module: int, name: bytes) -> int: ...


@contextmanager
def _stderr_into(lines: list[str]) -> Generator[None]:
    """Append what C code writes to standard error to lines."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def _first_error(lines: Sequence[str], fallback: str) -> str:
    errors = (line for line in lines if "error:" in line)
    return next(errors, next((line for line in reversed(lines) if line.strip()), fallback))


class Attachment:
    """One program where it sits, until closed or until the process ends."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    def close(self) -> None:
        """Detach."""
        while self._descriptors:
            os.close(self._descriptors.pop())


class Program:
    """One verified program."""

    def __init__(self, library: _Library, fd: int, way: Way) -> None:
        self._library = library
        self._fd = fd
        self._way = way

    def attach(self, place: str) -> Attachment:
        """Attach to a tracepoint `category:event`, raw or not, or to a kernel function's entry.

        Raises:
            OSError: the kernel refused.
        """
        if self._way == "kprobe":
            return self.attach_events([perf.open_kprobe(place)])
        if self._way == "fentry":  # the function is in the program
            return Attachment([bpf.attach_raw(self._fd, None)])
        category, _, event = place.encode().partition(b":")
        lines: list[str] = []
        ctypes.set_errno(0)
        with _stderr_into(lines):
            if self._way == "raw":
                fd = self._library.bpf_attach_raw_tracepoint(self._fd, event)
            else:
                fd = self._library.bpf_attach_tracepoint(self._fd, category, event)
        if fd < 0:
            raise OSError(ctypes.get_errno(), _first_error(lines, "the kernel refused"), place)
        return Attachment([fd])

    def attach_events(self, events: Sequence[int]) -> Attachment:
        """Attach to perf events, which are closed with the attachment.

        Raises:
            OSError: the kernel refused; the events are closed.
        """
        attachment = Attachment(events)
        try:
            for event in events:
                perf.attach(event, self._fd)
        except OSError:
            attachment.close()
            raise
        return attachment

    def misses(self) -> int | None:
        """Hits the kernel skipped because the CPU was inside a BPF program; None if not told."""
        return self._told().get("recursion_misses")

    def cost(self) -> tuple[int, int]:
        """Nanoseconds in it and how often it ran, as far as the kernel took account."""
        told = self._told()
        return told.get("run_time_ns", 0), told.get("run_cnt", 0)

    def _told(self) -> dict[str, int]:
        """What the kernel says of it in numbers."""
        try:
            lines = Path(f"/proc/self/fdinfo/{self._fd}").read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        pairs = (line.split(":") for line in lines if line.count(":") == 1)
        return {name: int(value) for name, value in pairs if value.strip().isdigit()}


class Compiled:
    """A compiled text: its maps, and its programs once loaded."""

    def __init__(self, bpf: _Bpf, library: _Library) -> None:
        self._bpf = bpf
        self._library = library

    def program(self, name: str, way: Way, place: str) -> Program:
        """Load one program.

        Args:
            name: of the C function.
            way: how it will be attached.
            place: where; an fentry program is loaded for this kernel function.

        Raises:
            OSError: the verifier or the kernel refused it.
        """
        lines: list[str] = []
        if way == "fentry":
            try:
                return Program(self._library, self._for_entry(name.encode(), place), way)
            except OSError as error:
                raise OSError(error.errno, error.strerror, name) from error
        try:
            with _stderr_into(lines):
                fd = self._bpf.load_func(name.encode(), _TYPES[way]).fd
        # BCC raises nothing more precise.
        except Exception as error:
            raise OSError(0, _first_error(lines, str(error)), name) from error
        return Program(self._library, fd, way)

    def _for_entry(self, name: bytes, function: str) -> int:
        """Loaded without BCC, which learns the function from a name, and releases differ in it."""
        start = self._library.bpf_function_start(self._bpf.module, name)
        size = self._library.bpf_function_size(self._bpf.module, name)
        return bpf.load_program(
            bpf.TRACING, bpf.function_id(function), ctypes.string_at(start, size)
        )

    def descriptor(self, table: str) -> int:
        """The map's file descriptor; stays BCC's."""
        # Not by BCC's table, which reads types that it describes wrongly: arrays in structures.
        return self._library.bpf_table_fd(self._bpf.module, table.encode())

    def put(self, table: str, key: int, value: int) -> None:
        """Set an element of a map of u32 to a 64-bit value.

        Raises:
            MemscError: the map is full.
        """
        try:
            self._bpf[table.encode()][ctypes.c_uint32(key)] = ctypes.c_int64(value)
        # BCC raises nothing more precise.
        except Exception as error:
            raise MemscError("telling a probe", str(error), "track fewer tasks") from error

    def remove(self, table: str, key: int) -> None:
        """Delete an element, if it is there."""
        with suppress(KeyError):
            del self._bpf[table.encode()][ctypes.c_uint32(key)]


def _bcc() -> Any:
    try:
        return importlib.import_module("bcc")
    except ImportError as error:
        raise MemscError("attaching probes", f"BCC is not there ({error})", _INSTALL) from error


def version() -> str:
    """BCC's own.

    Raises:
        MemscError: it is missing.
    """
    return str(getattr(_bcc(), "__version__", "unknown"))


def _nothing(_: object) -> None:
    pass


def compile_text(text: str) -> Compiled:
    """Compile BPF C.

    Raises:
        MemscError: BCC is missing, or the text does not compile with the headers there are.
    """
    bcc = _bcc()
    # Otherwise it attaches at once whatever has a name that it knows.
    passive = type("Passive", (bcc.BPF,), {"_trace_autoload": _nothing})
    lines: list[str] = []
    # Headers of Linux 6.19 and newer use a Microsoft extension, which must be asked for.
    for flags in (["-w"], ["-w", "-fms-extensions"]):
        try:
            with _stderr_into(lines):
                module = passive(text=text, cflags=flags)
        except Exception as error:
            lines.append(str(error))
        else:
            return Compiled(cast("_Bpf", module), cast("_Library", bcc.lib))
    raise MemscError(
        "attaching probes",
        f"BCC cannot compile them: {_first_error(lines, 'no reason given')}",
        FITTING,
    )
