# SPDX-License-Identifier: MIT
"""Debian's packaged tests of CPython: under memsc the same fail as without, and no others."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.preloaded import ATTACHABLE
from tests.helpers.required import layered

from memsc.runtime import topology

PYTHON = "/usr/bin/python3"
MEMSC = (str(FRONT), "run", "-q", *ATTACHABLE, "--")
# Debian's package lacks test_sqlite3, which the catalogue's python3 and sqlite3 stand in for.
MODULES = (
    *("test_os", "test_posix", "test_io", "test_file", "test_fileio", "test_subprocess"),
    *("test_signal", "test_threading", "test_socket", "test_select", "test_selectors"),
    *("test_mmap", "test_tempfile", "test_shutil", "test_asyncio"),
    *("test_multiprocessing_fork", "test_multiprocessing_spawn"),
)
# They hang without memsc, too, where the kernel's vsock has no other side.
LEFT_OUT = {"test_socket": ("*VSOCK*",)}
LIMIT_S = 1500
TRIES = 2  # again, each by itself: some tests time things, and two CPUs are few


def packaged() -> bool:
    library = Path("/usr/lib", Path(PYTHON).resolve().name)
    return (library / "test" / "test_os.py").exists()


pytestmark = [
    layered,
    pytest.mark.skipif(not packaged(), reason="needs Debian's libpython3.X-testsuite"),
    pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs"),
]


def failures(
    module: str, prefix: tuple[str, ...], folder: Path, only: tuple[str, ...] = ()
) -> set[str]:
    """Names of the tests that fail; a module that does not come to its end counts as one."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    choice = [word for name in only for word in ("-m", name)]
    choice += [word for name in LEFT_OUT.get(module, ()) for word in ("-i", name)]
    how = ["-m", "test", "--timeout", str(LIMIT_S // 2), "--junit-xml", str(report)]
    done = subprocess.run(
        [*prefix, PYTHON, *how, *choice, module],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=LIMIT_S,
    )
    if not report.exists():
        return {f"{module} ended with {done.returncode}: {done.stdout[-2000:].decode()}"}
    cases = ET.parse(report).iter("testcase")
    return {
        case.attrib["name"]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


@pytest.mark.parametrize("module", MODULES)
def test_the_same_tests_fail(module: str, tmp_path: Path) -> None:
    expected = failures(module, (), tmp_path)
    differing = failures(module, MEMSC, tmp_path) ^ expected
    for _ in range(TRIES):
        if not differing:
            break
        only = tuple(differing) if all("ended with" not in name for name in differing) else ()
        again = failures(module, MEMSC, tmp_path, only)
        differing &= again ^ failures(module, (), tmp_path, only)
    assert not differing
