# SPDX-License-Identifier: MIT
"""What cannot be carried: one clear line and the way out of it, never a run that is half of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.required import layered

MEMSC = (str(FRONT), "run")
FALLBACK = "run it directly, or with `--transport direct`"

THIRTY_TWO = r"""
.globl _start
_start: movl $4, %eax; movl $1, %ebx; movl $text, %ecx; movl $5, %edx; int $0x80
        movl $1, %eax; movl $3, %ebx; int $0x80
.data
text: .ascii "here\n"
"""

pytestmark = layered


def _compile(folder: Path, *options: str, compiler: str = "gcc") -> str:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}; see requirements-debian-programs.txt")
    source = folder / "program.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("here"); return 3; }\n')
    subprocess.run([compiler, *options, "-o", folder / "program", source], check=True)
    return str(folder / "program")


def static(folder: Path) -> str:
    return _compile(folder, "-static")


def static_pie(folder: Path) -> str:
    return _compile(folder, "-static-pie")


def musl(folder: Path) -> str:
    return _compile(folder, compiler="musl-gcc")


def thirty_two_bits(folder: Path) -> str:
    """Writes and exits by itself: no 32-bit C library is needed to make or run it."""
    source = folder / "program.S"
    source.write_text(THIRTY_TWO)
    flags = ["-m32", "-nostdlib", "-static", "-no-pie"]
    subprocess.run(["gcc", *flags, "-o", folder / "program", source], check=True)
    return str(folder / "program")


def set_uid(folder: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("needs root to make another user's file")
    program = _compile(folder)
    os.chown(program, 12345, 12345)
    Path(program).chmod(0o4755)
    return program


def _script(folder: Path, first: str) -> str:
    (folder / "script").write_text(f"#!{first}\necho here; exit 3\n")
    (folder / "script").chmod(0o755)
    return str(folder / "script")


def script_of_static(folder: Path) -> str:
    interpreter = static(folder)
    return _script(folder, interpreter)


def no_interpreter(folder: Path) -> str:
    return _script(folder, "/no/such/interpreter")


def no_program(folder: Path) -> str:
    return _script(folder, "/usr/bin/env nosuch")


def missing(folder: Path) -> str:
    return str(folder / "missing")


def a_folder(folder: Path) -> str:
    return str(folder)


def not_executable(folder: Path) -> str:
    (folder / "plain").write_text("#!/bin/sh\n")
    return str(folder / "plain")


# The program, what is said about it, and whether it can be run directly.
REFUSED: dict[Callable[[Path], str], tuple[str, bool]] = {
    static: ("linked statically", True),
    static_pie: ("linked statically", True),
    musl: ("its C library is not glibc (/lib/ld-musl-x86_64.so.1)", True),
    thirty_two_bits: ("32-bit", True),
    set_uid: ("set-uid", True),
    script_of_static: ("linked statically", True),
    no_interpreter: ("/no/such/interpreter is missing", False),
    no_program: ("nosuch: there is no such program on PATH", False),
    missing: ("there is no such file", False),
    a_folder: ("it is a folder", False),
    not_executable: ("may not be executed", False),
}


def run(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MEMSC, *options, "--", *command], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("stats", [(), ("--stats",)], ids=["", "stats"])
@pytest.mark.parametrize("make", REFUSED)
def test_one_line_says_why_and_nothing_is_run(
    make: Callable[[Path], str], stats: tuple[str, ...], tmp_path: Path
) -> None:
    program = make(tmp_path)
    says, runs = REFUSED[make]
    for _ in range(2):
        done = run(program, options=stats)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("memsc: ")
        assert done.stderr.count("\n") == 1
        assert says in done.stderr
        assert (FALLBACK in done.stderr) == runs
    if runs:
        plain = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
        direct = run(program, options=("-q", "--transport", "direct"))
        assert (direct.returncode, direct.stdout) == (plain.returncode, plain.stdout)
        assert direct.stderr == plain.stderr


CHAINS = (static, musl, thirty_two_bits, set_uid)


@pytest.mark.parametrize("make", CHAINS)
@pytest.mark.parametrize("how", ["exec {}", "{}; true", "(exec {}); {}"])
def test_a_chain_through_it_goes_on_and_is_said(
    make: Callable[[Path], str], how: str, tmp_path: Path
) -> None:
    program = make(tmp_path)
    line = how.format(*[program] * 2)
    plain = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    done = run("sh", "-c", line, options=("-q", "--stats", "--transport", "ipi"))
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    times = how.count("{}")
    said = f"ran directly: {program}{f' ×{times}' if times > 1 else ''}: "
    (found,) = (text for text in done.stderr.splitlines() if text.startswith("ran directly"))
    assert found.startswith(said)
    assert REFUSED[make][0] in found


def test_a_chain_by_posix_spawn_is_said_too(tmp_path: Path) -> None:
    program = static(tmp_path)
    code = f"import os; os.waitpid(os.posix_spawn('{program}', ['x'], os.environ), 0)"
    done = run("/usr/bin/python3", "-c", code, options=("-q", "--stats", "--transport", "ipi"))
    assert f"ran directly: {program}: it is linked statically" in done.stderr
    assert done.stdout == "here\n"


def test_a_chain_that_is_carried_is_not_said() -> None:
    done = run("sh", "-c", "ls /; exec ls /", options=("-q", "--stats", "--transport", "ipi"))
    assert "ran directly" not in done.stderr
    assert "ls ×2" in done.stderr


def test_arguments_that_leave_no_room_are_said() -> None:
    """The most that the kernel takes; of what it refuses nothing ran."""
    code = """
import os, resource
resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
for pieces in range(13900, 13000, -4):
    child = os.fork()
    if child == 0:
        try:
            os.execve("/bin/true", ["a" * 10] * pieces, {})
        except OSError:
            os._exit(1)
    if os.waitpid(child, 0)[1] == 0:
        break
"""
    done = run("/usr/bin/python3", "-c", code, options=("-q", "--stats", "--transport", "ipi"))
    said = "ran directly: /bin/true: its arguments leave no room for memsc's variables"
    assert [line for line in done.stderr.splitlines() if line.startswith("ran directly")] == [said]
