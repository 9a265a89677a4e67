# SPDX-License-Identifier: MIT
"""stress-ng's own checks of files, pipes, sockets, signals, forks and mappings, under memsc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.preloaded import ATTACHABLE
from tests.helpers.required import layered

from memsc.runtime import topology

MEMSC = (str(FRONT), "run", "-q", *ATTACHABLE, "--")
SECONDS = 2
# Each checks its results with --verify.
STRESSORS = (
    *("access", "chdir", "chmod", "copy-file", "dentry", "dir", "dup", "fallocate", "fcntl"),
    *("fiemap", "filename", "flock", "fstat", "getdent", "hdd", "io", "iomix", "link", "lockf"),
    *("madvise", "memfd", "mmap", "mremap", "msync", "pipe", "pipeherd", "poll"),
    *("readahead", "rename", "seek", "sendfile", "sigio", "sigfd", "signal", "sigpipe", "sigq"),
    *("sock", "sockpair", "splice", "symlink", "tee", "timer", "timerfd", "touch", "udp", "utime"),
    *("eventfd", "epoll", "fork", "vfork", "exec", "wait", "kill", "pthread", "null", "zero"),
    *("revio", "sync-file", "vm-splice", "xattr", "sem-sysv", "shm-sysv", "msg", "mq", "get"),
)

pytestmark = [
    layered,
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="needs Debian's stress-ng"),
    pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs"),
]


def complaints(stressor: str, prefix: tuple[str, ...], folder: Path) -> list[str]:
    """What it found wrong; its end counts, too, if it was not a good one."""
    how = ["--verify", "--timeout", str(SECONDS), "--temp-path", str(folder), "--metrics-brief"]
    done = subprocess.run(
        [*prefix, "stress-ng", f"--{stressor}", "1", *how],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60 * SECONDS,
        env=os.environ | {"LC_ALL": "C"},
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    found = [line for line in lines if ": fail: " in line]
    return found + ([] if done.returncode in (0, 3) else [f"status {done.returncode}", *lines])


@pytest.mark.parametrize("stressor", STRESSORS)
def test_it_verifies(stressor: str, tmp_path: Path) -> None:
    """What fails without memsc, too, is not its fault."""
    found = complaints(stressor, MEMSC, tmp_path)
    assert not found or complaints(stressor, (), tmp_path)
