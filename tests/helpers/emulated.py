# SPDX-License-Identifier: MIT
"""Programs for 64-bit Arm, under QEMU's user-mode emulation, with and without their layer.

`run` takes this release's QEMU, for single programs: Debian 12's does not wipe memory at a fork,
which leaves a forked child with its parent's service, and what a program executes is handed to this
machine's kernel, for which it is of another processor. `run_inside` takes all of a Debian, where
both are done (tests/arm/inside). Of threads /proc shows QEMU's, too, in either.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memsc.runtime.launch import Launch
from memsc.runtime.session_socket import SessionSocket
from memsc.runtime.starting import running_on
from memsc.runtime.tally import Tally

BUILD = Path(__file__).resolve().parents[2] / "build" / "arm64"
LAYER = BUILD / "layer" / "libmemsc-layer.so"
LIBRARIES = BUILD / "root"
"""What the cross compiler has of a system: libraries, no programs."""
DEBIAN = BUILD / "debian"
"""A Debian for it; see tests/arm/debian."""
NEWER = BUILD / "newer"
"""Debian 13's C library."""
MACHINE = BUILD / "machine"
"""One with a kernel, BCC and memsc's package, too."""
CPUS = sorted(os.sched_getaffinity(0))
LIMIT_S = 60
INSIDE = BUILD.parents[1] / "tests" / "arm" / "inside"
INSIDE_S = 200
CARRIED = Launch(service_cpus=(CPUS[0],))
"""How programs are carried, if nothing else is said."""

emulated = pytest.mark.skipif(
    not LAYER.exists() or shutil.which("qemu-aarch64") is None,
    reason="needs the build for 64-bit Arm, `make test-arm-quick`",
)


@dataclass
class Run:
    """How a program ended.

    Args:
        status: of its exit.
        output: what it wrote, to both streams.
        tally: what the layer counted.
    """

    status: int
    output: str
    tally: Tally


def run(
    root: Path, command: Sequence[str | Path], folder: Path, *, carried: bool, beside: str = ""
) -> Run:
    """Run a program to its end.

    Args:
        root: where it finds its libraries.
        command: the program's file and its arguments.
        folder: where it runs.
        carried: by the layer.
        beside: a library that is loaded behind the layer.
    """

    def loading(variable: str) -> str:
        return f"{variable}:{beside}" if beside and "LD_PRELOAD=" in variable else variable

    def start(variables: list[str]) -> list[str | Path]:
        given = [word for variable in variables for word in ("-E", loading(variable))]
        return ["qemu-aarch64", "-L", root, *given, *command]

    return _run(start, folder, carried, LIMIT_S)


def compile_into(folder: Path, name: str, sources: Sequence[Path], *options: str) -> None:
    """Build a program of C for it."""
    # What a backtrace finds has names, and leads through no linkage table: unwinders know none.
    gcc = ["aarch64-linux-gnu-gcc", "-O1", "-rdynamic", "-fno-plt", "-pthread", "-D_GNU_SOURCE"]
    subprocess.run(
        [*gcc, "-Wno-unused-result", *options, "-o", folder / name, *sources], check=True
    )


@functools.cache
def system_calls(root: Path) -> int:
    """How many instructions of its C library and loader make one, as binutils reads them."""
    listing = ["aarch64-linux-gnu-objdump", "--disassemble"]
    return sum(
        subprocess.run(
            [*listing, root / "lib" / name], capture_output=True, text=True, check=True
        ).stdout.count("\tsvc\t#0x0")
        for name in ("libc.so.6", "ld-linux-aarch64.so.1")
    )


def place(root: Path) -> dict[str, str]:
    """An environment in which `INSIDE` takes one of the Debians."""
    return os.environ | {"MEMSC_ARM_ROOT": str(root)}


@functools.cache
def missing(root: Path = DEBIAN) -> str | None:
    """Why nothing can be run inside."""
    if not root.exists():
        return "needs a Debian, `make test-arm`"
    command = [INSIDE, "/", "true"]
    asked = subprocess.run(command, env=place(root), capture_output=True, text=True, check=False)
    return asked.stderr.strip() or f"status {asked.returncode}" if asked.returncode else None


def need_inside(root: Path = DEBIAN) -> None:
    """Skip the test where nothing can be run inside."""
    if why := missing(root):
        pytest.skip(why)


def run_inside(
    command: Sequence[str | Path],
    folder: Path,
    *,
    carried: bool,
    how: Launch = CARRIED,
    root: Path = DEBIAN,
) -> Run:
    """Run a program of the Debian to its end, and all that it starts.

    Args:
        command: as it would be given there.
        folder: where it runs; below /tmp.
        carried: by the layer.
        how: it is carried.
        root: which Debian.
    """

    def start(variables: list[str]) -> list[str | Path]:
        return ["env", f"MEMSC_ARM_ROOT={root}", INSIDE, folder, *variables, *command]

    return _run(start, folder, carried, INSIDE_S, how)


def _run(
    start: Callable[[list[str]], list[str | Path]],
    folder: Path,
    carried: bool,
    limit_s: float,
    how: Launch = CARRIED,
) -> Run:
    tally, variables = Tally(), dict[str, str]()
    with SessionSocket() as session:
        launch = replace(how, session=session.end, stats=True)
        if carried:
            variables = launch.environment() | {"LD_PRELOAD": str(LAYER)}
        with running_on((CPUS[-1],)):
            process = subprocess.Popen(
                start([f"{name}={value}" for name, value in variables.items()]),
                cwd=folder,
                pass_fds=launch.inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            output, _ = process.communicate(timeout=limit_s)
        finally:
            process.kill()
        while messages := session.receive():
            for message in messages:
                message.close()
                tally.add(message)
    return Run(process.returncode, output, tally)
