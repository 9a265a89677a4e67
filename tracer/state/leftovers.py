# SPDX-License-Identifier: MIT
"""What sessions left behind that could not clean up after themselves, and its removal.

A session that ends in order leaves nothing. One that was killed leaves its folder in memory, with
calls that are not in its trace yet: those are brought home first (`memsc.tracer.state.recovery`).
It may leave one of temporary files; killed programs leave the registry by which
they shared a CPU; a session whose helper was killed leaves CPUs isolated, and a journal of that; a
BCC program that attached through tracefs leaves an entry there.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from memsc.runtime import segments
from memsc.runtime.errors import MemscError
from memsc.runtime.plans import STARTS
from memsc.runtime.region import Region
from memsc.tracer.helper.isolation import isolate
from memsc.tracer.helper.kernel import tasks, tracefs
from memsc.tracer.state import folders

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


@dataclass(frozen=True)
class Brought:
    """Calls that a killed session had not written, now in its trace; None: there is no such one."""

    trace: str
    calls: int | None

    def __str__(self) -> str:
        if self.calls is None:
            return f"a killed session's calls belong to {self.trace}, which is not there any more"
        what = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{what} that a killed session had not written came into {self.trace}"


@dataclass
class Cleaned:
    """What was removed, what is left on purpose, what failed, and what was not looked at.

    `brought` is what came into traces, `given` are places to which these may have been moved.
    """

    brought: list[Brought] = field(default_factory=list[Brought])
    removed: list[Item] = field(default_factory=list[Item])
    in_use: list[Item] = field(default_factory=list[Item])
    failed: list[Item] = field(default_factory=list[Item])
    unseen: list[Item] = field(default_factory=list[Item])
    given: Sequence[Path] = ()

    def as_json(self) -> dict[str, object]:
        """The whole as plain values."""
        fields = asdict(self)
        del fields["given"]
        return {"schema": 1, **fields}


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
            shutil.rmtree(top / STARTS)
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


def tidy(given: Sequence[Path] = ()) -> list[str]:
    """What every command does first: remove what dead sessions of this user left.

    As root that includes CPUs that are still isolated.

    Args:
        given: where traces may be that were moved since.

    Returns:
        What the user should know: calls that came into traces, or could not.
    """
    done = Cleaned(given=given)
    for top in _tops(*folders.places()):
        with suppress(PermissionError):
            _remove_sessions(top, done, homeless=False)
    if os.geteuid() == 0:
        isolate.recover()
    says = [str(one) for one in done.brought if one.calls is not None]
    remedy = "`memsc clean` drops them"
    says += [f"{one}; {remedy}" for one in done.brought if one.calls is None]
    return says + [f"{item.name}: {item.reason}" for item in done.failed if item.kind == "calls"]


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
        try:
            status = top.lstat()
        except FileNotFoundError:  # another memsc has removed it
            continue
        if not owner.isdecimal() or not stat.S_ISDIR(status.st_mode):
            continue
        if status.st_uid == int(owner) and os.geteuid() in (0, status.st_uid):
            yield top


def _remove_sessions(top: Path, done: Cleaned, *, homeless: bool = True) -> None:
    # Every command does this, so others may be at it: what is gone is done.
    with suppress(FileNotFoundError):
        os.scandir(top).close()  # glob would find nothing where it may not look
        for folder in sorted([*top.glob("session-*-*"), *top.glob("running-*")]):
            with suppress(FileNotFoundError):
                if folders.id_space_of(folder) == tasks.id_space():
                    _remove_session(folder, done, homeless=homeless)
                else:
                    _remove_foreign(folder, done)
        _remove_regions(top, done)


def _remove_regions(top: Path, done: Cleaned) -> None:
    for region in folders.running(top).glob("*.region"):
        program = _process(f"-{region.name.removesuffix('.region')}")
        if program is not None and not folders.is_alive(*program):
            region.unlink(missing_ok=True)
            done.removed.append(Item("region", str(region)))
        elif program is not None:
            _stop_recording(region)


def _stop_recording(path: Path) -> None:
    """Let a program go on unrecorded whose session was killed while attached to it."""
    with suppress(MemscError), Region(path, exclusive=True) as region:  # claimed: a session lives
        region.recording = False


def _remove_session(folder: Path, done: Cleaned, *, homeless: bool) -> None:
    owner = _process(folder.name)
    if owner is None or folder.is_symlink() or not folder.is_dir():
        return
    if folders.is_alive(*owner):
        done.in_use.append(Item("session", str(folder), f"process {owner[0]} runs"))
        return
    if not (folder / folders.ROUND).is_dir() or _brought(folder, done, homeless=homeless):
        _remove(folder, done)


def _brought(folder: Path, done: Cleaned, *, homeless: bool) -> bool:
    """Bring home what was recorded there; whether the folder is of no use any more."""
    from memsc.tracer.state.recovery import bring_home  # noqa: PLC0415 - slow to import

    if folder.stat().st_uid != os.geteuid():  # the trace is his, too
        done.in_use.append(Item("session", str(folder), "its user's own memsc brings calls home"))
        return False
    try:
        found = bring_home(folder, done.given)
    except BlockingIOError:
        done.in_use.append(Item("session", str(folder), "another memsc is bringing its calls home"))
        return False
    except MemscError as error:
        done.failed.append(Item("calls", str(error.what), f"{error.why}; {error.remedy}"))
        return False
    if found is not None:
        done.brought.append(Brought(*found))
    return found is None or found.calls is not None or homeless


def _remove_foreign(folder: Path, done: Cleaned) -> None:
    """Of another container, or of the machine's: whether its processes run, only they can tell."""
    sees_all = os.geteuid() == 0 and not tasks.id_space()
    if sees_all and folders.id_space_of(folder) not in tasks.id_spaces():
        _remove(folder, done)
    else:
        done.in_use.append(Item("session", str(folder), "process ids here are not its own"))


def _remove(folder: Path, done: Cleaned) -> None:
    while True:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # another memsc removes it, too, and one of the two must not stop
            if not folder.exists():
                return
        except OSError as error:
            done.failed.append(Item("session", str(folder), error.strerror))
            return
        else:
            done.removed.append(Item("session", str(folder)))
            return


def _process(name: str) -> tuple[int, int] | None:
    """Process number and start time of a name `…-PID-START…`, None if it has none."""
    _, *words = name.split("-")
    if len(words) < 2 or not all(word.isascii() and word.isdigit() for word in words[:2]):
        return None
    return int(words[0]), int(words[1])
