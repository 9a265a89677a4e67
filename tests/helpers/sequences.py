# SPDX-License-Identifier: MIT
"""Random sequences of system calls, and the program that carries them out."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

SOURCES = Path(__file__).resolve().parents[1] / "live" / "programs" / "executor"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror")
"""What the program is compiled with, of `SOURCES`."""

Operation = tuple[str, int, int, int, int]


def _operation_names() -> list[str]:
    text = (SOURCES / "executor.h").read_text()
    listed = text[text.index("#define OPERATIONS") : text.index("/* clang-format on */")]
    return re.findall(r"OPERATION\((\w+)\)", listed)


NAMES = _operation_names()
# Files that exist make the rest worth while.
_LIKELY = [
    *NAMES,
    *["open"] * 6,
    *["write"] * 4,
    *["pipe", "mmap", "read", "mkdir", "socketpair"] * 2,
]
_SMALL = st.integers(0, 7)
_SIZES = st.one_of(_SMALL, st.sampled_from([511, 512, 4096, 5000, 65535]), st.integers(0, 1 << 17))
OPERATIONS = st.tuples(st.sampled_from(_LIKELY), _SMALL, st.one_of(_SMALL, _SIZES), _SIZES, _SMALL)


def long_sequence() -> list[Operation]:
    """One in which every operation succeeds at least once, but for a name that is none."""
    source = random.Random(7)
    sizes = [*range(8), 511, 4096, 5000, 13000, 65535]
    sequence: list[Operation] = [("open", 0, 0, 2, 0), ("pwrite", 0, 5000, 0, 0)]
    sequence += [("open", 1, 1, 2, 0), ("copy", 0, 1, 4096, 0)]
    for name in source.choices(_LIKELY, k=2500):
        first, second = source.choices(sizes, k=2)
        sequence.append((name, source.randrange(8), first, second, source.randrange(8)))
    return sequence


@dataclass(frozen=True)
class Outcome:
    """All that can be told apart."""

    status: int
    output: bytes
    results: list[str]
    files: dict[str, tuple[int, bytes]]

    def failed(self) -> set[str]:
        """Operations of which none succeeded."""
        worked = {
            line.split()[0] for line in self.results if int(line.split(": ")[1].split()[0]) >= 0
        }
        return set(NAMES) - worked


def carry_out(
    executor: Path,
    sequence: list[Operation],
    start: Callable[[list[str], Path], tuple[int, bytes]],
) -> Outcome:
    """Run a sequence in an empty folder.

    Args:
        executor: the program, in a folder in which it may work.
        sequence: what it does.
        start: runs a command in a folder to its end: its status, and what it wrote to both streams.
    """
    place = executor.parent / "executor"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    operations, results = executor.parent / "operations", executor.parent / "results"
    operations.write_text("".join(f"{' '.join(map(str, words))}\n" for words in sequence) + "\n")
    results.unlink(missing_ok=True)
    status, output = start([str(executor), str(operations), str(results)], place)
    files = {
        str(path.relative_to(place)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in place.rglob("*")
    }
    lines = results.read_text().splitlines() if results.exists() else []
    return Outcome(status, output, lines, files)
