# SPDX-License-Identifier: MIT
"""The one place that touches BCC, which has no types: it compiles, and that is all.

Privileged side; standard library and bcc. BCC and LLVM abort where they meet what they do not
expect, so this is done in a child (`memsc.tracer.helper.loading.apart`).
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.loading.headers import INSTALL
from memsc.tracer.helper.loading.objects import Map, Object, renumbered

FITTING = f"install headers that fit the compiler: {INSTALL}"
_INSTALL = "install Debian's python3-bpfcc (apt install python3-bpfcc) for /usr/bin/python3"


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


def identity() -> str:
    """Which BCC it is, without loading it: what it says its version is, and when it came here.

    Raises:
        MemscError: it is missing.
    """
    found = importlib.util.find_spec("bcc")
    if found is None or found.origin is None:
        raise MemscError("attaching probes", "BCC is not there", _INSTALL)
    file = Path(found.origin).with_name("version.py")
    try:
        status = file.stat()
        return f"{file} {status.st_size} {status.st_mtime_ns} {file.read_text(encoding='utf-8')}"
    except OSError as error:
        raise MemscError("attaching probes", f"BCC is not whole ({error})", _INSTALL) from error


def _nothing(_: object) -> None:
    pass


def compile_text(text: str) -> Object:
    """Compile BPF C.

    Raises:
        MemscError: BCC is missing, or the text does not compile with the headers there are.
    """
    try:
        bcc: Any = importlib.import_module("bcc")
    except ImportError as error:
        raise MemscError("attaching probes", f"BCC is not there ({error})", _INSTALL) from error
    # Otherwise it attaches at once whatever has a name that it knows.
    passive = type("Passive", (bcc.BPF,), {"_trace_autoload": _nothing})
    lines: list[str] = []
    # Headers of Linux 6.19 and newer use a Microsoft extension, which must be asked for.
    for flags in (["-w"], ["-w", "-fms-extensions"]):
        try:
            with _stderr_into(lines):
                compiled = passive(text=text, cflags=flags)
        except Exception as error:
            lines.append(str(error))
        else:
            return _taken_out(bcc.lib, ctypes.c_void_p(compiled.module))
    raise MemscError(
        "attaching probes",
        f"BCC cannot compile them: {_first_error(lines, 'no reason given')}",
        FITTING,
    )


def _taken_out(library: Any, module: ctypes.c_void_p) -> Object:
    """What BCC has made; it has made the maps, too, and put their descriptors into the programs."""
    for name in ("bpf_table_name", "bpf_function_name"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.bpf_num_tables.restype = ctypes.c_size_t
    maps: dict[str, Map] = {}
    places: dict[int, int] = {}
    for place in range(library.bpf_num_tables(module)):
        name = library.bpf_table_name(module, place)
        descriptor = library.bpf_table_fd(module, name)
        maps[name.decode()] = _described(descriptor)
        places[descriptor] = place
    programs: dict[str, bytes] = {}
    for number in range(library.bpf_num_functions(module)):
        name = library.bpf_function_name(module, number)
        start = library.bpf_function_start(module, name)
        code = ctypes.string_at(start, library.bpf_function_size(module, name))
        programs[name.decode()] = renumbered(code, places)
    return Object(maps, programs)


def _described(descriptor: int) -> Map:
    """What the kernel says a map is."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(":\t") for line in lines if ":\t" in line)
    names = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
    return Map(*(int(said[name], 0) for name in names))
