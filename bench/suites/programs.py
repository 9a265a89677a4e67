# SPDX-License-Identifier: MIT
"""Unmodified programs at work on files in memory: what each runs, and the files it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memsc.runtime.launch import Launch
from memsc.tracer.session.work import Work

_BLOCK = 512
_MEBI = 1 << 20
_FIO = "--name=job --ioengine=psync --bs=4k --size=16m --thread --output=/dev/null"
# Within its first second dbench calls everything warm-up, and then says 0.
_DBENCH = """dbench -t 2 -D '{0}' -c '{0}/load' 1 |
sed -n 's/^Throughput \\([0-9.]*\\) MB.*/{{"mb_per_s": \\1}}/p' >'{0}/measures'"""
# What it says goes to standard error, and is wanted only where it fails.
_BONNIE = """bonnie++ -d '{0}' -s 8 -r 4 -f -n 1:1000:100:2 -u root -q 2>'{0}/errors' ||
{{ cat '{0}/errors' >&2; exit 1; }}"""
# The whole load file takes longer than any round; its beginning has every operation in it.
_LOAD = Path("/usr/share/dbench/client.txt")
_LOAD_BYTES = 200_000
_TREE_FOLDERS, _TREE_FILES = 20, 40
_ROWS = 300


@dataclass(frozen=True)
class Program:
    """One of the programs.

    Args:
        package: Debian's, that brings it.
        command: what runs, given the folder of its files.
        prepare: makes the files, once.
        tool: what must be there, where a shell runs it; else the command's first word.
        timed: its time is what is measured; otherwise it runs for a time, and tells what it did.
    """

    package: str
    command: Callable[[Path], tuple[str, ...]]
    prepare: Callable[[Path], object] | None = None
    tool: str | None = None
    timed: bool = True


def missing(name: str) -> str | None:
    """The package that brings a program which is not here; None if it is."""
    program = PROGRAMS[name]
    tool = program.tool or program.command(Path("/"))[0]
    return None if shutil.which(tool) else program.package


def absent() -> dict[str, str]:
    """Programs that are not here, and the packages that bring them."""
    found = {name: missing(name) for name in PROGRAMS}
    return {name: package for name, package in found.items() if package is not None}


def work(name: str) -> Callable[[Launch, Path], Work]:
    """The work of a program."""
    program = PROGRAMS[name]

    def run(_: Launch, folder: Path) -> Work:
        measures = None if program.timed else folder / "measures"
        return Work(
            name, program.command(folder), timed=program.timed, quiet=True, measures=measures
        )

    return run


def dd(mebibytes: int) -> Program:
    """So much in blocks of 512 bytes, as the thesis has it."""
    count = mebibytes * _MEBI // _BLOCK
    return Program(
        "coreutils",
        lambda folder: (
            *("dd", "if=/dev/zero", f"of={folder / 'dd.out'}", f"bs={_BLOCK}"),
            *(f"count={count}", "status=none"),
        ),
    )


def ls(files: int) -> Program:
    """A long listing of so many files, as the thesis has it."""
    return Program(
        "coreutils",
        lambda folder: ("ls", "-l", str(folder / f"files-{files}")),
        lambda folder: _make_files(folder / f"files-{files}", files),
    )


def _make_files(target: Path, count: int) -> None:
    target.mkdir(exist_ok=True)
    for number in range(count):
        (target / f"file-{number:05d}").touch()


def _fio(order: str) -> Program:
    return Program(
        "fio",
        lambda folder: ("fio", *_FIO.split(), f"--rw={order}", f"--filename={folder / 'fio'}"),
        lambda folder: (folder / "fio").write_bytes(os.urandom(16 * _MEBI)),
    )


def _shell(script: str) -> Callable[[Path], tuple[str, ...]]:
    return lambda folder: ("sh", "-c", script.format(folder))


def _make_load(folder: Path) -> None:
    with _LOAD.open("rb") as file:
        (folder / "load").write_bytes(b"".join(file.readlines(_LOAD_BYTES)))


def _make_statements(folder: Path) -> None:
    rows = "".join(f"insert into t values ({i}, 'row {i}');\n" for i in range(_ROWS))
    select = "select count(*), max(b) from t;\ndrop table t;\n"
    (folder / "statements").write_text(
        f"create table t (a integer primary key, b);\n{rows}{select}"
    )


def _make_tree(tree: Path) -> None:
    """A tree like that of a program's sources."""
    for number in range(_TREE_FOLDERS):
        below = tree / f"folder-{number:02d}"
        below.mkdir(parents=True, exist_ok=True)
        for file in range(_TREE_FILES):
            (below / f"file-{file:02d}.c").write_text(f"/* {number} {file} */\n" * (20 + file))


def _make_archive(folder: Path) -> None:
    _make_tree(folder / "tree")
    subprocess.run(["tar", "-cf", "tree.tar", "tree"], cwd=folder, check=True)


def _make_repository(folder: Path) -> None:
    _make_tree(folder / "repository")
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=folder / "repository", check=True)


PROGRAMS = {
    "dd": dd(10),
    "ls": ls(5000),
    "fio-random": _fio("randread"),
    "fio-sequential": _fio("read"),
    "dbench": Program("dbench", _shell(_DBENCH), _make_load, tool="dbench", timed=False),
    "bonnie": Program("bonnie++", _shell(_BONNIE), tool="bonnie++"),
    "sqlite3": Program(
        "sqlite3",
        lambda folder: ("sqlite3", str(folder / "database"), f".read {folder / 'statements'}"),
        _make_statements,
    ),
    "tar": Program(
        "tar",
        lambda folder: ("tar", "-C", str(folder), "-cf", str(folder / "out.tar"), "tree"),
        lambda folder: _make_tree(folder / "tree"),
    ),
    "untar": Program(
        "tar",
        lambda folder: (
            *("tar", "-C", str(folder), "--transform=s/tree/out/"),
            *("-xf", str(folder / "tree.tar")),
        ),
        _make_archive,
    ),
    "git-status": Program(
        "git",
        lambda folder: ("git", "-C", str(folder / "repository"), "status", "--porcelain"),
        _make_repository,
    ),
    **{f"dd-{size}": dd(size) for size in (50, 100, 150, 200)},
    **{f"ls-{files}": ls(files) for files in (100, 10000, 15000)},
}
SIZES = tuple(name for name in PROGRAMS if name.startswith(("dd-", "ls-")))
"""The thesis's other sizes: megabytes, and files."""
