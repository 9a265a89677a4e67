# SPDX-License-Identifier: MIT
"""Whether a program can be carried, found out before it is started."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path

from memsc.runtime.errors import MemscError

_ELF64_LITTLE = b"\x7fELF\x02\x01"
_ELF32 = b"\x7fELF\x01"
_ELF = b"\x7fELF"
_ELF_HEADER = 64  # bytes
_INTERPRETER = 3  # PT_INTERP
_MACHINES = {62: "x86_64", 183: "aarch64"}
_DEPTH = 5  # the kernel's limit of interpreters that are scripts themselves

_DIRECTLY = "run it directly, or with `--transport direct`"


class Looked:
    """What a check has looked at, so that its outcome can be believed as long as nothing changes.

    Attributes:
        names: programs looked up as the shell does, with the status of the file that was found.
        files: other files with their status.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.files: dict[str, str] = {}


def status_of(path: str) -> str:
    """What tells a file from any other, and from itself before a change; see runtime/front."""
    status = os.stat(path)  # noqa: PTH116 - the path as it was given
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_ctime_ns}"


def resolve(name: str, looked: Looked | None = None) -> str:
    """Find a program as the shell would.

    Args:
        name: as for the shell.
        looked: gets what the outcome depends on.

    Returns:
        Its path, as the shell would execute it.

    Raises:
        MemscError: there is none, or it may not be executed.
    """
    found = shutil.which(name)
    if found is not None:
        if looked is not None:
            looked.names[name] = status_of(found)
        return found
    if "/" not in name:
        raise MemscError(
            name or "''", "there is no such program on PATH", "check its name, or give its path"
        )
    try:
        status = Path(name).stat()
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise MemscError(name, why or "it cannot be reached", "check its path") from error
    if stat.S_ISDIR(status.st_mode):
        raise MemscError(name, "it is a folder", "name the program in it")
    raise MemscError(name, "it may not be executed", f"`chmod +x {name}` if it is a program")


def check(name: str, looked: Looked | None = None) -> str:
    """Find a program and make sure that the C-library layer can carry it.

    Scripts are judged by their interpreter.

    Args:
        name: as for the shell.
        looked: gets what the outcome depends on.

    Returns:
        Path of the program, as `resolve`.

    Raises:
        MemscError: it cannot be found, executed or carried; the reason and what to do.
    """
    looked = Looked() if looked is None else looked
    path = resolve(name, looked)
    _check(name, Path(path), _DEPTH, looked)
    return path


def _check(name: str, path: Path, depth: int, looked: Looked) -> None:
    _check_privileges(name, path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except PermissionError:
        return  # it may be executed but not read: carried, if it is a program like others
    if head.startswith(b"#!"):
        _check_script(name, head, depth, looked)
    elif head.startswith(_ELF32):
        raise MemscError(name, "it is a 32-bit program", _DIRECTLY)
    elif head.startswith(_ELF64_LITTLE):
        _check_elf(name, path, head, looked)
    elif head.startswith(_ELF):
        raise MemscError(name, "it is a program for another machine", "run it where it belongs")
    elif not head:
        raise MemscError(name, "the file is empty", "check its path")
    else:
        remedy = "check its path; a script names its interpreter on its first line, as in #!/bin/sh"
        raise MemscError(name, "it is neither a program nor a script", remedy)


def _check_privileges(name: str, path: Path) -> None:
    """A program that gains privileges is given no library by the loader."""
    status = path.stat()
    if status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid():
        raise MemscError(name, "it is set-uid, and may not be given a library", _DIRECTLY)
    if status.st_mode & stat.S_ISGID and status.st_gid != os.getegid():
        raise MemscError(name, "it is set-gid, and may not be given a library", _DIRECTLY)
    if os.geteuid() != 0:  # root gains nothing by them
        try:
            os.getxattr(path, "security.capability")
        except OSError:
            return
        raise MemscError(name, "it has capabilities, and may not be given a library", _DIRECTLY)


def _check_script(name: str, head: bytes, depth: int, looked: Looked) -> None:
    words = head[2:].split(b"\n", 1)[0].split()
    if not words:
        raise MemscError(name, "its first line names no interpreter", "write one behind #!")
    interpreter = os.fsdecode(words[0])
    if not Path(interpreter).exists():
        raise MemscError(name, f"its interpreter {interpreter} is missing", "install it")
    if depth == 0:
        raise MemscError(name, "its interpreters are scripts without end", "check its first line")
    target = interpreter
    if Path(interpreter).name == "env":
        operands = [os.fsdecode(word) for word in words[1:] if not word.startswith(b"-")]
        target = next((word for word in operands if "=" not in word), interpreter)
    looked.files[interpreter] = status_of(interpreter)
    _check(name, Path(resolve(target, looked)), depth - 1, looked)


def _check_elf(name: str, path: Path, head: bytes, looked: Looked) -> None:
    if len(head) < _ELF_HEADER:
        raise MemscError(name, "it is a damaged program", "build or install it again")
    machine = _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "another machine")
    if machine != os.uname().machine:
        raise MemscError(name, f"it is a program for {machine}", "run it where it belongs")
    try:
        loader = _loader(path, head)
    except (OSError, OverflowError, ValueError) as error:  # offsets that no file has
        raise MemscError(name, "it is a damaged program", "build or install it again") from error
    if loader is None and path.name.startswith("ld-linux"):
        return  # the loader itself, with a program to load: it loads the layer, too
    if loader is None:
        raise MemscError(name, "it is linked statically, and loads no library", _DIRECTLY)
    if "ld-linux" not in loader:
        raise MemscError(name, f"its C library is not glibc ({loader})", _DIRECTLY)
    if not Path(loader).exists():
        raise MemscError(name, f"its loader {loader} is missing", "install its C library")
    looked.files[loader] = status_of(loader)


def _loader(path: Path, head: bytes) -> str | None:
    offset, size, count = (
        struct.unpack_from(kind, head, at)[0] for kind, at in (("<Q", 32), ("<H", 54), ("<H", 56))
    )
    with path.open("rb") as file:
        file.seek(offset)
        table = file.read(size * count)
        for start in range(0, len(table) - 55, size or 56):
            kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", table, start)
            if kind == _INTERPRETER:
                file.seek(at)
                return file.read(min(length, 4096)).rstrip(b"\0").decode(errors="replace")
    return None
