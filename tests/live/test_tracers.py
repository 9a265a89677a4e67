# SPDX-License-Identifier: MIT
"""Who traces a program by ptrace is told what he would be told without memsc.

Home-made tracers are cases of tests/live/programs/tracers.c; these are other people's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.helpers import listening, preloaded
from tests.helpers.preloaded import CARRIED, RECORDED, environment

from memsc.runtime.carried import TRACED, Carried

pytestmark = preloaded.MARKS

SHELL = ("sh", "-c", "echo a; (echo b); ls -d /; exec echo c")
GDB = ("gdb", "-q", "-nx", "-batch", "-ex", "set debuginfod enabled off")
TRACERS: dict[str, tuple[str, ...]] = {
    "strace": ("strace", "-o", "said", "-e", "trace=write,clone3,execve", *SHELL),
    "strace -f": ("strace", "-f", "-o", "said", "-e", "trace=write,clone,clone3", *SHELL),
    "strace -c": ("strace", "-f", "-c", "-U", "calls,name", "-o", "said", "/bin/echo", "a"),
    "ltrace": ("ltrace", "-f", "-o", "said", "-e", "puts+getenv", "/bin/echo", "a"),
    "ltrace -S": ("ltrace", "-S", "-o", "said", "-e", "", "/bin/echo", "a"),
    "gdb": (
        *GDB,
        *("-ex", "catch syscall write", "-ex", "run", "-ex", "info threads", "-ex", "bt 1"),
        *("-ex", "continue", "-ex", "continue", "--args", "/bin/echo", "a"),
    ),
    "gdb, stepping": (
        *(*GDB, "-ex", "break exit", "-ex", "run", "-ex", "info threads", "-ex", "stepi 20"),
        *("-ex", "info inferiors", "-ex", "continue", "--args", "/bin/echo", "a"),
    ),
}
# What a program finds of itself in any run: where things lie, and its number.
_CHANGING = re.compile(r"0x[0-9a-f]+|\b\d{3,}\b|\d+(?= vars)")


def _seen(command: tuple[str, ...], folder: Path, variables: dict[str, str]) -> list[str]:
    """What the program and its tracer said, less what differs from run to run."""
    folder.mkdir()
    done = preloaded.run(list(command), variables, cwd=folder)
    said = folder / "said"
    text = f"{done.returncode}\n{done.stdout}\n{said.read_text() if said.exists() else ''}"
    lines = (" ".join(_CHANGING.sub("N", line).split()) for line in text.splitlines())
    return [line.removeprefix("N ") for line in lines]


@pytest.mark.parametrize(("transport", "service"), CARRIED)
@pytest.mark.parametrize("name", TRACERS)
def test_it_is_told_the_same(name: str, transport: str, service: str, tmp_path: Path) -> None:
    command = TRACERS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}; see requirements-debian-*.txt")
    directly = _seen(command, tmp_path / "direct", environment(None))
    carried = _seen(command, tmp_path / "carried", environment(transport, service, **RECORDED))
    if name in ("strace -c", "ltrace -S"):  # the loader looks for one library more
        directly, carried = (
            [one for one in found if "write" in one] for found in (directly, carried)
        )
    assert sorted(carried) == sorted(directly)
    assert any("write" in line or "getenv" in line or "exit" in line for line in carried)


def test_it_says_that_it_is_not_carried() -> None:
    """The one that is traced from its first instruction on, and the one that asks for it."""
    asks = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"
    command = ["sh", "-c", f"strace -o /dev/null echo a; /usr/bin/python3 -ISc '{asks}'; true"]
    if shutil.which("strace") is None:
        pytest.skip("needs strace; see requirements-debian-test.txt")
    done, messages = listening.run(command, environment("memsc"), stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "a\n")
    carried = Carried()
    for message in messages:
        message.close()
        carried.add(message)
    names = {name for name, why in carried.directly() if why == TRACED}
    assert {re.sub(r"\d.*", "", name) for name in names} == {"echo", "python", "strace"}
    assert carried.started["strace"] == 1


@pytest.mark.parametrize(("follows", "sees"), [((), False), (("-f",), True)])
def test_who_attaches_later_finds_the_service(
    follows: tuple[str, ...], sees: bool, tmp_path: Path
) -> None:
    """A limit: it is one thread more, and makes the calls."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace; see requirements-debian-test.txt")
    said = tmp_path / "said"
    with preloaded.answering("cat", variables=environment("memsc", **RECORDED)) as cat:
        assert cat.stdin
        assert cat.stdout
        tracing = ["strace", *follows, "-o", str(said), "-e", "trace=write", "-p", str(cat.pid)]
        with subprocess.Popen(tracing, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr
            assert "attached" in tracer.stderr.readline()
            cat.stdin.write("beside\n")
            cat.stdin.close()
            assert cat.stdout.read() == "beside\n"
            assert cat.wait(preloaded.LIMIT_S) == 0
            tracer.communicate(timeout=preloaded.LIMIT_S)
    assert ('write(1, "beside' in said.read_text()) == sees
