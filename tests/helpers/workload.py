# SPDX-License-Identifier: MIT
"""Known workloads for tests with real BPF, and what the kernel itself counts of them."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

GETPPID = 110 if platform.machine() == "x86_64" else 173

_CODE = """\
import os
{before}
os.write(1, b"r")
os.read(0, 1)
{body}
os.write(1, b"d")
os.read(0, 1)
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll; an hour's patience is not needed, a minute without it is a hang."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"waited too long for {what}")


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def status(pid: int, field: str) -> str:
    """A field of /proc/pid/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))


class Workload:
    """A Python process that waits, runs body once when told, and waits to be ended.

    Args:
        body: what it runs when told.
        before: what it runs before it waits.
    """

    def __init__(self, body: str, before: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CODE.format(body=body, before=before)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.pid = self.process.pid
        self._expect(b"r")

    def _expect(self, byte: bytes) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.read(1) == byte
        # Twice, since a task is marked asleep a moment before it is switched out.
        for _ in range(2):
            wait_until(lambda: status(self.pid, "State").startswith("S"), "the workload to sleep")
            time.sleep(0.02)

    def run(self) -> None:
        """Run the body; returns when it has ended and the process sleeps again."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"g")
        self._expect(b"d")

    def switches(self) -> tuple[int, int]:
        """Voluntary and involuntary context switches of its main thread, as the kernel counts."""
        fields = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
        voluntary, involuntary = (int(status(self.pid, field)) for field in fields)
        return voluntary, involuntary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()
