# SPDX-License-Identifier: MIT
"""First file of the privileged helper: checks who could have written memsc, then imports it.

Run by path, as `/usr/bin/python3 -I -B -X pycache_prefix=/nonexistent …/tracer/helper/boot.py`,
with the session's socket as standard input. Nothing of memsc is imported before the check, and no
folder is added to sys.path. What memsc's sources compile to is kept where root alone may write, by
a hash of the source: docs/decisions/0002-privileged-helper.md.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # Python's own byte code lies where root alone may write; memsc's is never looked for.
    sys.pycache_prefix = None

import hashlib
import importlib
import marshal
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER, module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

NEEDED = ("probes", "runtime", "tracer")
SUFFIXES = (".py", ".c", ".h")
CODE = Path("/var/cache/memsc/code")
MOST_KEPT = 512
_HASH = hashlib.sha256().digest_size


def folders(root: Path) -> dict[str, Path]:
    """Where the sub-packages are that the helper needs: below root, or where links there lead."""
    return {name: (root / name).resolve() for name in NEEDED}


def _code(folders: Iterable[Path]) -> Iterator[Path]:
    """Whatever could become the helper's code: who may write one of these may run as root."""
    for top in folders:
        yield from (top, *top.parents)
        for folder, names, files in os.walk(top, onerror=_refuse):
            # Byte code is not read: that is what pycache_prefix is for.
            names[:] = [name for name in names if name != "__pycache__"]
            code = [name for name in files if name.endswith(SUFFIXES)]
            yield from (Path(folder, name) for name in (*names, *code))


def _refuse(error: OSError) -> NoReturn:
    raise error


def unsafe(folders: Iterable[Path], user: int) -> str | None:
    """Why code in these folders must not run as root for user, or None if it may.

    Args:
        folders: the sub-packages, resolved.
        user: the user who asks; he and root may own the code, nobody else may write it.

    Raises:
        OSError: one of them is missing.
    """
    for path in _code(folders):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"{path} is a link"
        if status.st_uid not in (0, user):
            return f"{path} belongs to user {status.st_uid}"
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & 0o022 and not sticky:
            return f"others may write to {path} (chmod go-w)"
    return None


def believed(file: Path) -> bytes | None:
    """What `keep` wrote there; None if it is not there, not this user's alone, or not whole."""
    with suppress(OSError), file.open("rb") as kept:
        for status in (os.fstat(kept.fileno()), file.parent.lstat(), file.parents[1].lstat()):
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
        sum_, content = kept.read(_HASH), kept.read()
        return content if hashlib.sha256(content).digest() == sum_ else None
    return None


def keep(file: Path, content: bytes, alike: str = "*", most: int = MOST_KEPT) -> None:
    """Write it, as a whole or not at all, and forget the oldest; a cache that is not there.

    Args:
        file: where.
        content: what.
        alike: pattern of the files beside it that it is counted with.
        most: so many of them are left.
    """
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as new:
            try:
                new.write(hashlib.sha256(content).digest() + content)
                new.flush()
                Path(new.name).replace(file)
            except BaseException:
                Path(new.name).unlink(missing_ok=True)
                raise
        found = sorted(file.parent.glob(alike), key=lambda path: path.stat().st_mtime)
        for old in found[:-most]:
            old.unlink(missing_ok=True)


class Loader(SourceFileLoader):
    """Compiles a source once for all helpers: that takes longer than all else they do to start."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of a module."""
        del fullname
        source = self.get_data(self.path)
        known = b"\0".join((MAGIC_NUMBER, os.fsencode(self.path), source))
        file = CODE / hashlib.sha256(known).hexdigest()
        content = believed(file)
        if content is not None:
            return marshal.loads(content)
        code = compile(source, self.path, "exec", dont_inherit=True)
        keep(file, marshal.dumps(code))
        return code


class _Finder:
    """Finds memsc's modules below its sub-packages."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        del target
        if path is None or not name.startswith("memsc."):
            return None
        for folder in path:
            stem = Path(folder, name.rpartition(".")[2])
            for file, below in ((stem / "__init__.py", [str(stem)]), (Path(f"{stem}.py"), None)):
                if file.is_file():
                    return _spec(name, file, below)
        return None


def _spec(name: str, file: Path, below: list[str] | None) -> ModuleSpec | None:
    return spec_from_file_location(
        name, file, loader=Loader(name, str(file)), submodule_search_locations=below
    )


def _import(folders: Mapping[str, Path]) -> None:
    """Have memsc consist of these sub-packages, and of nothing else."""
    package = ModuleType("memsc")
    package.__path__ = []
    sys.modules["memsc"] = package
    sys.meta_path.insert(0, _Finder)
    for name, folder in folders.items():
        spec = _spec(f"memsc.{name}", folder / "__init__.py", [str(folder)])
        if spec is None or spec.loader is None:
            raise ImportError(name)
        module = sys.modules[spec.name] = module_from_spec(spec)
        spec.loader.exec_module(module)


def _asker() -> tuple[int, int] | None:
    """User and process at the other end of standard input; None when it is no socket."""
    try:
        with socket.socket(fileno=os.dup(0)) as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return None
    pid, user, _ = struct.unpack("3i", credentials)
    return int(user), int(pid)


def main() -> int:
    """Check, import, serve; exit status 2 when it was not started by a session."""
    asker = _asker()
    if asker is None:
        sys.stderr.write("memsc: only a memsc session starts this program\n")
        return 2
    user, pid = asker
    needed = folders(Path(__file__).absolute().parents[2])
    # A session that is root already has run the same code as root.
    reason = unsafe(needed.values(), user) if user else None
    if reason:
        sys.stderr.write(f"memsc: the helper would run as root, but {reason}\n")
        return 1
    _import(needed)
    serve = importlib.import_module("memsc.tracer.helper.server").serve
    return int(serve(user, pid))


if __name__ == "__main__":
    # No interpreter clean-up: BCC would detach one by one what the kernel detaches by itself.
    code = main()
    sys.stderr.flush()
    os._exit(code)
