# SPDX-License-Identifier: MIT
"""`memsc clean`: what dead sessions left goes, and nothing else."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC

from memsc.commands.clean import Command
from memsc.runtime import segments
from memsc.runtime.layout import layout
from memsc.runtime.library import library
from memsc.runtime.plans import STARTS
from memsc.tracer.helper.kernel import tasks, tracefs
from memsc.tracer.state import folders, leftovers
from memsc.tracer.state.leftovers import Cleaned, Item, clean

DEAD = 1 << 22  # pids end one below


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A folder like /dev/shm, with this user's folder in it."""
    (tmp_path / f"memsc-{os.getuid()}").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def session(
    memory: Path,
    pid: int,
    started: int | None,
    space: int | None = None,
) -> Path:
    name = f"session-{pid}-{started}{folders.of_container() if space is None else f'-{space}'}"
    folder = memory / f"memsc-{os.getuid()}" / name
    (folder / "scratch").mkdir(parents=True)
    (folder / "scratch" / "times").write_bytes(b"x")
    return folder


def test_a_dead_sessions_folder_goes_and_a_live_ones_stays(memory: Path) -> None:
    dead = session(memory, DEAD, 5)
    reused = session(memory, os.getpid(), 1)  # our number, but another's start
    alive = session(memory, os.getpid(), tasks.start_time(os.getpid()))
    done = clean(memory, kernel=False)
    assert {item.name for item in done.removed} == {str(dead), str(reused)}
    assert [item.name for item in done.in_use] == [str(alive)]
    assert not dead.exists()
    assert not reused.exists()
    assert alive.exists()
    assert not done.failed
    assert not clean(memory, kernel=False).removed


