# SPDX-License-Identifier: MIT
"""The native front of `memsc`: whatever way a program is started, nobody can tell which it was."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.helpers.command import FRONT
from tests.helpers.required import layered

from memsc.commands.run import Command
from memsc.runtime import topology
from memsc.runtime.library import LAYER
from memsc.runtime.plans import STARTS
from memsc.tracer.state import folders, starts

PYTHON = Path(sys.executable).with_name("memsc-python")
SPINS = len(topology.read().reachable) > 1
SHOW = Path(__file__).resolve().parents[1] / "helpers" / "show.py"
RECORDS = folders.base() / STARTS

pytestmark = [
    layered,
    pytest.mark.skipif(not FRONT.exists(), reason="this installation has no front"),
    pytest.mark.skipif(not SPINS, reason="needs two CPUs"),
]


def records() -> list[Path]:
    """Those of this installation, with its modules in them: the user may have others at work."""
    mine = os.fsencode(FRONT.parent.parent)
    kept = (file for file in RECORDS.glob("*") if not file.name.startswith("plan-"))
    return sorted(file for file in kept if mine in file.read_bytes())


@pytest.fixture(autouse=True)
def no_records() -> Iterator[None]:
    for file in records():
        file.unlink()
    yield
    for file in records():
        file.unlink()


def start(
    memsc: Sequence[str | Path], args: Sequence[str], shell: str, cwd: Path, env: dict[str, str]
) -> tuple[int, bytes, bytes]:
    """Start memsc from a shell that prepares this process for it; `$@` is the command."""
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *memsc, "run", *args],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


SIGNALS = ["--", "grep", "SigIgn", "/proc/self/status"]

# (what the shell does before, options and program): what the program sees of how it was started.
CASES: dict[str, tuple[str, list[str]]] = {
    "plain": ('exec "$@"', ["--", "./show"]),
    "quiet": ('exec "$@"', ["-q", "./show", "-q", "", "a b", "--", "ä"]),
    "direct": ('exec "$@"', ["--transport", "direct", "./show"]),
    "scanner": ('exec "$@"', ["--service", "scanner", "--spin", "./show"]),
    "ipi": ('exec "$@"', ["--transport", "ipi", "--idle", "5", "./show"]),
    "CPUs": ('exec "$@"', ["--app-cpus", "0", "--service-cpus", "1", "./show"]),
    "by name": ('PATH="$PWD:$PATH" exec "$@"', ["show"]),
    "other preloads": ('LD_PRELOAD=/lib/x86_64-linux-gnu/libm.so.6 exec "$@"', ["./show"]),
    "steered already": ('MEMSC_RING=7 MEMSC_X=y exec "$@"', ["./show"]),
    "C locale": ('LC_ALL=C exec "$@"', ["./show"]),
    "no locale": ('unset LANG LC_ALL LC_CTYPE; exec "$@"', ["./show"]),
    "another locale": ('LC_CTYPE=C.UTF-8 exec "$@"', ["./show"]),
    "affinity": ('exec taskset -c 1 "$@"', ["--service-cpus", "0", "./show"]),
    "umask and limits": ('umask 077; ulimit -n 77; exec "$@"', ["./show"]),
    "files closed": ('exec "$@" <&- 2>&-', ["./show"]),
    "file open": ('exec "$@" 7<"$0"', ["./show"]),
    "status": ('exec "$@"', ["--", "sh", "-c", "exit 77"]),
    "killed": ('exec "$@"', ["--", "sh", "-c", "kill -TERM $$"]),
    "script": ('exec "$@"', ["./script", "x"]),
    "script by env": ('exec "$@"', ["./by-env", "x"]),
    "SIGPIPE": ('trap - PIPE; exec "$@"', SIGNALS),
    "SIGPIPE ignored": ("trap '' PIPE XFSZ; exec \"$@\"", SIGNALS),
    "SIGXFSZ ignored": ("trap '' XFSZ INT; exec \"$@\"", SIGNALS),
    "missing": ('exec "$@"', ["./none"]),
    "not executable": ('exec "$@"', ["./plain"]),
    "no CPU": ('exec "$@"', ["--app-cpus", "8000", "./show"]),
    "no option": ('exec "$@"', ["--fast", "./show"]),
    "no value": ('exec "$@"', ["./show", "--idle"]),
    "nothing": ('exec "$@"', ["-q", "--"]),
    "help": ('exec "$@"', ["--help"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "show": f"#!/usr/bin/python3 -IS\n{SHOW.read_text()}",
        "script": '#!/bin/sh\necho "$0 $*"\n',
        "by-env": '#!/usr/bin/env -S A=1 sh\necho "$0 $* $A"\n',
        "plain": "",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "plain" else 0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_every_way_is_the_same(folder: Path, case: str) -> None:
    shell, args = CASES[case]
    environment = dict(os.environ) | {"PATH": f"{folder}:{os.environ['PATH']}"}
    first = start([FRONT], args, shell, folder, environment)
    known = records()
    again = start([FRONT], args, shell, folder, environment)
    # Without the front Python cannot know about the signals, nor be told to keep a record.
    if "ignored" not in case:
        assert start([PYTHON], args, shell, folder, environment) == first
    assert again == first
    assert len(known) == int(first[0] in (0, 77, -signal.SIGTERM) and case != "help")
    assert records() == known


def test_ignored_signals_stay_ignored(folder: Path) -> None:
    for shell, ignored in (
        ("trap '' PIPE XFSZ", {13, 25}),
        ("trap '' XFSZ", {25}),
        (":", set[int]()),
    ):
        for _ in range(2):
            status, out, _ = start(
                [FRONT], SIGNALS, f'{shell}; exec "$@"', folder, dict(os.environ)
            )
            assert status == 0
            mask = int(out.split()[1], 16)
            assert {number for number in (13, 25) if mask >> (number - 1) & 1} == ignored


def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FRONT, "run", *args], capture_output=True, text=True, check=False, timeout=60, cwd=cwd
    )


def made_by_python(*args: str, cwd: Path) -> bool:
    """Whether Python had to be asked: then the record is new."""
    before = {file: file.stat().st_ino for file in records()}
    run(*args, cwd=cwd)
    return any(before.get(file) != file.stat().st_ino for file in records())


def test_what_changes_is_looked_at_anew(folder: Path) -> None:
    """The program, its interpreter, memsc itself, and what the choice of CPUs depends on."""
    tool = folder / "tool"
    shutil.copy("/bin/true", tool)
    (folder / "use").write_text(f"#!{tool}\n")
    (folder / "use").chmod(0o755)
    assert made_by_python("./use", cwd=folder)
    assert not made_by_python("./use", cwd=folder)
    tool.touch()
    assert made_by_python("./use", cwd=folder)
    (folder / "use").chmod(0o700)
    assert made_by_python("./use", cwd=folder)
    tool.unlink()
    assert "is missing" in run("./use", cwd=folder).stderr
    shutil.copy("/bin/true", tool)
    assert made_by_python("./use", cwd=folder)
    assert not made_by_python("./use", cwd=folder)
    LAYER.touch()
    assert made_by_python("./use", cwd=folder)


CONFINED = """
import ctypes, os, struct, sys
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))  # allow all
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_inside_a_container_is_not_outside() -> None:
    """What is on record from outside would make the layer take its filter for the program's own."""
    asks = (
        FRONT,
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "echo $MEMSC_FILTERS; grep r-xp.*libc /proc/$$/smaps -A10",
    )

    def said(*before: str) -> tuple[int, bool]:
        """Filters that memsc found before it, and whether the shell's C library was rewritten."""
        out = subprocess.run([*before, *asks], capture_output=True, text=True, check=True).stdout
        filters, *smaps = out.splitlines()
        dirty = next(line for line in smaps if line.startswith("Private_Dirty:"))
        return int(filters or 0), int(dirty.split()[1]) > 0

    outside, carried = said()
    assert carried
    for _ in range(2):
        assert said(sys.executable, "-c", CONFINED) == (outside + 1, True)
        assert said() == (outside, True)


