# SPDX-License-Identifier: MIT
"""Random sequences of system calls give the same results and files, whichever thread makes them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import sequences
from tests.helpers.command import FRONT
from tests.helpers.preloaded import arm
from tests.helpers.required import layered
from tests.helpers.sequences import Operation, Outcome

from memsc.runtime import topology

MEMSC = (str(FRONT), "run", "-q")
SPINS = len(topology.read().reachable) > 1
FORWARDING = ("ipi", "memsc") if SPINS else ("ipi",)
ARMS = [("direct", "inline"), *((t, s) for t in FORWARDING for s in ("inline", "scanner"))]
EXAMPLES = 60

pytestmark = layered


@pytest.fixture(scope="module")
def executor() -> Iterator[Path]:
    """The program, in a folder of memory in which it may work, too."""
    with tempfile.TemporaryDirectory(prefix="memsc-sequences-", dir="/dev/shm") as folder:
        program = Path(folder) / "run"
        sources = sequences.SOURCES.glob("*.c")
        subprocess.run(["gcc", *sequences.FLAGS, "-o", program, *sources], check=True)
        yield program


def carry_out(executor: Path, sequence: list[Operation], prefix: tuple[str, ...]) -> Outcome:
    """Run a sequence in an empty folder, under a command."""

    def start(command: list[str], folder: Path) -> tuple[int, bytes]:
        done = subprocess.run(
            [*prefix, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout

    return sequences.carry_out(executor, sequence, start)


@settings(max_examples=EXAMPLES)
@given(sequence=st.lists(sequences.OPERATIONS, max_size=50))
def test_a_sequence_goes_the_same_way(executor: Path, sequence: list[Operation]) -> None:
    expected = carry_out(executor, sequence, ())
    assert expected.status == 0
    assert len(expected.results) == len(sequence)
    for transport, service in ARMS:
        how = (*arm(transport, service), "--")
        assert carry_out(executor, sequence, (*MEMSC, *how)) == expected, (transport, service)


def test_every_operation_is_tried(executor: Path) -> None:
    """And does something: in a long sequence each succeeds at least once."""
    sequence = sequences.long_sequence()
    expected = carry_out(executor, sequence, ())
    assert expected.failed() == {"bad_name"}
    for transport, service in ARMS:
        how = (*arm(transport, service), "--")
        assert carry_out(executor, sequence, (*MEMSC, *how)) == expected
