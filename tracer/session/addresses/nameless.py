# SPDX-License-Identifier: MIT
"""Which files' functions have no names, by how often they were seen, and what would name them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from memsc.tracer.session.addresses.address_spaces import Spaces
from memsc.tracer.session.addresses.naming import Named
from memsc.tracer.session.addresses.symbols import build_id

_WORTH = 0.05
"""The share of frames from which on a file is worth a word."""
_MOST = 3  # files that are told of
_DPKG_S = 5.0


class Nameless:
    """Counts frames, by stack; a stack may be seen before and after its frames are known."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._frames: dict[int, tuple[int, Counter[str]]] = {}

    def see(self, counts: Iterable[tuple[int, int]]) -> None:
        """How often stacks were seen: their numbers and that."""
        for number, times in counts:
            self._seen[number] += times

    def learn(self, number: int, frames: Iterable[Named]) -> None:
        """A stack's frames."""
        of_files = [frame for frame in frames if frame.module.startswith("/")]
        without = Counter(frame.module for frame in of_files if not frame.function)
        self._frames[number] = (len(of_files), without)

    def told(self, spaces: Spaces) -> str | None:
        """What the user should be told; None if it is not worth a word."""
        whole, without = 0, Counter[str]()
        for number, times in self._seen.items():
            frames, mine = self._frames.get(number, (0, Counter[str]()))
            whole += frames * times
            for module, count in mine.items():
                without[module] += count * times
        worth = [(m, n / whole) for m, n in without.most_common(_MOST) if n >= _WORTH * whole]
        if not worth:
            return None
        packages = _packages([module for module, _ in worth])
        lie = [f"{100 * share:.0f} % of frames lie in {module}" for module, share in worth]
        by = [
            f"{packages.get(module, 'its debug file')} (build-id {_identity(spaces, module)})"
            for module, _ in worth
        ]
        return (
            f"{', '.join(lie)}, in functions without names: install {', '.join(by)}, or have"
            " debuginfod-find debuginfo BUILD-ID fetch them, and record again"
        )


def _identity(spaces: Spaces, name: str) -> str:
    for descriptor in spaces.files(name):
        with suppress(ELFError, ValueError, OSError), os.fdopen(os.dup(descriptor), "rb") as file:
            return build_id(ELFFile(file)) or "none"
    return "unknown"


def _packages(paths: list[str]) -> dict[str, str]:
    """Packages of debug files, where Debian's package manager knows whose the files are."""
    if shutil.which("dpkg-query") is None:
        return {}
    # The package may know the file by the name that it had before /lib became a link to /usr/lib.
    asked = {name: path for path in paths for name in {path, path.removeprefix("/usr")}}
    command = ["dpkg-query", "--search", *(_literal(name) for name in asked)]
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_DPKG_S
        ).stdout
        owners = (line.rpartition(": ") for line in said.splitlines())
        return {
            asked[name]: f"{owner.partition(',')[0].partition(':')[0]}-dbgsym"
            for owner, _, name in owners
            if name in asked and Path(name).exists()
        }
    return {}


def _literal(name: str) -> str:
    """A name that is no pattern."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in name)
