# SPDX-License-Identifier: MIT
"""Random sequences of system calls give the same results and files, whichever thread makes them."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.command import FRONT
from tests.helpers.preloaded import arm
from tests.helpers.required import layered

from memsc.runtime import topology

MEMSC = (str(FRONT), "run", "-q")
SPINS = len(topology.read().reachable) > 1
FORWARDING = ("ipi", "memsc") if SPINS else ("ipi",)
ARMS = [("direct", "inline"), *((t, s) for t in FORWARDING for s in ("inline", "scanner"))]
SOURCES = Path(__file__).parent / "programs" / "executor"
EXAMPLES = 60

pytestmark = layered

Operation = tuple[str, int, int, int, int]


@pytest.fixture(scope="module")
def executor() -> Iterator[Path]:
    """The program, in a folder of memory in which it may work, too."""
    with tempfile.TemporaryDirectory(prefix="memsc-sequences-", dir="/dev/shm") as folder:
        program = Path(folder) / "run"
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", program, *SOURCES.glob("*.c")], check=True)
        yield program


@dataclass(frozen=True)
class Outcome:
    """All that can be told apart."""

    status: int
    output: bytes
    results: list[str]
    files: dict[str, tuple[int, bytes]]


def carry_out(executor: Path, sequence: list[Operation], prefix: tuple[str, ...]) -> Outcome:
    """Run a sequence in an empty folder."""
    place = executor.parent / "executor"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    operations, results = executor.parent / "operations", executor.parent / "results"
    operations.write_text("".join(f"{' '.join(map(str, words))}\n" for words in sequence) + "\n")
    results.unlink(missing_ok=True)
    done = subprocess.run(
        [*prefix, str(executor), str(operations), str(results)],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=120,
    )
    files = {
        str(path.relative_to(place)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in place.rglob("*")
    }
    lines = results.read_text().splitlines() if results.exists() else []
    return Outcome(done.returncode, done.stdout, lines, files)


def operation_names() -> list[str]:
    text = (SOURCES / "executor.h").read_text()
    listed = text[text.index("#define OPERATIONS") : text.index("/* clang-format on */")]
    return re.findall(r"OPERATION\((\w+)\)", listed)


NAMES = operation_names()
# Files that exist make the rest worth while.
LIKELY = [
    *NAMES,
    *["open"] * 6,
    *["write"] * 4,
    *["pipe", "mmap", "read", "mkdir", "socketpair"] * 2,
]
SMALL = st.integers(0, 7)
SIZES = st.one_of(SMALL, st.sampled_from([511, 512, 4096, 5000, 65535]), st.integers(0, 1 << 17))
operations = st.tuples(st.sampled_from(LIKELY), SMALL, st.one_of(SMALL, SIZES), SIZES, SMALL)


@settings(max_examples=EXAMPLES)
@given(sequence=st.lists(operations, max_size=50))
def test_a_sequence_goes_the_same_way(executor: Path, sequence: list[Operation]) -> None:
    expected = carry_out(executor, sequence, ())
    assert expected.status == 0
    assert len(expected.results) == len(sequence)
    for transport, service in ARMS:
        how = (*arm(transport, service), "--")
        assert carry_out(executor, sequence, (*MEMSC, *how)) == expected, (transport, service)


def test_every_operation_is_tried(executor: Path) -> None:
    """And does something: in a long sequence each succeeds at least once."""
    source = random.Random(7)
    sizes = [*range(8), 511, 4096, 5000, 13000, 65535]
    sequence: list[Operation] = [("open", 0, 0, 2, 0), ("pwrite", 0, 5000, 0, 0)]
    sequence += [("open", 1, 1, 2, 0), ("copy", 0, 1, 4096, 0)]
    for name in source.choices(LIKELY, k=2500):
        first, second = source.choices(sizes, k=2)
        sequence.append((name, source.randrange(8), first, second, source.randrange(8)))
    expected = carry_out(executor, sequence, ())
    worked = {
        line.split()[0] for line in expected.results if int(line.split(": ")[1].split()[0]) >= 0
    }
    assert set(NAMES) - worked == {"bad_name"}
    for transport, service in ARMS:
        how = (*arm(transport, service), "--")
        assert carry_out(executor, sequence, (*MEMSC, *how)) == expected
