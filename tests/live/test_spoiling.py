# SPDX-License-Identifier: MIT
"""A program that cuts its live region short, or fills it with junk, harms nobody but itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import wait_until

from memsc.runtime.files import WORK
from memsc.tracer.format import open_trace
from memsc.tracer.state import folders

pytestmark = [
    two_cpus,
    layered,
]

ARMS = (("direct", "inline"), ("ipi", "inline"), ("memsc", "inline"), ("memsc", "scanner"))


def cut(region: Path) -> None:
    os.truncate(region, 4096)


def scribble(region: Path) -> None:
    """Junk in places that follow from a seed, for a moment."""
    chance = random.Random(20261124)
    with region.open("r+b", buffering=0) as file:
        size = min(os.fstat(file.fileno()).st_size, 1 << 22)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            os.pwrite(file.fileno(), chance.randbytes(8), chance.randrange(0, size - 8, 8))


def regions(session: int) -> list[Path]:
    """Those that a session has been given, by which those who may debug it reach them."""
    there: list[Path] = []
    for link in Path(f"/proc/{session}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            if ".region" in str(link.readlink()):
                there.append(link)
    return there


@pytest.mark.parametrize("spoil", [cut, scribble])
@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_its_session_and_the_next_go_on(
    tmp_path: Path, transport: str, service: str, spoil: Callable[[Path], None]
) -> None:
    arm = ["--transport", transport, "--service", service]
    command = [*MEMSC, "trace", "-o", "t.memsc", "--probes", "none", "--no-calibrate", *arm]
    session = subprocess.Popen(
        [*command, "--duration", "20", "--", str(WORK), "sync", "1000000000", "/dev/null"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    found: list[Path] = []

    def up() -> bool:
        found[:] = regions(session.pid)
        return bool(found) or session.poll() is not None

    wait_until(up, "its region")
    time.sleep(0.5)
    spoil(found[0])
    session.send_signal(signal.SIGINT)
    try:
        _, told = session.communicate(timeout=60)
    finally:
        session.kill()
    assert "Traceback" not in told
    # Interrupted, or with its program, whose own fault it is.
    ended = (-signal.SIGINT, *(128 + n for n in (signal.SIGINT, signal.SIGBUS, signal.SIGSEGV)))
    assert session.returncode in ended, told
    assert not list(folders.base().glob(f"session-{session.pid}-*"))
    open_trace(tmp_path / "t.memsc")
    after = subprocess.run([*MEMSC, "run", "-q", *arm, "--", "true"], check=False, timeout=60)
    assert after.returncode == 0
