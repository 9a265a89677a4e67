# SPDX-License-Identifier: MIT
"""What sessions left behind that could not clean up after themselves, and its removal.

A session that ends in order leaves nothing. One that was killed leaves its folder of region files
in memory, and perhaps one of temporary files; killed programs leave the registry by which
they shared a CPU; a session whose helper was killed leaves CPUs isolated, and a journal of that; a
BCC program that attached through tracefs leaves an entry there.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from memsc.runtime import segments
from memsc.runtime.errors import MemscError
from memsc.runtime.region import Region
from memsc.tracer.helper.isolation import isolate
from memsc.tracer.helper.kernel import tasks, tracefs
from memsc.tracer.state import folders, starts

NOT_OURS = "permission denied"
AS_ROOT = "run `sudo memsc clean` for them"


@dataclass(frozen=True)
class Item:
    """One thing found.

    Args:
        kind: `session`, `registry`, `segment`, `isolation` or `uprobe`, or what was not looked at.
        name: path of the folder or journal, name of the entry.
        reason: why it is still there; None for what was removed.
    """

    kind: str
    name: str
    reason: str | None = None


@dataclass
class Cleaned:
    """What was removed, what is left on purpose, what failed, and what was not looked at."""

    removed: list[Item] = field(default_factory=list[Item])
    in_use: list[Item] = field(default_factory=list[Item])
    failed: list[Item] = field(default_factory=list[Item])
    unseen: list[Item] = field(default_factory=list[Item])

    def as_json(self) -> dict[str, object]:
        """The whole as plain values."""
        return {"schema": 1, **asdict(self)}


def clean(*places: Path, kernel: bool = True) -> Cleaned:
    """Remove what dead sessions left, this user's, or everybody's as root, and what is kept.

    Args:
        places: where session folders lie; by default `folders.places()`.
        kernel: look at what the kernel keeps, too: shared memory and, as root, tracefs, which may
            be mounted for this process alone.
    """
    done = Cleaned()
    for top in _tops(*(places or folders.places())):
        try:
            _remove_sessions(top, done)
        except PermissionError:  # root may lack what makes it root
            done.unseen.append(Item("sessions", f"those in {top}", NOT_OURS))
            continue
        with suppress(OSError):  # there is none, or it is made again at need
            shutil.rmtree(top / starts.FOLDER)
        with suppress(OSError):  # there is none, or programs of it run
            folders.running(top).rmdir()
        if done.removed:
            with suppress(OSError):  # there are sessions in it
                top.rmdir()
    if kernel:
        _remove_shared(done)
    if os.geteuid() != 0:
        done.unseen.append(Item("sessions", "those of other users", "that needs root"))
        done.unseen.append(Item("uprobes", "entries in tracefs", "that needs root"))
    elif kernel:
        _recover(done)
        try:
            done.removed += [Item("uprobe", name) for name in tracefs.sweep()]
        except MemscError as error:
            done.unseen.append(Item("uprobes", "entries in tracefs", error.why))
    return done


def tidy() -> None:
    """What every command does first: remove what dead sessions of this user left, and say nothing.

    As root that includes CPUs that are still isolated.
    """
    for top in _tops(*folders.places()):
        with suppress(PermissionError):
            _remove_sessions(top, Cleaned())
    if os.geteuid() == 0:
        isolate.recover()


def _remove_shared(done: Cleaned) -> None:
    for found in segments.shared():
        if os.geteuid() not in (0, found.user):
            continue
        if found.cpu is None:
            item = Item("segment", f"of process {found.maker}, user {found.user}")
        else:
            item = Item("registry", f"of CPU {found.cpu}, user {found.user}")
        # Its maker is about to map a segment that nobody does.
        new = found.cpu is None and Path(f"/proc/{found.maker}").exists()
        if found.attached or new:
            reason = f"{found.attached} processes use it" if found.attached else "its process runs"
            done.in_use.append(replace(item, reason=reason))
            continue
        try:
            segments.remove(found)
        except PermissionError:  # root of a user name space is not everybody's
            done.unseen.append(Item(item.kind, f"{item.kind} {item.name}", NOT_OURS))
        except OSError as error:
            done.failed.append(replace(item, reason=error.strerror))
        else:
            done.removed.append(item)


def _recover(done: Cleaned) -> None:
    undone, failed = isolate.recover()
    done.removed += [Item("isolation", name) for name in undone]
    done.failed += [Item("isolation", *problem.partition(": ")[::2]) for problem in failed]


def _tops(*places: Path) -> Iterator[Path]:
    """Users' folders that are what they seem: anybody may write beside them."""
    for top in sorted(top for place in places for top in place.glob("memsc-*")):
        owner = top.name.removeprefix("memsc-")
        status = top.lstat()
        if not owner.isdecimal() or not stat.S_ISDIR(status.st_mode):
            continue
        if status.st_uid == int(owner) and os.geteuid() in (0, status.st_uid):
            yield top


def _remove_sessions(top: Path, done: Cleaned) -> None:
    os.scandir(top).close()  # glob would find nothing where it may not look
    for region in folders.running(top).glob("*.region"):
        program = _process(f"-{region.name.removesuffix('.region')}")
        if program is not None and not _alive(*program):
            region.unlink(missing_ok=True)
            done.removed.append(Item("region", str(region)))
        elif program is not None:
            _stop_recording(region)
    for folder in sorted([*top.glob("session-*-*"), *top.glob("running-*")]):
        if folders.id_space_of(folder) == tasks.id_space():
            _remove_session(folder, done)
        else:
            _remove_foreign(folder, done)


def _stop_recording(path: Path) -> None:
    """Let a program go on unrecorded whose session was killed while attached to it."""
    with suppress(MemscError), Region(path, exclusive=True) as region:  # claimed: a session lives
        region.recording = False


def _remove_session(folder: Path, done: Cleaned) -> None:
    owner = _process(folder.name)
    if owner is None or folder.is_symlink() or not folder.is_dir():
        return
    if _alive(*owner):
        done.in_use.append(Item("session", str(folder), f"process {owner[0]} runs"))
        return
    _remove(folder, done)


def _remove_foreign(folder: Path, done: Cleaned) -> None:
    """Of another container, or of the machine's: whether its processes run, only they can tell."""
    sees_all = os.geteuid() == 0 and not tasks.id_space()
    if sees_all and folders.id_space_of(folder) not in tasks.id_spaces():
        _remove(folder, done)
    else:
        done.in_use.append(Item("session", str(folder), "process ids here are not its own"))


def _remove(folder: Path, done: Cleaned) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        done.failed.append(Item("session", str(folder), error.strerror))
    else:
        done.removed.append(Item("session", str(folder)))


def _process(name: str) -> tuple[int, int] | None:
    """Process number and start time of a name `…-PID-START…`, None if it has none."""
    _, *words = name.split("-")
    if len(words) < 2 or not all(word.isascii() and word.isdigit() for word in words[:2]):
        return None
    return int(words[0]), int(words[1])


def _alive(pid: int, started: int) -> bool:
    if not tasks.is_same(pid, started):
        return False
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return not text.rpartition(")")[2].startswith(" Z")  # dead, and nobody has asked how it ended
