# SPDX-License-Identifier: MIT
"""Programs that run at once, on one service CPU, each do what they do alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.helpers import preloaded
from tests.helpers.required import layered
from tests.live.test_run import FORWARDING, MEMSC

pytestmark = layered

_FOUR = """
import hashlib, os, threading
def walk(name):
    for _ in range(20):
        with open(name, "wb") as file:
            for block in range(50):
                file.write(b"%d" % block * 100)
                file.flush()
        os.stat(name)
    found[name] = hashlib.sha256(open(name, "rb").read()).hexdigest()
found = {}
threads = [threading.Thread(target=walk, args=(f"out-{i}",)) for i in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(found.items()))
"""
# Each call waits for the other thread: the service hands it to its pool.
_TO_AND_FRO = """
import os, threading
there, back = os.pipe(), os.pipe()
def echo():
    for _ in range(300):
        os.write(back[1], os.read(there[0], 1))
thread = threading.Thread(target=echo)
thread.start()
for i in range(300):
    os.write(there[1], bytes([i % 256]))
    assert os.read(back[0], 1) == bytes([i % 256])
thread.join()
print("300 times")
"""
PROGRAMS = {
    "dd": ("dd", "if=input", "of=copy", "bs=512", "status=none"),
    "ls": ("ls", "-lR", "--time-style=+", "/usr/share/doc/bash", "/etc/alternatives"),
    "python": ("/usr/bin/python3", "-c", _FOUR),
    "pipes": ("/usr/bin/python3", "-c", _TO_AND_FRO),
    "sort": ("sort", "-S", "64k", "words", "-o", "sorted"),
}
Result = tuple[int, bytes, bytes, dict[str, bytes]]


def do(name: str, folder: Path, how: tuple[str, ...] = (), *, own_session: bool = False) -> Result:
    """Exit status, output, messages and files of a program run in a folder of its own."""
    folder.mkdir()
    (folder / "input").write_bytes(bytes(range(256)) * 2000)
    (folder / "words").write_text("".join(f"{i * 7919 % 100_003}\n" for i in range(20_000)))
    done = subprocess.run(
        [*how, *PROGRAMS[name]],
        capture_output=True,
        check=False,
        cwd=folder,
        timeout=300,
        stdin=subprocess.DEVNULL,
        start_new_session=own_session,
        env=os.environ | {"LC_ALL": "C"},
    )
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return done.returncode, done.stdout, done.stderr, files


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("alone")
    found = {name: do(name, folder / name) for name in PROGRAMS}
    assert all(status == 0 for status, *_ in found.values())
    return found


def forwarded(transport: str, service: str) -> tuple[str, ...]:
    return (*MEMSC, "-q", "--transport", transport, "--service", service, "--")


@pytest.mark.parametrize(("transport", "service"), FORWARDING)
def test_four_at_once_do_as_alone(
    tmp_path: Path, alone: dict[str, Result], transport: str, service: str
) -> None:
    how = forwarded(transport, service)
    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        found = {name: pool.submit(do, name, tmp_path / name, how) for name in PROGRAMS}
    assert {name: result.result() for name, result in found.items()} == alone


# Each stops what it traces, its service among it, and makes its own calls meanwhile.
TRACERS = {
    "strace": ("strace", "-f", "-o", "trace"),
    "gdb": (
        *(
            "gdb",
            "-q",
            "-batch",
            "-nx",
            "-ex",
            "set breakpoint pending on",
            "-ex",
            "break readdir64",
        ),
        *("-ex", "run", "-ex", "delete", "-ex", "continue", "--args"),
    ),
}


@pytest.mark.parametrize(("transport", "service"), FORWARDING)
@pytest.mark.parametrize("tracer", TRACERS)
def test_a_tracer_and_what_it_traces_get_on(
    tmp_path: Path, tracer: str, transport: str, service: str
) -> None:
    if shutil.which(tracer) is None:
        pytest.skip(f"needs {tracer}; see requirements-debian-*.txt")
    plain = subprocess.run(["ls", "/"], capture_output=True, check=True, text=True).stdout
    variables = preloaded.environment(transport, service, MEMSC_TRACED="1", **preloaded.RECORDED)
    done = preloaded.run([*TRACERS[tracer], "/bin/ls", "/"], variables, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if tracer == "strace":
        assert done.stdout == plain
        assert "+++ exited with 0 +++" in (tmp_path / "trace").read_text()
    else:
        # With libc6-dbg it names the argument.
        assert "readdir64 (" in done.stdout
        assert plain in done.stdout
        assert "exited normally" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("service", ["inline", "scanner"])
def test_a_neighbour_that_is_stopped_or_killed_holds_up_nobody(
    tmp_path: Path, alone: dict[str, Result], service: str, number: signal.Signals
) -> None:
    if ("memsc", service) not in FORWARDING:
        pytest.skip("one CPU cannot poll on both sides")
    how = forwarded("memsc", service)
    busy = "import os\nfor i in range(10**9):\n os.stat('/')\n if i == 2000: print(flush=True)"
    with subprocess.Popen(
        [*how, "/usr/bin/python3", "-c", busy], stdout=subprocess.PIPE, start_new_session=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"\n"
            # A session is a group of tasks to the scheduler, which is fair to groups: mostly.
            for name in ("dd", "pipes"):
                assert do(name, tmp_path / name, how, own_session=True) == alone[name]
            os.killpg(other.pid, number)
            assert do("dd", tmp_path / "after", how) == alone["dd"]
        finally:
            os.killpg(other.pid, signal.SIGKILL)
