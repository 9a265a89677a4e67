# SPDX-License-Identifier: MIT
"""Random sequences of system calls on 64-bit Arm do the same with the layer as without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import emulated, sequences
from tests.helpers.required import two_cpus
from tests.helpers.sequences import Operation, Outcome

from memsc.runtime.launch import Launch

ARMS = [
    replace(emulated.CARRIED, transport=transport, service=service)
    for transport, service in (("memsc", "inline"), ("ipi", "inline"), ("memsc", "scanner"))
]
EXAMPLES = 10
NOT_HERE = {"peek", "poke", "bad_read"}
"""QEMU has no process_vm_readv, and refuses a wrong pointer also where nothing is read."""

pytestmark = [emulated.emulated, two_cpus]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in a folder in which it may work, too."""
    emulated.need_inside()
    folder = tmp_path_factory.mktemp("arm64")
    emulated.compile_into(folder, "run", sorted(sequences.SOURCES.glob("*.c")))
    return folder / "run"


def carry_out(executor: Path, sequence: list[Operation], how: Launch | None) -> Outcome:
    """Run a sequence in an empty folder, carried or not; of carried calls none is missed."""

    def start(command: list[str], folder: Path) -> tuple[int, bytes]:
        run = emulated.run_inside(
            command, folder, carried=how is not None, how=how or emulated.CARRIED
        )
        if how is not None:
            assert run.tally.forwarded.total() > 0
            assert run.tally.missed.total() == 0
        return run.status, run.output.encode()

    return sequences.carry_out(executor, sequence, start)


@settings(max_examples=EXAMPLES)
@given(sequence=st.lists(sequences.OPERATIONS, max_size=50))
def test_a_sequence_goes_the_same_way(executor: Path, sequence: list[Operation]) -> None:
    expected = carry_out(executor, sequence, None)
    assert expected.status == 0
    assert len(expected.results) == len(sequence)
    for how in ARMS:
        assert carry_out(executor, sequence, how) == expected, how.arm


def test_every_operation_is_tried(executor: Path) -> None:
    """And does something: in a long sequence each succeeds at least once that can be had here."""
    sequence = sequences.long_sequence()
    expected = carry_out(executor, sequence, None)
    assert expected.failed() == {"bad_name"} | NOT_HERE
    for how in ARMS:
        assert carry_out(executor, sequence, how) == expected, how.arm
