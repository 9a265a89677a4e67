# SPDX-License-Identifier: MIT
"""A trace that comes from elsewhere can neither crash its reader, nor fill its memory, nor run.

`make test-traces` looks at many more.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.helpers.hostile import base, look, spoils

from memsc import analysis as ma
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.parts import MOST_ROWS

FIRST, ROUNDS = (
    int(os.environ.get(f"MEMSC_FUZZ_{n}", d)) for n, d in (("SEED", 1), ("ROUNDS", 15))
)
KNOWN = (368, 1140)
"""Once ended in an exception: a clock's error beyond 64 bits, a name that its dictionary lacks."""
SECONDS = 60
"""After which a reader is said to hang; it takes a second."""
ROOM = 3 << 30
"""Bytes a reader may take beyond what the test's process has mapped already."""

HOSTILE = "m\x1b[2J<b>$x_$"

# Only what the page itself has: a style and no script, and nothing from a network.
_ACTIVE = re.compile(
    r"<script|javascript:|<[^>]*\son\w+=|https?://(?!www\.w3\.org/)", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("whole") / "a.memsc")


@contextmanager
def bounded() -> Generator[None]:
    """Time and memory have an end."""

    def late(*_: object) -> None:
        raise TimeoutError("the reader hangs")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, limits[1]))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_the_whole_trace_is_read(whole: Path, tmp_path: Path) -> None:
    text, page = look(whole, tmp_path)
    assert "Can it be believed?" in text
    assert "</html>" in page


@pytest.mark.parametrize("seed", sorted({*range(FIRST, FIRST + ROUNDS), *KNOWN}))
def test_no_trace_does_harm(whole: Path, seed: int, tmp_path: Path) -> None:
    folder = tmp_path / "b.memsc"
    shutil.copytree(whole, folder)
    for spoil in spoils(Random(seed)):
        try:
            spoil(folder)
        except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError):
            continue  # spoiled so much already that this cannot be put on top
    with bounded():
        text, page = look(folder, tmp_path)
    shutil.rmtree(folder)
    assert not _CONTROL.search(text), repr(_CONTROL.search(text))
    assert not _ACTIVE.search(page), repr(_ACTIVE.search(page))


def test_a_part_that_claims_too_many_rows_is_not_read(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b.memsc"
    shutil.copytree(whole, folder)
    zeros = pa.table([pa.array(np.zeros(MOST_ROWS + 1, np.int64))], ["round"])
    file = folder / "calls" / "part-0000.parquet"
    pq.write_table(zeros, file, compression="zstd")
    assert file.stat().st_size < 30_000
    with pytest.raises(MemscError, match="more than memsc writes"):
        ma.open(folder)


def test_what_steers_a_terminal_is_spelt_out(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b.memsc"
    shutil.copytree(whole, folder)
    file = folder / fmt.SESSION
    content = json.loads(file.read_text())
    content["arms"][HOSTILE] = content["arms"].pop("memsc")
    for made in content["rounds"]:
        made["arm"] = HOSTILE if made["arm"] == "memsc" else made["arm"]
    file.write_text(json.dumps(content))
    for part in (folder / "calls").iterdir():
        table = pq.ParquetFile(part).read()
        names = table["arm"].cast(pa.string()).to_pylist()
        changed = [HOSTILE if name == "memsc" else name for name in names]
        column = pa.array(changed).dictionary_encode()
        pq.write_table(table.set_column(table.schema.get_field_index("arm"), "arm", column), part)
    assert "m\\x1b[2J<b>$x_$" in {cell.arm for cell in ma.open(folder).cells.sketches}
    text, page = look(folder, tmp_path)
    assert "m\\x1b[2J<b>$x_$" in text
    assert "m\\x1b[2J&lt;b&gt;$x_$" in page
    assert "<b>$" not in page