def test_a_containers_session_stays_as_long_as_the_container(
    memory: Path, program: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of its process may be anybody's here."""
    alive, dead = 77, 78
    started = tasks.start_time(program.pid)
    kept = session(memory, DEAD, 5, space=alive)
    over = [session(memory, pid, at, space=dead) for pid, at in ((DEAD, 5), (program.pid, started))]
    monkeypatch.setattr(tasks, "id_spaces", lambda: {0, alive})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = Cleaned()
    leftovers._remove_sessions(kept.parent, done)  # pyright: ignore[reportPrivateUsage]
    assert not done.removed  # whether a container is no more, an ordinary user cannot see
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    leftovers._remove_sessions(kept.parent, done)  # pyright: ignore[reportPrivateUsage]
    assert kept.exists()
    if not tasks.id_space():
        assert not any(folder.exists() for folder in over)


def test_several_that_clean_at_once_do_not_stumble(memory: Path) -> None:
    """Every command cleans first: what one finds another may have removed, whole or in part."""
    at_once = 4
    for turn in range(3):
        for number in range(20):
            dead = session(memory, DEAD, 1 + turn * 20 + number)
            (dead / "scratch" / "further").mkdir()
        with ThreadPoolExecutor(at_once) as pool:
            found = list(pool.map(lambda _: clean(memory, kernel=False), range(at_once)))
        assert not [item for done in found for item in done.failed]
        assert not list(memory.glob("*/session-*"))
        (memory / f"memsc-{os.getuid()}").mkdir(mode=0o700, exist_ok=True)


def test_the_users_folder_goes_with_its_last_session(memory: Path) -> None:
    top = session(memory, DEAD, 5).parent
    kept = top / STARTS  # what the front and the layer keep from start to start
    kept.mkdir(mode=0o700)
    (kept / f"plan-{0:016x}").touch()
    clean(memory, kernel=False)
    assert not top.exists()
    clean(memory, kernel=False)


SCRATCH = """
import time
from memsc.tracer.state.folders import scratch
with scratch() as one, scratch() as other:
    (one / "a").touch(), (other / "a").touch()
    print("up", flush=True)
    input()
print("left", flush=True)
input()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_temporary_files_go_with_who_made_them_or_by_clean(tmp_path: Path, killed: bool) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    maker = subprocess.Popen(
        [sys.executable, "-c", SCRATCH],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdin is not None
    assert maker.stdout is not None
    assert maker.stdout.readline() == "up\n"
    (top,) = tmp_path.iterdir()
    (folder,) = top.iterdir()
    assert len(list(folder.glob("*/a"))) == 2
    assert [item.name for item in clean(tmp_path, kernel=False).in_use] == [str(folder)]
    if killed:
        maker.kill()
    else:
        maker.stdin.write("\n")
        maker.stdin.flush()
        assert maker.stdout.readline() == "left\n"
        assert not folder.exists()
        maker.kill()
    maker.communicate()
    done = subprocess.run(
        [*MEMSC, "clean"], env=environment, check=True, capture_output=True, text=True
    )
    assert (f"removed session {folder}" in done.stdout) == killed
    assert not folder.exists()


def test_what_is_not_ours_is_not_touched(memory: Path, tmp_path: Path) -> None:
    top = memory / f"memsc-{os.getuid()}"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (top / f"session-{DEAD}-6").symlink_to(precious)
    (top / "session-x-y").mkdir()
    (top / "session-1").mkdir()
    (top / "other").mkdir()
    (memory / "memsc-notes").mkdir()
    (memory / "memsc-4242").symlink_to(precious)
    dead = session(memory, DEAD, 7)
    (dead / "link").symlink_to(precious)
    done = clean(memory, kernel=False)
    assert [item.name for item in done.removed] == [str(dead)]
    assert (precious / "file").exists()
    assert {path.name for path in top.iterdir()} == {
        f"session-{DEAD}-6", "session-x-y", "session-1", "other"
    }  # fmt: skip
    assert (memory / "memsc-notes").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_root_cleans_everybodys_and_trusts_no_name(memory: Path) -> None:
    for owner, name in ((12345, 12345), (12345, 12346)):
        folder = memory / f"memsc-{name}" / f"session-{DEAD}-5"
        folder.mkdir(parents=True)
        for path in (folder, folder.parent):
            os.chown(path, owner, owner)
    clean(memory, kernel=False)
    assert not (memory / "memsc-12345").exists()
    assert (memory / "memsc-12346" / f"session-{DEAD}-5").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_calls_of_another_user_are_his_to_bring_home(memory: Path) -> None:
    """Root would read what he has put there, and write where he says."""
    folder = memory / "memsc-12345" / f"session-{DEAD}-5{folders.of_container()}"
    (folder / folders.ROUND).mkdir(parents=True)
    (folder / folders.ROUND / "round.json").write_text("{}")
    for path in (folder.parent, folder, folder / folders.ROUND):
        os.chown(path, 12345, 12345)
    done = clean(memory, kernel=False)
    assert [item.name for item in done.in_use] == [str(folder)]
    assert not done.brought
    assert (folder / folders.ROUND / "round.json").exists()


@pytest.fixture
def segment() -> Iterator[tuple[int, int]]:
    """A registry as a killed process leaves it: its number and CPU. Of a key that is never used."""
    libc, last = ctypes.CDLL(None, use_errno=True), 7
    cpu = min(os.sched_getaffinity(0))
    key = ctypes.c_int32(library().memsc_registry_key_of(os.geteuid(), cpu, last)).value
    size = layout().enums["numbers"]["REGISTRY_BYTES"]
    create = 0o1000 | 0o2000 | 0o600
    number = libc.shmget(key, ctypes.c_size_t(size), create)
    assert number >= 0, os.strerror(ctypes.get_errno())
    yield number, cpu
    libc.shmctl(number, 0, None)


def test_a_registry_goes_unless_somebody_uses_it(memory: Path, segment: tuple[int, int]) -> None:
    number, cpu = segment
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmdt.argtypes = [ctypes.c_void_p]
    name = f"of CPU {cpu}, user {os.geteuid()}"
    address = libc.shmat(number, None, 0)
    assert Item("registry", name, "1 processes use it") in clean(memory).in_use
    assert number in {found.number for found in segments.shared()}
    libc.shmdt(address)
    assert Item("registry", name) in clean(memory).removed
    assert number not in {found.number for found in segments.shared()}


def test_shared_memory_that_is_not_ours_is_not_taken_for_ours(
    tmp_path: Path, segment: tuple[int, int]
) -> None:
    head, *lines = segments.SEGMENTS.read_text().splitlines()
    (line,) = (line for line in lines if line.split()[1] == str(segment[0]))
    listing = tmp_path / "shm"

    def found(line: str) -> int:
        listing.write_text(f"{head}\n{line}\n")
        return len(segments.shared(listing))

    fields = line.split()
    assert found(line) == 1
    for at, other in ((0, "1"), (2, "666"), (3, "4096"), (9, "4242")):  # key, perms, size, cuid
        assert found(" ".join([*fields[:at], other, *fields[at + 1 :]])) == 0
    assert segments.shared(tmp_path / "none") == []


def test_an_ordinary_user_hears_what_was_not_looked_at(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid or 12345)
    monkeypatch.setattr(folders, "MEMORY", memory)
    monkeypatch.setattr(leftovers.clean, "__defaults__", (memory, True))
    monkeypatch.setattr(segments, "shared", list)
    assert Command().run(_args()) == 0
    said = capsys.readouterr()
    assert said.out == "nothing to remove\n"
    assert said.err.count("memsc: not looked at: ") == 2
    assert "sudo memsc clean" in said.err


def _args(*more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    Command().configure(parser)
    return parser.parse_args(more)


def test_what_cannot_be_removed_is_a_failure(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = session(memory, DEAD, 5)

    def refuse(_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    monkeypatch.setattr(folders, "places", lambda: (memory,))
    monkeypatch.setattr(segments, "shared", list)
    assert Command().run(_args()) == 1
    assert f"memsc: removing {folder}: Operation not permitted; " in capsys.readouterr().err


def test_stale_uprobe_entries_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        f"p:uprobes/p__bin_true_0x10_bcc_{DEAD} /bin/true:0x10",
        f"r:uprobes/r__bin_true_0x10_bcc_{os.getpid()} /bin/true:0x10",
        "p:uprobes/somebody_elses /bin/true:0x10",
    ]
    assert tracefs.stale(lines) == [f"uprobes/p__bin_true_0x10_bcc_{DEAD}"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tracefs, "sweep", lambda: tracefs.stale(lines))
    done = clean(Path("/nonexistent"))
    assert [(item.kind, item.name) for item in done.removed] == [
        ("uprobe", f"uprobes/p__bin_true_0x10_bcc_{DEAD}")
    ]


def test_a_killed_run_leaves_nothing() -> None:
    """The real thing: `memsc run --stats`, killed together with its program."""
    how = ("run", "-q", "--transport", "ipi", "--stats", "--")
    process = subprocess.Popen(
        [*MEMSC, *how, "sh", "-c", "echo; sleep 1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not list(folders.base().glob(f"session-{process.pid}-*"))
    done = subprocess.run(
        [*MEMSC, "clean", "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["schema"] == 1
