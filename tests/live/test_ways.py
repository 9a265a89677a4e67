# SPDX-License-Identifier: MIT
"""Whatever becomes of a program, it is recorded; see the table in ways.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers import servers, ways
from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus
from tests.helpers.ways import WAYS, Place

from memsc.tracer.format import open_trace

pytestmark = [
    two_cpus,
    layered,
    pytest.mark.skipif(os.geteuid() != 0, reason="another user or root is root's to take"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
ARMS = ("direct", "ipi", "memsc", "memsc-scanner")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with ways.place() as made:
        yield made


def trace(command: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    how = ("-o", "t.memsc", "--probes", "none", *options)
    return memsc("trace", *how, "--", *command, cwd=folder, limit_s=120)


@pytest.fixture(scope="module")
def listed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Calls that only the listing makes, and how often: by a tracer that stops it at each."""
    found = ways.counted(place.command(WAYS["nothing"]), tmp_path_factory.mktemp("strace"))
    assert found["statx"] > ways.FILES
    return {name: found[name] for name in ("statx", "getxattr", "lgetxattr")}


@pytest.mark.parametrize("name", WAYS)
def test_it_is_recorded(name: str, place: Place, listed: dict[str, int], tmp_path: Path) -> None:
    """Under each arm every call of the listing, which does what it does without memsc."""
    command = place.command(WAYS[name])
    arms = ("--transport", "direct,ipi,memsc", "--service", "inline,scanner")
    done = trace(command, tmp_path, *arms)
    assert done.returncode == 0, done.stderr
    assert "cannot be preloaded" not in done.stderr
    plain = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout == plain.stdout.decode()
    recorded = open_trace(tmp_path / "t.memsc")
    calls = recorded.read("calls", ["arm", "pid", "syscall"]).to_pandas()
    for one in recorded.session.rounds:
        assert (one.calls or 0) + (one.lost or 0) + (one.unfinished or 0) == one.made
        made = calls[calls["arm"] == one.arm]
        # What mounts on the way looks at files, too: how often is a matter of its release.
        lister = made[made["syscall"] == "statx"]["pid"].mode()[0]
        found = made[made["pid"] == lister]["syscall"].value_counts()
        assert {call: found.get(call, 0) for call in listed} == listed, one.arm
    assert set(calls["arm"]) >= set(ARMS)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_a_server_is_recorded(tmp_path: Path) -> None:
    """Its workers, which are another user's; tests/long has more of them, under all arms."""
    servers.is_recorded(servers.SERVERS["nginx"], tmp_path, ("--transport", "direct,memsc"))


_SWEEP = """
import fcntl, os, sys
def there(number):
    try: fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError: return False
    return True
def closed(number):
    try: os.close(number)
    except OSError as error: return error.errno
    return 0
def dup(number):
    try: return os.close(os.dup2(number, 300)) or 0
    except OSError as error: return error.errno
print([n for n in range(3, 1100) if there(n)])
print({dup(n) for n in range(200, 300)})
print({os.dup2(0, n) == n for n in range(200, 300)})
print([n for n in range(3, 1100) if there(n)])
print([closed(n) for n in range(200, 300)])
os.dup2(0, 500)
os.closerange(3, 1 << 30)
print([n for n in range(3, 1100) if there(n)])
pid = os.fork()
if pid == 0:
    os._exit(len([n for n in range(3, 1100) if there(n)]))
print(os.wait()[1])
sys.stdout.flush()
os.execv("/bin/true", ["true"])
"""


@pytest.mark.parametrize("arm", ARMS)
def test_what_memsc_keeps_open_is_not_there(arm: str, tmp_path: Path) -> None:
    """To a program that sweeps through its descriptors; and it is still recorded afterwards."""
    command = ["/usr/bin/python3", "-ISc", _SWEEP]
    plain = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    transport, _, service = arm.partition("-")
    how = ("--transport", transport, "--service", service or "inline")
    done = trace(command, tmp_path, *how)
    assert done.stdout == plain.stdout.decode()
    (one,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert len(one.pids) == 2
