# SPDX-License-Identifier: MIT
"""What a session changes on the machine, written down before each change, and its undoing.

One file per session in a folder that only root can enter. The session's helper keeps the file
locked for as long as it lives, so a file that nobody holds is a dead session's, whatever killed it.
Undoing goes backwards and touches only what still is as the session set it: what somebody else has
set since is his. Privileged side; standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.kernel import tasks

FOLDER = Path("/run/memsc")
_PREFIX, _SUFFIX = "isolation-", ".journal"

Step = dict[str, Any]


def same(one: str, other: str) -> bool:
    """Whether two texts of a kernel file say the same: lists by letter, masks by value."""
    one, other = one.strip(), other.strip()
    with suppress(ValueError):
        return int(one.replace(",", ""), 16) == int(other.replace(",", ""), 16)
    return one == other


def _folder(folder: Path) -> Path:
    """The folder of journals, made if need be.

    Raises:
        MemscError: it is not root's alone.
    """
    what = "keeping a journal of what is changed"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise MemscError(what, f"{folder}: {error.strerror}", "mount a tmpfs at /run") from error
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != os.geteuid():
        raise MemscError(what, f"{folder} is not root's alone", "remove it")
    return folder


class Journal:
    """The journal of one session; exists as long as something is to be undone.

    Args:
        folder: where journals lie.

    Raises:
        MemscError: it cannot be kept, or another session isolates CPUs already.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        place = _folder(folder)
        # One isolation at a time: two would take each other's changes for their own beginning.
        for path in sorted(place.glob(f"{_PREFIX}*{_SUFFIX}")):
            if (descriptor := _claim(path)) is None:
                pid = path.name.removeprefix(_PREFIX).partition("-")[0]
                raise MemscError(
                    "isolating a CPU",
                    f"another session does so already (process {pid})",
                    "wait for its end",
                )
            os.close(descriptor)
        pid = os.getpid()
        self.path = place / f"{_PREFIX}{pid}-{tasks.start_time(pid)}{_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.steps: list[Step] = []

    @classmethod
    def left(cls, folder: Path = FOLDER) -> Iterator[Self]:
        """The journals of dead sessions, each claimed for the caller, who undoes or leaves it."""
        try:
            place = _folder(folder) if folder.exists() else None
        except MemscError:
            place = None
        for path in sorted(place.glob(f"{_PREFIX}*{_SUFFIX}")) if place else ():
            if (descriptor := _claim(path)) is not None:
                found = cls.__new__(cls)
                found.path, found._fd = path, descriptor
                with os.fdopen(os.dup(descriptor)) as file:
                    found.steps = _parse(file.read())
                yield found

    def add(self, step: Step) -> None:
        """Write a step down; only then may it be taken."""
        self.steps.append(step)
        os.write(self._fd, json.dumps(step).encode() + b"\n")

    def write(self, path: Path, text: str) -> None:
        """Write to a file of the kernel, which must read afterwards as it was written.

        Raises:
            OSError: the kernel refused.
        """
        before = path.read_text(encoding="utf-8").strip()
        if same(before, text):
            return
        self.add({"do": "write", "path": str(path), "before": before, "after": text})
        path.write_text(text + "\n", encoding="utf-8")

    def group(self, path: Path, home: Path) -> None:
        """Make a control group; what is in it at the end goes home.

        Args:
            path: the group.
            home: the file `cgroup.procs` of the group its processes go to.

        Raises:
            OSError: the kernel refused.
        """
        self.add({"do": "group", "path": str(path), "home": str(home)})
        path.mkdir()

    def controller(self, root: Path, name: str) -> None:
        """Have a controller in the groups below a v2 group.

        Raises:
            OSError: the kernel refused.
        """
        control = root / "cgroup.subtree_control"
        if name not in control.read_text().split():
            self.add({"do": "controller", "path": str(control), "name": name})
            control.write_text(f"+{name}\n")

    def affinity(self, cpus: frozenset[int], chosen: Sequence[tuple[int, frozenset[int]]]) -> int:
        """Take CPUs from the affinities of threads.

        Args:
            cpus: which to take.
            chosen: threads and the affinities they have; each must keep a CPU.

        Returns:
            How many threads the kernel let move.
        """
        entries = [
            [tid, tasks.start_time(tid), sorted(before), sorted(before - cpus)]
            for tid, before in chosen
        ]
        self.add({"do": "affinity", "since": tasks.now(), "threads": entries})
        moved = 0
        for tid, before in chosen:
            with suppress(OSError):  # it has ended, or the kernel keeps it where it is
                os.sched_setaffinity(tid, before - cpus)
                moved += 1
        return moved

    def remember(self, cpus: frozenset[int]) -> None:
        """Note the affinities that are narrower than all CPUs: older kernels forget them."""
        entries = [
            [thread.tid, thread.start, sorted(now)]
            for thread in tasks.threads()
            if not thread.fixed and (now := tasks.affinity(thread.tid)) and now != cpus
        ]
        self.add({"do": "remember", "all": sorted(cpus), "threads": entries})

    def undo(self, first: int = 0) -> list[str]:
        """Take back the steps from the first on, the last of them before the others.

        Without steps the journal is removed.

        Returns:
            What could not be taken back, and why; these steps stay in the journal.
        """
        failed: list[str] = []
        kept: list[Step] = []
        for step in reversed(self.steps[first:]):
            try:
                _UNDO[step["do"]](step)
            except OSError as error:
                failed.append(f"{step.get('path', step['do'])}: {error.strerror}")
                kept.append(step)
        self.steps[first:] = kept[::-1]
        if self.steps:
            text = "".join(json.dumps(step) + "\n" for step in self.steps)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(), 0)
        else:
            self.path.unlink(missing_ok=True)
        return failed

    def close(self) -> None:
        """Let go of it; if it still exists, the next memsc undoes it."""
        os.close(self._fd)


