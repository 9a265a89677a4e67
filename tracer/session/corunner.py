# SPDX-License-Identifier: MIT
"""A program that runs beside a round and takes its service's CPU away, on purpose."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager

# The well-known one; a shell that counts takes a CPU just as well.
_BUSY = ("stress-ng", "--cpu", "1", "--quiet")
_FALLBACK = ("sh", "-c", "while :; do :; done")


def busy() -> tuple[str, ...]:
    """A command that keeps one CPU busy until it is ended."""
    return _BUSY if shutil.which(_BUSY[0]) else _FALLBACK


@contextmanager
def corunner(command: Sequence[str], cpus: Sequence[int]) -> Generator[None]:
    """Run a command on some CPUs meanwhile; nothing without a command."""
    if not command:
        yield
        return
    where = ("taskset", "-c", ",".join(map(str, cpus)))
    # stress-ng ends its children when it is asked to end.
    with subprocess.Popen((*where, *command), stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
