# SPDX-License-Identifier: MIT
"""Programs for 64-bit Arm, under QEMU's user-mode emulation, with and without their layer.

Not all that a kernel does is done there. Memory is not wiped at a fork, which leaves a forked child
with its parent's service; what a program executes is handed to this machine's kernel, for which it
is of another processor; and /proc shows QEMU's threads. So programs that do such things are not
tried here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from memsc.runtime.launch import Launch, running_on
from memsc.runtime.session_socket import SessionSocket
from memsc.runtime.tally import Tally

BUILD = Path(__file__).resolve().parents[2] / "build" / "arm64"
LAYER = BUILD / "layer" / "libmemsc-layer.so"
LIBRARIES = BUILD / "root"
"""What the cross compiler has of a system: libraries, no programs."""
DEBIAN = BUILD / "debian"
"""A Debian for it; see tests/arm/debian."""
CPUS = sorted(os.sched_getaffinity(0))
LIMIT_S = 60

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


def run(root: Path, command: Sequence[str | Path], folder: Path, *, carried: bool) -> Run:
    """Run a program to its end.

    Args:
        root: where it finds its libraries.
        command: the program's file and its arguments.
        folder: where it runs.
        carried: by the layer.
    """
    tally, variables = Tally(), dict[str, str]()
    with SessionSocket() as session:
        launch = Launch(session=session.end, stats=True, service_cpus=(CPUS[0],))
        if carried:
            variables = launch.environment() | {"LD_PRELOAD": str(LAYER)}
        given = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        with running_on((CPUS[-1],)):
            process = subprocess.Popen(
                ["qemu-aarch64", "-L", root, *given, *command],
                cwd=folder,
                pass_fds=launch.inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
        while messages := session.receive():
            for message in messages:
                message.close()
                tally.add(message)
    return Run(process.returncode, output, tally)
