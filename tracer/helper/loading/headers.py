# SPDX-License-Identifier: MIT
"""Finds the kernel headers that BCC compiles with. Privileged side; standard library only.

In this order: the running kernel's build folder, its kheaders archive, the newest headers under
/usr/src, or under /var/lib/memsc/src, where set-up unpacks them. The last belong to another kernel,
which is why no probe dereferences a kernel structure.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from memsc.runtime.errors import MemscError

_MARK = Path("include/generated/autoconf.h")
_SHARED_MARK = Path("include/linux/kconfig.h")
SOURCES = (Path("/usr/src"), Path("/var/lib/memsc/src"))
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
INSTALL = f"apt install linux-headers-{_DEBIAN.get(platform.machine(), 'generic')}"
"""The remedy where there are none."""


@dataclass(frozen=True)
class Headers:
    """Where BCC finds kernel headers.

    Args:
        folder: a complete tree, or None where BCC finds them by itself.
        release: the kernel they belong to.
        warning: one line when they are another kernel's, else None.
    """

    folder: Path | None
    release: str
    warning: str | None = None

    def words(self) -> tuple[str, ...]:
        """What tells them from others, and from those that were there before an upgrade."""
        folder = self.folder or Path("/lib/modules", self.release, "build")
        try:
            marks = [(folder / mark).stat() for mark in (_MARK, _SHARED_MARK)]
        except OSError:  # without the second BCC says what it lacks
            marks = []
        times = (f"{one.st_dev} {one.st_ino} {one.st_size} {one.st_mtime_ns}" for one in marks)
        return (str(folder), self.release, *times)

    def apply(self) -> None:
        """Point BCC, in this process, at them."""
        if self.folder is None:
            os.environ.pop("BCC_KERNEL_SOURCE", None)
        else:
            os.environ["BCC_KERNEL_SOURCE"] = str(self.folder)


def cache_folder() -> Path:
    """The cache, made if missing: /var/cache/memsc for root, else under the user's own cache.

    Raises:
        MemscError: it belongs to somebody else, or others may write to it.
    """
    if os.geteuid() == 0:
        folder = Path("/var/cache/memsc")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memsc"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise MemscError(
            "preparing kernel headers",
            f"others than you may write to {folder}",
            f"remove {folder} and try again",
        )
    return folder


def find_headers(
    modules: Path = Path("/lib/modules"),
    archive: Path = Path("/sys/kernel/kheaders.tar.xz"),
    sources: Iterable[Path] = SOURCES,
    cache: Path | None = None,
) -> Headers:
    """The best headers there are, prepared for BCC.

    Args:
        modules: holds one folder per kernel release.
        archive: the running kernel's own headers, if it was built with them.
        sources: where headers are installed or unpacked.
        cache: where prepared trees are kept; default `cache_folder()`.

    Raises:
        MemscError: there are none, or the cache is not safe.
    """
    release = platform.release()
    if (modules / release / "build" / _MARK).exists():
        return Headers(None, release)
    load_archive(modules, archive)
    if archive.exists():
        tree = _prepared(cache, f"kheaders-{release}", lambda new: _unpack(archive, new))
        return Headers(tree, release)
    found = _newest(sources)
    if found is None:
        places = " or ".join(map(str, sources))
        raise MemscError(
            "attaching probes",
            f"there are no kernel headers for BCC (none for {release}, none under {places})",
            INSTALL,
        )
    warning = f"headers of Linux {found.release} stand in for those of {release}, which are missing"
    if len(found.parts) == 1:
        return Headers(found.parts[0], found.release, warning)
    tree = _prepared(cache, f"merged-{found.release}", lambda new: _merge(found.parts, new))
    return Headers(tree, found.release, warning)


def load_archive(
    modules: Path = Path("/lib/modules"), archive: Path = Path("/sys/kernel/kheaders.tar.xz")
) -> None:
    """Makes the kernel's own headers appear where they are needed and may be a module.

    A kernel without it, or without modules, is no failure. Only root with all his power can.
    """
    built = (modules / platform.release() / "build" / _MARK).exists()
    modprobe = Path("/sbin/modprobe")
    if not built and not archive.exists() and os.geteuid() == 0 and modprobe.exists():
        subprocess.run([modprobe, "-q", "kheaders"], check=False, capture_output=True)


@dataclass(frozen=True)
class _Found:
    release: str
    parts: tuple[Path, ...]  # earlier ones win where both hold a file


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release))


def _newest(sources: Iterable[Path]) -> _Found | None:
    """The newest complete tree: one folder, or a folder and what it shares with its siblings."""
    found: list[_Found] = []
    marks = (m for s in sources for way in ("*", "kernels/*") for m in s.glob(f"{way}/{_MARK}"))
    for mark in marks:
        folder = mark.parents[len(_MARK.parts) - 1]
        release = folder.name.removeprefix("linux-headers-").removeprefix("linux-")
        if (folder / _SHARED_MARK).exists():
            found.append(_Found(release, (folder,)))
            continue
        stem = folder.name.rpartition("-")[0]
        for shared in (folder.with_name(f"{stem}-common"), folder.with_name(stem)):
            if (shared / _SHARED_MARK).exists():
                found.append(_Found(release, (folder, shared)))
                break
    return max(found, key=lambda f: (_version(f.release), f.release), default=None)


def _prepared(cache: Path | None, name: str, make: Callable[[Path], None]) -> Path:
    """The tree of this name in the cache, made first if it is not there.

    It appears by a rename, so a tree that is there is whole; BCC's own unpacking, which takes any
    folder left in /tmp for whole, is never used.
    """
    folder = cache or cache_folder()
    tree = folder / name
    # A link whose target has gone is not whole either: headers may have been upgraded.
    if (tree / _SHARED_MARK).exists() and (tree / _MARK).exists():
        return tree
    new = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        make(new)
        new.chmod(0o755)
        if tree.exists():
            shutil.rmtree(tree)
        new.rename(tree)
    except OSError as error:
        raise MemscError(
            "preparing kernel headers", f"{folder}: {error.strerror}", "free disk space there"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return tree


def _unpack(archive: Path, new: Path) -> None:
    with tarfile.open(archive) as file:
        # Python 3.11.2, Debian 12's, has no filters yet; the archive is the kernel's own.
        if hasattr(tarfile, "data_filter"):
            file.extraction_filter = tarfile.data_filter
        file.extractall(new)


def _merge(parts: tuple[Path, ...], new: Path) -> None:
    """Links to the headers of all parts; only what BCC includes, which is quicker by half."""
    for part in parts:
        arch = sorted(p.relative_to(part) for p in part.glob("arch/*/include"))
        for top in (Path("include"), *arch):
            for folder, _, files in os.walk(part / top):
                place = new / Path(folder).relative_to(part)
                place.mkdir(parents=True, exist_ok=True)
                for name in files:
                    if not os.path.lexists(place / name):
                        (place / name).symlink_to(Path(folder) / name)