def test_records_of_another_installation_are_not_used(folder: Path) -> None:
    """Its library is another one. This one has no Python beside it to ask."""
    other = folder / "memsc"
    shutil.copy(FRONT, other)
    assert [run("-q", "true").returncode for _ in range(2)] == [0, 0]
    done = subprocess.run([other, "run", "-q", "true"], capture_output=True, check=False)
    assert done.returncode != 0


def test_a_program_that_comes_earlier_on_path_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, early = folder / "late", folder / "early"
    for place, text in ((late, "late"), (early, "early")):
        place.mkdir()
        (place / "which").write_text(f"#!/bin/sh\necho {text}\n")
        (place / "which").chmod(0o755)
    (early / "which").rename(early / "hidden")
    monkeypatch.setenv("PATH", f"{early}:{late}:{os.environ['PATH']}")
    assert [run("-q", "which").stdout for _ in range(2)] == ["late\n"] * 2
    (early / "hidden").rename(early / "which")
    assert [run("-q", "which").stdout for _ in range(2)] == ["early\n"] * 2


def test_a_program_that_became_uncarriable_is_refused(folder: Path) -> None:
    program = folder / "program"
    shutil.copy("/bin/true", program)
    assert [run("-q", "./program", cwd=folder).returncode for _ in range(2)] == [0, 0]
    program.write_bytes(b"")
    assert "the file is empty" in run("-q", "./program", cwd=folder).stderr


