# SPDX-License-Identifier: MIT
"""Probes and breakpoints that others put into the C library never change what a program does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.helpers import preloaded
from tests.helpers.preloaded import CARRIED, RECORDED, environment
from tests.helpers.required import require
from tests.helpers.toggled_probes import ENTERED_AT_SITE, TYPE

ROOT = Path(__file__).resolve().parents[2]

CALLS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments)
{
    int null = open("/dev/null", O_RDWR), rounds = atoi(arguments[1]), wrong = 0;
    for (int i = 0; i < rounds; i++) {
        char byte;
        wrong += getppid() <= 0 || getpid() <= 0 || getuid() != geteuid() || getgid() != getegid();
        wrong += write(null, "x", 1) != 1 || read(null, &byte, 1) != 0 || umask(022) > 0777;
        wrong += gettid() != getpid() || close(open("/dev/null", O_RDONLY)) != 0;
        if (i % 64 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    printf("%d wrong of %d in %d\n", wrong, rounds, count);
    return 0;
}
"""

pytestmark = preloaded.MARKS
arms = pytest.mark.parametrize(("transport", "service"), CARRIED, ids=str)


def _lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    return None if TYPE.exists() else "needs the kernel's user-space probes"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that calls the functions in question, so many times."""
    program = tmp_path_factory.mktemp("calls") / "calls"
    gcc = ["gcc", "-O1", "-x", "c", "-", "-o", str(program)]
    subprocess.run(gcc, input=CALLS, text=True, check=True)
    return program


@contextmanager
def _probes(seed: int, names: tuple[str, ...] = ()) -> Generator[None]:
    command = [
        sys.executable,
        str(ROOT / "tests/helpers/toggled_probes.py"),
        str(seed),
        *names,
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as toggling:
        assert toggling.stdin
        assert toggling.stdout
        places = int(toggling.stdout.readline())
        assert places >= (len(names) or 100)
        try:
            yield
        finally:
            toggling.stdin.close()
            said = toggling.stdout.read()
    assert int(said) > 0


def _run(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    done = preloaded.run(command, variables)
    return done.returncode, done.stdout + done.stderr


@arms
def test_probes_come_and_go_while_a_program_runs(transport: str, service: str, calls: Path) -> None:
    """On the very functions whose first instructions lie beside the system call."""
    require(_lacking())
    rounds = 20_000 if transport == "memsc" and service == "inline" else 2_000
    with _probes(1, ENTERED_AT_SITE):
        for _ in range(3):
            said = _run([str(calls), str(rounds)], environment(transport, service, **RECORDED))
            assert said == (0, f"0 wrong of {rounds} in 2\n")


STARTED = (
    ["/bin/true"],
    ["/bin/echo", "x"],
    ["/bin/sh", "-c", "echo a | cat; (exit 3); echo $?"],
    ["/usr/bin/env", "printf", "b"],
)


def _starts(numbers: range, calls: Path) -> None:
    commands = [*STARTED, [str(calls), "100"]]
    expected = [_run(command, dict(os.environ)) for command in commands]
    with _probes(2 + numbers.start):
        for number in numbers:
            which = number % len(commands)
            variables = environment(*CARRIED[number % len(CARRIED)], **RECORDED)
            assert _run(commands[which], variables) == expected[which], number


def test_probes_come_and_go_while_programs_start(calls: Path) -> None:
    """On all functions with a system call in them."""
    require(_lacking())
    _starts(range(45), calls)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 1000, 100), ids="from-{}".format)
def test_a_thousand_starts_beside_probes(first: int, calls: Path) -> None:
    """The same for long, in parts of a minute each."""
    require(_lacking())
    _starts(range(first, first + 100), calls)


@arms
def test_breakpoints_of_a_debugger(transport: str, service: str, calls: Path) -> None:
    """Set before the program starts, and taken away while it runs."""
    if shutil.which("gdb") is None:
        pytest.skip("needs gdb; see requirements-debian-programs.txt")
    functions = ("getppid", "getuid", "write", "umask", "nanosleep", "open", "brk", "mmap")
    variables = environment(transport, service, MEMSC_TRACED="1", **RECORDED)
    preload = variables.pop("LD_PRELOAD")
    script = [
        *("set confirm off", "set breakpoint pending on", "set startup-with-shell off"),
        *("set pagination off", "set debuginfod enabled off", "handle SIG33 nostop noprint pass"),
        f"set environment LD_PRELOAD {preload}",
        *(f"break {name}" for name in functions),
        *("run 300", "continue 20", "info breakpoints", "disable", "continue"),
    ]
    words = [word for line in script for word in ("-ex", line)]
    status, said = _run(["gdb", "-q", "-nx", "-batch", *words, "--args", str(calls)], variables)
    assert status == 0, said
    assert "0 wrong of 300 in 2" in said, said
    assert "breakpoint already hit" in said, said