def _claim(path: Path) -> int | None:
    """A descriptor of a journal that nobody holds, now held by the caller; None if it is held."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _parse(text: str) -> list[Step]:
    """The whole steps of a journal; one cut short was not taken yet."""
    steps: list[Step] = []
    for line in text.splitlines():
        with suppress(ValueError):
            step: object = json.loads(line)
            if isinstance(step, dict) and step.get("do") in _UNDO:  # pyright: ignore[reportUnknownMemberType]
                steps.append(step)  # pyright: ignore[reportUnknownArgumentType]
    return steps


def _undo_write(step: Step) -> None:
    path = Path(step["path"])
    with suppress(FileNotFoundError):
        if same(path.read_text(encoding="utf-8"), step["after"]):
            try:
                path.write_text(step["before"] + "\n", encoding="utf-8")
            except OSError as error:
                # A v2 group with members cannot be told any more to have what its parent has.
                if error.errno != errno.ENOSPC or step["before"]:
                    raise
                path.write_text(
                    (path.parent.parent / f"{path.name}.effective").read_text(), encoding="utf-8"
                )


def _undo_controller(step: Step) -> None:
    path = Path(step["path"])
    try:
        if step["name"] in path.read_text(encoding="utf-8").split():
            path.write_text(f"-{step['name']}\n", encoding="utf-8")
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:  # busy: others use it by now
            raise


def _undo_group(step: Step) -> None:
    path, home = Path(step["path"]), Path(step["home"])
    # What is in it may fork while it is moved.
    for _ in range(100):
        with suppress(FileNotFoundError):
            for pid in (path / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    home.write_text(f"{pid}\n", encoding="utf-8")
        try:
            # A removed partition gives its CPUs back some time later; this does it now, so that
            # the affinities can be put back next.
            if (partition := path / "cpuset.cpus.partition").exists():
                partition.write_text("member")
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)  # the dying count for a moment
        else:
            return
    raise OSError(errno.EBUSY, "processes stay in it")


def _undo_affinity(step: Step) -> None:
    known = {
        (tid, start): (set(before), set(after)) for tid, start, before, after in step["threads"]
    }
    # What was born since has inherited the narrower affinity: it gets its parent's, or what most
    # widely fits.
    by_process = {tid: before for tid, _, before, _ in step["threads"]}
    widest: dict[frozenset[int], set[int]] = {}
    for before, after in known.values():
        best = widest.get(frozenset(after), set[int]())
        widest[frozenset(after)] = max(best, before, key=len)
    for thread in tasks.threads():
        found = known.get((thread.tid, thread.start))
        born = thread.start >= step["since"]
        with suppress(OSError):
            now = os.sched_getaffinity(thread.tid)
            if found is not None and now == found[1]:
                os.sched_setaffinity(thread.tid, found[0])
            elif found is None and born and frozenset(now) in widest:
                before = set(by_process.get(thread.parent, ())) or widest[frozenset(now)]
                os.sched_setaffinity(thread.tid, before if before > now else widest[frozenset(now)])


def _undo_remember(step: Step) -> None:
    for tid, start, before in step["threads"]:
        if tasks.start_time(tid) == start and tasks.affinity(tid) == frozenset(step["all"]):
            with suppress(OSError):
                os.sched_setaffinity(tid, before)


_UNDO = {
    "remember": _undo_remember,
    "write": _undo_write,
    "controller": _undo_controller,
    "group": _undo_group,
    "affinity": _undo_affinity,
}
