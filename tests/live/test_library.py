# SPDX-License-Identifier: MIT
"""The library from Python: the direct API under every arm, its errors, its clock, its names."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from memsc.runtime import library, topology
from memsc.runtime.files import LAYER, LIBRARY
from memsc.runtime.launch import TRANSPORTS

MACHINE = topology.read()
PLACED = topology.place(MACHINE, "ipi")
ARMS = [
    (transport, service)
    for transport in TRANSPORTS
    for service in ("inline", "scanner")
    if len(MACHINE.reachable) > 1 or transport not in topology.SPINNING
]

HEADER = Path(__file__).resolve().parents[2] / "runtime" / "include" / "memsc.h"

BEGIN = """
import errno, os
from memsc.runtime import library as lib
GETPPID, WRITE, OPENAT = map(lib.syscall_number, ("getppid", "write", "openat"))

def refused(function, *args):
    try:
        function(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None
"""


def run(script: str, **variables: str) -> str:
    """Run a script in a process of its own, steered by MEMSC_* variables."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MEMSC_")}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(script)],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def steering(transport: str, service: str) -> dict[str, str]:
    return {
        "MEMSC_TRANSPORT": transport,
        "MEMSC_SERVICE": service,
        "MEMSC_SERVICE_CPUS": topology.format_cpus(PLACED.service_cpus),
    }


@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_direct_api(transport: str, service: str) -> None:
    run(
        """
        lib.register()
        assert lib.call(GETPPID) == os.getppid()
        assert lib.call(WRITE, -1, 0, 0) == -errno.EBADF
        index = lib.add(GETPPID)
        while not lib.ready(index):
            pass
        assert lib.retval(index) == os.getppid()
        indices = {lib.add(GETPPID) for _ in range(64)}
        assert indices == set(range(64))
        assert refused(lib.add, GETPPID) == "EAGAIN"
        direct = os.environ["MEMSC_TRANSPORT"] == "direct"  # it needs no entry
        assert refused(lib.call, GETPPID) == (None if direct else "EAGAIN")
        assert lib.wait_any() in indices
        assert lib.wait_all() == 64
        assert {lib.retval(i) for i in indices} == {os.getppid()}
        lib.unregister()
        lib.stop()
        """,
        **steering(transport, service),
    )


@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_documented_errors(transport: str, service: str) -> None:
    run(
        """
        for function in (lib.unregister, lib.wait_any, lib.wait_all):
            assert refused(function) == "ENOTCONN", function
        assert refused(lib.call, GETPPID) == "ENOTCONN"
        assert refused(lib.add, GETPPID) == "ENOTCONN"
        assert refused(lib.ready, 0) == "ENOTCONN"
        assert refused(lib.retval, 0) == "ENOTCONN"
        assert refused(lib.stop) == "ENOTCONN"
        lib.start()
        assert refused(lib.start) == "EALREADY"
        lib.register()
        assert refused(lib.register) == "EALREADY"
        assert refused(lib.stop) == "EBUSY"
        for index in (-1, 64, 1 << 20):
            assert refused(lib.ready, index) == "EINVAL"
            assert refused(lib.retval, index) == "EINVAL"
        assert refused(lib.add, lib.syscall_number("execve")) == "ENOTSUP"  # EOPNOTSUPP
        assert refused(lib.ready, 5) == "ENOENT"
        assert refused(lib.retval, 5) == "ENOENT"
        assert refused(lib.wait_any) == "ENOENT"
        assert lib.wait_all() == 0
        index = lib.add(GETPPID)
        lib.wait_all()
        lib.retval(index)
        assert refused(lib.retval, index) == "ENOENT"
        lib.unregister()
        assert refused(lib.unregister) == "ENOTCONN"
        lib.stop()
        """,
        **steering(transport, service),
    )


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [
        ("MEMSC_TRANSPORT", "fast", "EINVAL"),
        ("MEMSC_SERVICE", "", "EINVAL"),
        ("MEMSC_SERVICE_CPUS", "x", "EINVAL"),
        ("MEMSC_SERVICE_CPUS", "1000", "ENXIO"),
        ("MEMSC_IDLE_US", "-1", "EINVAL"),
        ("MEMSC_RING", "0", "EINVAL"),
        ("MEMSC_DIRECTORY", "/nonexistent", "ENOENT"),
        ("MEMSC_DIRECTORY", "/" + 300 * "x", "EINVAL"),
    ],
)
def test_a_wrong_environment_is_refused(variable: str, value: str, error: str) -> None:
    found = run("print(refused(lib.start))", **{variable: value})
    assert found.strip() == error


