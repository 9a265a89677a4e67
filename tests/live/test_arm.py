# SPDX-License-Identifier: MIT
"""The layer for 64-bit Arm: programs of features do the same with it as without."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers import emulated
from tests.helpers.features import PROGRAMS
from tests.helpers.required import two_cpus

DISTANCE = Path(emulated.__file__).with_name("distance.c")

# Of those that need no fork, no exec and no /proc (emulated.py): what no load changes, …
FEATURES = [
    ("signals", "broken-pipe"),
    ("signals", "handler-calls"),
    ("signals", "jump-out-of-calls"),
    ("handlers", "read-back"),
    ("tasks", "unwinds"),
    ("memory", "pages-of-its-own"),
]
# … and what waits for signals by the clock, or takes seconds.
LONG = [
    ("signals", "interrupted"),
    ("signals", "restarted"),
    ("signals", "own-stack"),
    ("signals", "jump-out-of-wait"),
    ("handlers", "handler-goes-first"),
    ("tasks", "cancelled"),
    ("tasks", "no-byte-lost"),
    ("memory", "small-alternate-stack"),
    ("waits", "partial-write"),
]
# Of all these, what is done where a thread stands in a slot.
FAR = [
    ("tasks", "unwinds"),
    ("signals", "handler-calls"),
    ("tasks", "cancelled"),
    ("tasks", "no-byte-lost"),
    ("signals", "interrupted"),
    ("signals", "restarted"),
]

pytestmark = [emulated.emulated, two_cpus]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arm64")
    for source in {source for source, _ in FEATURES + LONG}:
        emulated.compile_into(folder, source, [PROGRAMS / f"{source}.c"])
    emulated.compile_into(folder, "distance", [DISTANCE], "-shared", "-fPIC")
    return folder


@pytest.mark.parametrize(
    ("source", "case"),
    [*FEATURES, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)],
)
def test_a_feature_is_the_same(build: Path, tmp_path: Path, source: str, case: str) -> None:
    check(build, tmp_path, source, case)


@pytest.mark.parametrize(
    ("source", "case"),
    [*FAR[:2], *(pytest.param(*case, marks=pytest.mark.long) for case in FAR[2:])],
)
def test_a_c_library_out_of_reach_is_carried(
    build: Path, tmp_path: Path, source: str, case: str
) -> None:
    check(build, tmp_path, source, case, beside=str(build / "distance"))


def check(build: Path, tmp_path: Path, source: str, case: str, beside: str = "") -> None:
    runs = []
    for carried in (False, True):
        folder = tmp_path / str(carried)
        folder.mkdir()
        runs.append(
            emulated.run(
                emulated.LIBRARIES, [build / source, case], folder, carried=carried, beside=beside
            )
        )
    plain, forwarded = runs
    assert (forwarded.output, forwarded.status) == (plain.output, plain.status)
    tally = forwarded.tally
    assert tally.forwarded.total() > 0
    assert not tally.groups["unpatched"]
    assert tally.groups["sites"] == {"in place": emulated.system_calls(emulated.LIBRARIES)}
