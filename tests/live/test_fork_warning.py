# SPDX-License-Identifier: MIT
"""Python 3.12 warns at a fork with other threads; service threads are none that it could see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.preloaded import ATTACHABLE, MARKS

ARMS = (("--transport", "ipi"), (), ("--service", "scanner"))
CODE = """
import os, threading, time
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
for turn in range(60):
    if turn % 3 == 0:
        os.getppid()
    fork()
thread = threading.Thread(target=os.listdir)
thread.start()
thread.join()
while len(os.listdir("/proc/self/task")) > 1:  # joined, but not yet gone for the kernel
    time.sleep(0.01)
for turn in range(20):
    fork()
print("forked")
"""


def _pythons() -> list[str]:
    """Those that are here and warn: this one, the system's, pyenv's."""
    names = [sys.executable, *filter(None, (shutil.which(f"python3.{n}") for n in range(12, 20)))]
    names += [
        "/usr/bin/python3",
        *map(str, Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python3")),
    ]
    found: dict[str, str] = {}
    for name in names:
        if not Path(name).exists():
            continue
        says = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"Python 3\.(\d+)", says.stdout)
        if version and int(version[1]) >= 12:
            found.setdefault(os.path.realpath(name), name)
    return list(found)


PYTHONS = _pythons()

pytestmark = [
    *MARKS,
    pytest.mark.skipif(not PYTHONS, reason="needs Python 3.12 or newer"),
]


@pytest.mark.parametrize("arm", ARMS, ids=str)
@pytest.mark.parametrize("python", PYTHONS)
def test_no_warning_that_direct_does_not_show(python: str, arm: tuple[str, ...]) -> None:
    """It counts its threads by /proc/self/stat."""
    memsc = str(FRONT)
    program = [python, "-I", "-S", "-W", "always", "-c", CODE]
    for command in (program, [memsc, "run", "-q", *ATTACHABLE, *arm, "--", *program]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (0, "forked\n", "")