FOREIGN: list[tuple[str, str]] = [
    ("folder", "chown 12345"),
    ("folder", "chmod 755"),
    ("record", "chown 12345"),
    ("record", "chmod 644"),
    ("record", "ln -s"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's file")
@pytest.mark.parametrize(("what", "how"), FOREIGN)
def test_a_record_that_another_user_may_have_written_is_not_believed(
    folder: Path, what: str, how: str
) -> None:
    args = ["-q", "sh", "-c", "echo $MEMSC_RING"]
    assert run(*args).stdout == run(*args).stdout
    (record,) = records()
    record.write_bytes(record.read_bytes().replace(b"MEMSC_RING=131072", b"MEMSC_RING=131073"))
    assert run(*args).stdout == "131073\n"  # ours is believed
    place = record if what == "record" else RECORDS
    if how == "ln -s":
        shutil.move(record, folder / "elsewhere")
        record.symlink_to(folder / "elsewhere")
    else:
        subprocess.run([*how.split(), place], check=True)
    assert run(*args).stdout == "131072\n"


@pytest.mark.parametrize("damage", [0, 1, 40, 1000, -1, -2, -3])
def test_a_damaged_record_is_none(damage: int) -> None:
    assert run("-q", "true").returncode == 0
    (record,) = records()
    record.write_bytes(record.read_bytes()[:damage])
    assert run("-q", "true").returncode == 0
    assert run("-q", "sh", "-c", "exit 5").returncode == 5


def test_a_cpu_that_is_gone_is_noticed() -> None:
    """As when a cpuset loses one; the record is made to name it."""
    assert run("-q", "true").returncode == 0
    (record,) = records()
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b"\0s0\0", b"\0s4000\0").replace(b"\0s1\0", b"\0s4000\0"))
    assert record.read_bytes() != whole
    assert run("-q", "true").returncode == 0
    assert record.read_bytes() == whole  # written anew


def test_records_do_not_pile_up() -> None:
    assert run("-q", "true").returncode == 0
    for number in range(starts.MOST):
        (RECORDS / f"{number:016x}").touch(mode=0o600)
    assert run("-q", "sh", "-c", "true").returncode == 0
    assert len(records()) == 1


def test_clean_removes_them() -> None:
    assert run("-q", "true").returncode == 0
    assert records()
    subprocess.run([FRONT, "clean"], check=True, capture_output=True)
    assert not records()


def test_a_broken_standard_error_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with closing(os.fdopen(writing, "wb")) as broken:
        for _ in range(2):
            done = subprocess.run([FRONT, "run", "--", "true"], stderr=broken, check=False)
            assert done.returncode == 0


def test_the_front_knows_every_option() -> None:
    """It must tell the program from an option's value; what it does not know goes to Python."""
    parser = argparse.ArgumentParser()
    Command().configure(parser)
    options = {
        name: action.nargs != 0
        for action in parser._actions  # pyright: ignore[reportPrivateUsage]
        for name in action.option_strings
    }
    text = (Path(__file__).resolve().parents[2] / "runtime" / "front" / "words.c").read_text()
    table = text[text.index("options[] = {") : text.index("};", text.index("options[] = {"))]
    words = table.replace("{", " ").replace("}", " ").replace(",", " ").split()[2:]
    known = {
        name.strip('"'): value == "true"
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert known.items() <= options.items()
    pythons = {"-h", "--help", "--stats", "--stats-json", "--isolate", "--attachable", "--ring"}
    assert set(options) - set(known) <= pythons