def test_threads_call_at_the_same_time() -> None:
    run(
        """
        import threading
        wrong = []
        def work():
            lib.register()
            wrong.extend(r for _ in range(500) if (r := lib.call(GETPPID)) != os.getppid())
            lib.unregister()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not wrong, wrong
        lib.stop()
        """,
        **steering("memsc" if len(MACHINE.reachable) > 1 else "ipi", "inline"),
    )


def test_the_region_is_named_only_while_it_exists(tmp_path: Path) -> None:
    found = run(
        """
        assert lib.region_path() is None
        lib.start()
        path = lib.region_path()
        assert path.exists() and path.stat().st_mode & 0o777 == 0o600
        lib.stop()
        assert lib.region_path() is None and not path.exists()
        print(path)
        """,
        MEMSC_DIRECTORY=str(tmp_path),
        **steering("ipi", "inline"),
    )
    assert Path(found.strip()).parent == tmp_path


def test_clock_readings_lie_in_order() -> None:
    first, second = library.clock_sample(), library.clock_sample()
    assert second.ns >= first.ns
    assert second.cycles > first.cycles
    assert first.width >= 0
    before, after = library.clock_cycles(), library.clock_cycles()
    assert after >= before


def test_a_counter_moves_by_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that counts in nanoseconds at 25 MHz."""
    step = library.counter_step()
    reading = library.clock_cycles
    assert (reading() - reading()) % step.cycles == 0
    assert 0 < step.ns < 100
    monkeypatch.setattr(library, "clock_cycles", lambda: reading() // 40 * 40)
    assert library.counter_step(20_000).cycles == math.lcm(step.cycles, 40)


@pytest.mark.skipif(len(MACHINE.reachable) < 2, reason="needs two CPUs")
def test_skew_is_an_interval_and_leaves_the_thread_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    here, there = sorted(MACHINE.reachable)[:2]
    skew = library.clock_skew(here, there, trips=2000)
    assert skew.low <= skew.high
    assert skew.bound >= 0
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(("here", "there"), [(0, 8000), (8000, 0), (0, 1023)])
def test_skew_of_a_cpu_that_is_not_there_is_refused(here: int, there: int) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="EINVAL"):
        library.clock_skew(here, there, trips=10)
    assert os.sched_getaffinity(0) == before


def test_names() -> None:
    assert library.syscall_name(library.syscall_number("getppid")) == "getppid"
    assert library.syscall_name(100_000) == "#100000"
    assert library.syscall_name(-1) == "#-1"
    with pytest.raises(KeyError):
        library.syscall_number("no_such_call")
    assert library.local_reason(library.syscall_number("getppid")) is None
    assert library.local_reason(library.syscall_number("execve"))
    assert library.version().startswith("0.")


def offered(file: Path) -> dict[str, set[str]]:
    """Names that a library exports, by version."""
    command = ["nm", "--dynamic", "--defined-only", "--with-symbol-versions", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, set[str]] = {}
    for line in lines:
        kind, symbol = line.split()[1:]
        name, _, version = symbol.partition("@@")
        if kind != "A":  # the name of a version
            found.setdefault(version, set()).add(name)
    return found


def test_the_library_exports_what_its_header_declares_and_nothing_else() -> None:
    declared = re.findall(r"^MEMSC_API [^(]*?(\w+)\(", HEADER.read_text(), re.MULTILINE)
    assert len(set(declared)) > 20
    assert offered(LIBRARY) == {
        "MEMSC_0": set(declared),
        "MEMSC_PRIVATE": {"memsc_registry_key_of"},
    }


@pytest.mark.skipif(not LAYER.exists(), reason="needs the layer, which was built for x86-64 alone")
def test_the_layer_stands_in_for_nothing_but_what_sanitizers_ask() -> None:
    assert offered(LAYER) == {"": {"memsc_layer_call", "__asan_default_options"}}


def test_a_program_asks_for_the_librarys_version() -> None:
    """As `gcc a.c …/libmemsc.so` makes it; the number stands for what it may rely on."""
    command = ["readelf", "--dynamic", "--wide", str(LIBRARY.with_suffix(""))]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"SONAME.*\[(.*)\]", text) == [LIBRARY.name] == ["libmemsc.so.0"]
