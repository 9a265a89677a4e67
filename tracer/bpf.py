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

from memsc.runtime.errors import MemscError

# As linux/bpf.h numbers program types.
_TRACEPOINT = 5
_RAW_TRACEPOINT = 17

_INSTALL = "install Debian's python3-bpfcc (apt install python3-bpfcc) for /usr/bin/python3"


class _Function(Protocol):
    fd: int


class _Table(Protocol):
    def get_fd(self) -> int: ...
    def __setitem__(self, key: ctypes.c_uint32, value: ctypes.c_int64) -> None: ...
    def __delitem__(self, key: ctypes.c_uint32) -> None: ...


class _Bpf(Protocol):
    def load_func(self, func_name: bytes, prog_type: int) -> _Function: ...
    def __getitem__(self, key: bytes) -> _Table: ...


class _Library(Protocol):
    def bpf_attach_tracepoint(self, fd: int, category: bytes, event: bytes) -> int: ...
    def bpf_attach_raw_tracepoint(self, fd: int, event: bytes) -> int: ...
    def bpf_close_perf_event_fd(self, fd: int) -> int: ...


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
    """One program on its tracepoint, until closed or until the process ends."""

    def __init__(self, library: _Library, fd: int, raw: bool) -> None:
        self._library = library
        self._fd = fd
        self._raw = raw

    def close(self) -> None:
        """Detach."""
        if self._fd < 0:
            return
        if self._raw:
            os.close(self._fd)
        else:
            self._library.bpf_close_perf_event_fd(self._fd)
        self._fd = -1


class Program:
    """One verified program."""

    def __init__(self, library: _Library, fd: int, raw: bool) -> None:
        self._library = library
        self._fd = fd
        self._raw = raw

    def attach(self, tracepoint: str) -> Attachment:
        """Attach to `category:event`.

        Raises:
            OSError: the kernel refused.
        """
        category, event = tracepoint.encode().split(b":")
        lines: list[str] = []
        ctypes.set_errno(0)
        with _stderr_into(lines):
            if self._raw:
                fd = self._library.bpf_attach_raw_tracepoint(self._fd, event)
            else:
                fd = self._library.bpf_attach_tracepoint(self._fd, category, event)
        if fd < 0:
            raise OSError(ctypes.get_errno(), _first_error(lines, "the kernel refused"), tracepoint)
        return Attachment(self._library, fd, self._raw)

    def misses(self) -> int | None:
        """Hits the kernel skipped because the CPU was inside a BPF program; None if not told."""
        with suppress(OSError):
            for line in Path(f"/proc/self/fdinfo/{self._fd}").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "recursion_misses":
                    return int(value)
        return None


class Compiled:
    """A compiled text: its maps, and its programs once loaded."""

    def __init__(self, bpf: _Bpf, library: _Library) -> None:
        self._bpf = bpf
        self._library = library

    def program(self, name: str, raw: bool) -> Program:
        """Load one program.

        Raises:
            OSError: the verifier or the kernel refused it.
        """
        lines: list[str] = []
        try:
            with _stderr_into(lines):
                kind = _RAW_TRACEPOINT if raw else _TRACEPOINT
                fd = self._bpf.load_func(name.encode(), kind).fd
        # BCC raises nothing more precise.
        except Exception as error:
            raise OSError(0, _first_error(lines, str(error)), name) from error
        return Program(self._library, fd, raw)

    def descriptor(self, table: str) -> int:
        """The map's file descriptor; stays BCC's."""
        return self._bpf[table.encode()].get_fd()

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


def compile_text(text: str) -> Compiled:
    """Compile BPF C.

    Raises:
        MemscError: BCC is missing, or the text does not compile with the headers there are.
    """
    bcc = _bcc()
    lines: list[str] = []
    # Headers of Linux 6.19 and newer use a Microsoft extension, which must be asked for.
    for flags in (["-w"], ["-w", "-fms-extensions"]):
        try:
            with _stderr_into(lines):
                bpf = bcc.BPF(text=text, cflags=flags)
        except Exception as error:
            lines.append(str(error))
        else:
            return Compiled(cast("_Bpf", bpf), cast("_Library", bcc.lib))
    raise MemscError(
        "attaching probes",
        f"BCC cannot compile them: {_first_error(lines, 'no reason given')}",
        "install headers that fit the compiler: apt install linux-headers-amd64",
    )
