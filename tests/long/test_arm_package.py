# SPDX-License-Identifier: MIT
"""The package for 64-bit Arm, in a Debian for it under user-mode emulation.

QEMU has neither BPF nor performance counters there, and what needs one says so.
"""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import emulated
from tests.helpers.required import two_cpus

from memsc import analysis as ma

AARCH64 = 183

pytestmark = [emulated.emulated, two_cpus]


@pytest.fixture(autouse=True, scope="module")
def can_be_run() -> None:
    if not (emulated.MACHINE / "usr/bin/memsc").is_symlink():
        pytest.skip("needs the package, `make test-deb-arm`")
    emulated.need_inside(emulated.MACHINE)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="memsc-arm-") as name:
        yield Path(name)


def inside(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command with what is installed there."""
    return subprocess.run(
        [emulated.INSIDE, "/tmp", *command],
        env=emulated.place(emulated.MACHINE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=emulated.INSIDE_S,
    )


def machine_of(path: Path) -> int | None:
    """Number of the processor that a file is for; None: it is no program and no library."""
    with path.open("rb") as file:
        head = file.read(20)
    return struct.unpack_from("<H", head, 18)[0] if head.startswith(b"\x7fELF") else None


def test_all_that_is_native_is_for_this_processor() -> None:
    files = (emulated.MACHINE / "usr/lib/memsc").rglob("*")
    found = [machine_of(path) for path in files if path.is_file() and not path.is_symlink()]
    assert set(found) == {AARCH64, None}
    assert found.count(AARCH64) > 100  # memsc's own, pyarrow's, scipy's, …


def test_a_program_does_the_same() -> None:
    plain = inside("ls", "-l", "/usr")
    carried = inside("memsc", "run", "-q", "--", "ls", "-l", "/usr")
    assert (carried.returncode, carried.stdout) == (0, plain.stdout)


def test_its_calls_are_counted() -> None:
    done = inside("memsc", "run", "--stats", "--", "ls", "/usr")
    assert done.returncode == 0, done.stderr
    assert "100.0% of what can be" in done.stdout + done.stderr
    assert "syscall instructions rewritten: 559 of 559" in done.stdout + done.stderr


def test_a_trace_has_every_call_and_says_how_coarse_its_clock_is(folder: Path) -> None:
    trace = folder / "a.memsc"
    command = ("memsc", "trace", "-o", trace, "--probes", "none", "--no-calibrate", "--", "ls")
    done = inside(*command, "/usr")
    assert done.returncode == 0, done.stderr
    clock: dict[str, Any] = json.loads((trace / "session.json").read_text())["clock"]
    assert clock["counter"] == "cntvct"
    # Read here, for the format is the same on every processor.
    calls = ma.open(trace).folder.read("calls", ["syscall"]).to_pandas()
    assert {"openat", "getdents64", "write"} <= set(calls["syscall"])
    said = inside("memsc", "report", trace)
    assert said.returncode in (0, 4), said.stderr
    assert "0 lost, all that reached memsc accounted for" in said.stdout.replace("\n", " ")


def test_what_is_not_there_has_a_reason_each() -> None:
    done = inside("memsc", "doctor", "--json")
    found = {one["name"]: one for one in json.loads(done.stdout)["features"]}
    for name in ("libmemsc", "C-library layer", "CPUs", "glibc"):
        assert found[name]["state"] == "ok", found[name]
    lacking = [one for one in found.values() if one["state"] != "ok"]
    assert {"BPF", "hardware counters"} <= {one["name"] for one in lacking}
    assert all(one["detail"] and "\n" not in one["detail"] for one in lacking)
