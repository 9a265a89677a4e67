# SPDX-License-Identifier: MIT
"""Unmodified programs do under memsc what they do without, and their calls are forwarded."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.helpers.catalogue import PROGRAMS, PYTHON, Program
from tests.helpers.command import FRONT
from tests.helpers.coverage import HEADING, TARGET, CountingService, Coverage
from tests.helpers.preloaded import ATTACHABLE, arm
from tests.helpers.required import layered

from memsc.runtime import topology

MEMSC = (str(FRONT), "run", "-q")
MACHINE = topology.read()
SPINS = len(MACHINE.reachable) > 1
ARMS = [
    (transport, service)
    for transport in (("direct", "ipi", "memsc") if SPINS else ("direct", "ipi"))
    for service in (("inline",) if transport == "direct" else ("inline", "scanner"))
]
MISSING = {p.name for p in PROGRAMS if shutil.which(p.command[0]) is None}

pytestmark = layered


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """In memory, where a file system's own slowness is out of the way."""
    with tempfile.TemporaryDirectory(prefix="memsc-programs-", dir="/dev/shm") as folder:
        yield Path(folder)


class Run:
    """What a program said, left and ended with."""

    def __init__(self, program: Program, status: int, error: bytes, output: bytes, folder: Path):
        self.status = status
        self.error = program.heard(error)
        self.output = program.heard(output)
        self.left = program.left(folder)


def run(program: Program, place: Path, prefix: tuple[str, ...] = ()) -> Run:
    """Run it in a folder of its own, which is gone afterwards."""
    folder = place / "work"  # the same name each time, as it may be said
    program.prepare(folder)
    process = subprocess.Popen(
        [*prefix, *program.command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if program.drive:
            program.drive(folder, process.pid)
        output, error = process.communicate(timeout=300)
    finally:
        process.kill()
    done = Run(program, process.returncode, error, output, folder)
    shutil.rmtree(folder)
    return done


@cache
def plain(program: Program, place: Path) -> Run:
    return run(program, place)


def same(found: Run, expected: Run) -> None:
    assert found.error == expected.error
    assert found.output == expected.output
    assert found.status == expected.status
    assert found.left == expected.left


def cases() -> Iterator[object]:
    for program in PROGRAMS:
        for one in ARMS:
            # What runs while it is counted, below, is compared there.
            quick = not program.long and one == ("memsc", "scanner")
            marks = [] if quick else [pytest.mark.long]
            yield pytest.param(program, *one, marks=marks, id=f"{program.name}-{'-'.join(one)}")


@pytest.mark.parametrize(("program", "transport", "service"), list(cases()))
def test_it_does_the_same(program: Program, transport: str, service: str, place: Path) -> None:
    if program.name in MISSING:
        pytest.skip(f"needs {program.command[0]}; see requirements-debian-*.txt")
    how = (*arm(transport, service), "--")
    expected = plain(program, place)
    assert expected.status == 0, expected.error
    same(run(program, place, (*MEMSC, *how)), expected)


class TooFewError(AssertionError):
    """Fewer calls than promised were forwarded."""


def looked(program: Program) -> int:
    """Calls made directly after a look at its threads: one that forks takes it from 3.12 on."""
    release = Path(PYTHON).resolve().name.removeprefix("python3.")
    return 32 if program.name == "python3" and int(release) >= 12 else 0


def counted(program: Program) -> object:
    marks = [pytest.mark.long] if program.long else []
    return pytest.param(program, marks=marks, id=program.name)


@pytest.fixture(scope="module")
def counting() -> Iterator[tuple[CountingService, int, dict[str, Coverage]]]:
    placed = topology.place(MACHINE, "memsc")
    (cpu,) = placed.service_cpus
    service = CountingService(cpu)
    table: dict[str, Coverage] = {}
    yield service, cpu, table
    service.close()
    lines = [HEADING, *(found.row(name) for name, found in table.items())]
    Path("build").mkdir(exist_ok=True)
    Path("build/coverage.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.bpf
@pytest.mark.skipif(not SPINS, reason="needs two CPUs")
@pytest.mark.parametrize("program", [counted(program) for program in PROGRAMS])
def test_its_calls_are_forwarded(
    program: Program, place: Path, counting: tuple[CountingService, int, dict[str, Coverage]]
) -> None:
    """As the kernel counts them; and done so, it does the same, too."""
    if program.name in MISSING:
        pytest.skip(f"needs {program.command[0]}; see requirements-debian-*.txt")
    service, cpu, table = counting
    expected = plain(program, place)
    folder, output, error = place / "work", place / "output", place / "error"
    program.prepare(folder)
    how = (*ATTACHABLE, "--service-cpus", str(cpu), "--")
    pid = service.start((*MEMSC, *how, *program.command), folder, output, error)
    if program.drive:
        program.drive(folder, pid)
    status, found = service.finish()
    table[program.name] = found
    done = Run(program, status, error.read_bytes(), output.read_bytes(), folder)
    shutil.rmtree(folder)
    same(done, expected)
    # memsc's own two, before it becomes the program.
    assert set(found.without) <= {"memsc", "python", "memsc-python"}
    assert found.forwarded.total() > 0
    missed = max(found.missed.total() - looked(program), 0)
    if found.forwarded.total() < TARGET * (found.forwarded.total() + missed):
        raise TooFewError(f"{HEADING}\n{found.row(program.name)}\n{found.where.most_common()}")
