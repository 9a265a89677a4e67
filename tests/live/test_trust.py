# SPDX-License-Identifier: MIT
"""Another user of the machine: what he can reach of one's pages, scanner and folders."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.required import two_cpus
from tests.helpers.workload import wait_until

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LIBRARY, WORK
from memsc.runtime.region import regions
from memsc.tracer.state import folders, leftovers

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user"),
    two_cpus,
]
OTHER, SECOND = 65534, 1  # nobody, daemon

# What another user tries: map a segment, to write and to read; open a file; stop a process.
INTRUDER = """\
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
got = []
for number in json.loads(sys.argv[1]):
    for flags in (0, 0o10000):
        if libc.shmat(number, None, flags) != ctypes.c_void_p(-1).value:
            got.append(f"segment {number} with {flags}")
    if libc.shmctl(number, 0, None) == 0:
        got.append(f"segment {number} removed")
for path in json.loads(sys.argv[2]):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.open(path, flags)
            got.append(path)
        except PermissionError:
            pass
for pid in json.loads(sys.argv[3]):
    try:
        os.kill(pid, 19)
        got.append(f"stopped {pid}")
    except PermissionError:
        pass
print(json.dumps(got))
"""


def as_user(user: int, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=user, group=user, extra_groups=[], capture_output=True, text=True, check=False
    )


@pytest.fixture
def program() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """One of user OTHER that makes calls, with its region in a folder that all may enter."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        place = folder / "regions"
        place.mkdir(mode=0o755)
        work, library = folder / WORK.name, folder / LIBRARY.name
        for source, copy in ((WORK, work), (LIBRARY, library)):
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o755)
        os.chown(place, OTHER, OTHER)
        cpus = sorted(os.sched_getaffinity(0))
        process = subprocess.Popen(
            ["taskset", "-c", str(cpus[-1]), str(work), "sync", "50000000", "/dev/null"],
            env=os.environ
            | {
                "MEMSC_TRANSPORT": "memsc",
                "MEMSC_SERVICE_CPUS": str(cpus[0]),
                "MEMSC_DIRECTORY": str(place),
                "MEMSC_RECORD": "1",
                "LD_LIBRARY_PATH": str(folder),
            },
            user=OTHER,
            group=OTHER,
            extra_groups=[],
        )
        wait_until(lambda: bool(regions(place)) or process.poll() is not None, "its region")
        try:
            yield process, place
        finally:
            process.kill()
            process.wait()


def segments(pid: int) -> list[int]:
    """Numbers of the shared memory that a process maps."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [int(line.split()[4]) for line in lines if "SYSV" in line]


def test_another_user_reaches_neither_pages_nor_registry_nor_region(
    program: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, place = program
    wait_until(lambda: len(segments(process.pid)) == 2, "its pages and its registry")
    numbers = segments(process.pid)
    (region,) = regions(place)
    assert stat.S_IMODE(region.stat().st_mode) == 0o600
    pids = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
    assert len(pids) >= 2  # it and its service
    what = [str(numbers), f'["{region}"]', str(pids)]
    done = as_user(SECOND, "/usr/bin/python3", "-I", "-c", INTRUDER, *what)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    # That these are the right ones: the user himself can.
    own = as_user(OTHER, "/usr/bin/python3", "-I", "-c", INTRUDER, what[0], "[]", "[]")
    assert f"segment {numbers[0]} with 0" in own.stdout
    assert process.poll() is None


def test_what_stands_in_the_runtime_folders_place_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MEMORY", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders.base().symlink_to(elsewhere)
    with pytest.raises(MemscError, match="not yours"):
        folders.session_folder()
    assert list(elsewhere.iterdir()) == []
    folders.base().unlink()
    folders.base().mkdir(mode=0o777)
    os.chown(folders.base(), SECOND, SECOND)
    with pytest.raises(MemscError, match="not yours"):
        folders.session_folder()


def test_cleaning_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "1-2-0.region").write_text("precious")
    top = tmp_path / "memory" / f"memsc-{os.getuid()}"
    top.mkdir(parents=True, mode=0o700)
    (top / "session-999999999-1").symlink_to(victim)
    inside = top / "session-999999998-1"
    inside.mkdir()
    (inside / "round-0").symlink_to(victim)
    (tmp_path / "memory" / "memsc-1").symlink_to(victim)
    leftovers.clean(tmp_path / "memory", kernel=False)
    assert not inside.exists()
    assert (victim / "1-2-0.region").read_text() == "precious"


def test_a_region_follows_no_link(tmp_path: Path) -> None:
    """Not even a dangling one in a folder that others may write to."""
    victim = tmp_path / "victim"
    cpus = sorted(os.sched_getaffinity(0))
    code = f"""
import os, sys
from pathlib import Path
started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
os.symlink({str(victim)!r}, f"{tmp_path}/{{os.getpid()}}-{{started}}-0.region")
os.execv({str(WORK)!r}, ["memsc-work", "sync", "10", "/dev/null"])
"""
    steered = {"MEMSC_SERVICE_CPUS": str(cpus[0]), "MEMSC_DIRECTORY": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | steered | {"MEMSC_KEEP": "1"}, check=False
    )
    assert done.returncode == 0
    assert not victim.exists()
    assert any(path.name.endswith("-1.region") for path in regions(tmp_path))
