# SPDX-License-Identifier: MIT
"""Programs of features for 64-bit Arm do the same with the layer as without, forks and all.

Threads are cancelled with a newer C library, too: from 2.41 on it looks where they stand.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers import emulated
from tests.helpers.coverage import TARGET
from tests.helpers.features import FEATURES, PROGRAMS
from tests.helpers.required import two_cpus

from memsc.runtime.tally import Tally

# What this emulation cannot do with the layer, and why; without it, a case itself says so.
_THREADS = "the kernel counts QEMU's own threads, too, so the program's last one is not known"
_PEEK = "it has no process_vm_readv, by which the layer would look at wrong pointers"
NOT_HERE = {
    "exits-thread-by-thread": _THREADS,
    "clone-returns": _THREADS,
    "clone-shares-memory": _THREADS,
    "several-exit-at-once": _THREADS,
    "executes-nonsense": _PEEK,
    "thread-spellings": _PEEK,
    "closes-all": "it counts its descriptors, and the session's socket stays",
}

pytestmark = [emulated.emulated, two_cpus]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs."""
    emulated.need_inside()
    folder = tmp_path_factory.mktemp("arm64")
    for source in {source for source, _ in FEATURES}:
        emulated.compile_into(folder, source, [PROGRAMS / f"{source}.c"])
    return folder


def check(build: Path, tmp_path: Path, source: str, case: str, root: Path) -> Tally:
    """It does the same; what the layer counted."""
    runs: list[emulated.Run] = []
    for carried in (False, True):
        folder = tmp_path / "work"
        folder.mkdir()
        run = emulated.run_inside([build / source, case], folder, carried=carried, root=root)
        runs.append(run)
        shutil.rmtree(folder)
        if "not so:" in run.output and not carried:
            pytest.skip(f"not under this emulation: {run.output.splitlines()[0]}")
    plain, forwarded = runs
    assert (forwarded.output, forwarded.status) == (plain.output, plain.status)
    return forwarded.tally


@pytest.mark.parametrize(("source", "case"), [one for one in FEATURES if one[1] not in NOT_HERE])
def test_a_feature_is_the_same(build: Path, tmp_path: Path, source: str, case: str) -> None:
    check(build, tmp_path, source, case, emulated.DEBIAN)


@pytest.mark.parametrize("case", ["threads", "cancelled", "cancelled-anywhere", "no-byte-lost"])
def test_a_newer_c_library_s_threads_are_carried(build: Path, tmp_path: Path, case: str) -> None:
    emulated.need_inside(emulated.NEWER)
    tally = check(build, tmp_path, "tasks", case, emulated.NEWER)
    # No place of libc or the loader is left as it was.
    assert set(tally.groups["sites"]) == {"in place"}
    assert not tally.groups["unpatched"]
    assert (tally.share or 0.0) >= TARGET
