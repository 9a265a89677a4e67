# SPDX-License-Identifier: MIT
"""What can be carried is found out before it is started, and said in one line."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from memsc.runtime.errors import MemscError
from memsc.runtime.program import check, resolve

TRUE = shutil.which("true") or "/bin/true"
MACHINE = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
FOREIGN = 183 if MACHINE == 62 else 62


def executable(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)
    return path


def elf(
    machine: int = MACHINE,
    loader: bytes | None = None,
    offset: int = 64,
    bits: int = 2,
    order: int = 1,
) -> bytes:
    """An ELF header, with one program header that names a loader."""
    head = b"\x7fELF" + bytes([bits, order, 1]) + bytes(9)
    count = 0 if loader is None else 1
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, offset, 0, 0, 64, 56, count, 0, 0, 0)
    if loader is None:
        return head
    text = loader + b"\0"
    return head + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1) + text


def refusal(name: str | Path) -> str:
    with pytest.raises(MemscError) as caught:
        check(str(name))
    assert caught.value.status == 1
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_program_is_found_as_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check("true") == TRUE
    assert check(TRUE) == TRUE
    mine = tmp_path / "mine"
    shutil.copy(TRUE, mine)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check("mine") == str(mine)
    monkeypatch.chdir(tmp_path)
    assert check("./mine") == "./mine"
    mine.chmod(0o644)
    assert "no such program on PATH" in refusal("mine")
    assert "may not be executed; `chmod +x ./mine`" in refusal("./mine")


@pytest.mark.parametrize("name", ["no-such-program", "", "a\tb", "x" * 5000])
def test_an_unknown_name(name: str) -> None:
    assert "no such program on PATH" in refusal(name)


def test_unknown_paths(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none")
    assert "folder" in refusal(tmp_path)
    assert "Not a directory" in refusal(f"{TRUE}/below")
    assert "too long" in refusal("/" + "x" * 5000)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic links" in refusal(loop)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"echo no interpreter\n", "neither a program nor a script"),
        (b"#!\n", "names no interpreter"),
        (b"#!   \necho", "names no interpreter"),
        (b"#!/no/such/interpreter -x\n", "interpreter /no/such/interpreter is missing"),
        (b"#!/usr/bin/env no-such-program\n", "no-such-program: there is no such program"),
        (b"#!/usr/bin/env -S A=1 no-such-program -x\n", "no-such-program: there is no such"),
        (b"\x7fELF", "another machine"),
        (b"\x7fELF\x02\x01", "damaged"),
        (elf()[:63], "damaged"),
        (elf(bits=1), "32-bit"),
        (elf(order=2), "another machine"),
        (elf(machine=FOREIGN), "it is a program for "),
        (elf(machine=0xFFFF), "it is a program for another machine"),
        (elf(), "linked statically"),
        (elf(loader=b"/lib/ld-musl-x86_64.so.1"), "not glibc (/lib/ld-musl-x86_64.so.1)"),
        (elf(loader=b"/none/ld-linux-x86-64.so.2"), "/none/ld-linux-x86-64.so.2 is missing"),
        (elf(loader=b"/x", offset=(1 << 64) - 1), "damaged"),
        (elf(loader=b"/x", offset=1 << 40), "linked statically"),
    ],
)
def test_what_cannot_be_carried(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refusal(executable(tmp_path / "program", content))


@pytest.mark.parametrize(
    "first",
    [
        "#!/bin/sh",
        "#! /bin/sh -e",
        "#!/usr/bin/env sh",
        "#!/usr/bin/env -S A=1 sh -e",
        "#!/usr/bin/env -i sh",
        "#!/usr/bin/env",
    ],
)
def test_scripts_are_judged_by_their_interpreter(tmp_path: Path, first: str) -> None:
    script = executable(tmp_path / "script", f"{first}\necho\n")
    assert check(str(script)) == str(script)


def test_scripts_of_scripts(tmp_path: Path) -> None:
    inner = executable(tmp_path / "inner", "#!/bin/sh\n")
    outer = executable(tmp_path / "outer", f"#!{inner}\n")
    assert check(str(outer)) == str(outer)
    executable(inner, f"#!{outer}\n")
    assert "without end" in refusal(outer)


def test_a_script_whose_interpreter_cannot_be_carried(tmp_path: Path) -> None:
    static = executable(tmp_path / "static", elf())
    script = executable(tmp_path / "script", f"#!{static}\n")
    assert f"{script}: it is linked statically" in refusal(script)


def test_a_real_static_program(tmp_path: Path) -> None:
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }\n")
    program = tmp_path / "static"
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    assert "linked statically" in refusal(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's file")
@pytest.mark.parametrize(("mode", "says"), [(0o4755, "set-uid"), (0o2755, "set-gid")])
def test_set_id_programs(tmp_path: Path, mode: int, says: str) -> None:
    program = tmp_path / "privileged"
    shutil.copy(TRUE, program)
    os.chown(program, 12345, 12345)
    program.chmod(mode)
    assert says in refusal(program)
    os.chown(program, os.geteuid(), os.getegid())
    program.chmod(mode)
    assert check(str(program)) == str(program)  # it gains nothing


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give capabilities")
def test_programs_with_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "capable"
    shutil.copy(TRUE, program)
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    assert check(str(program)) == str(program)  # root gains nothing by them
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "it has capabilities" in refusal(program)


def test_resolve_takes_what_only_the_layer_cannot(tmp_path: Path) -> None:
    static = executable(tmp_path / "static", elf())
    assert resolve(str(static)) == str(static)
