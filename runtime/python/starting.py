# SPDX-License-Identifier: MIT
"""Starting a program under a launch: its environment, CPUs and signals, and the wait on hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAUNCH, LAYER, REINSTALL
from memsc.runtime.launch import Launch
from memsc.runtime.plans import make_place
from memsc.runtime.topology import move_to


@contextmanager
def running_on(cpus: Sequence[int]) -> Generator[None]:
    """Move the calling thread to CPUs, so that what it starts begins there.

    Raises:
        MemscError: they cannot be had.
    """
    before = os.sched_getaffinity(0)
    if cpus:
        move_to(cpus)
    try:
        yield
    finally:
        with suppress(OSError):  # taken away meanwhile: the kernel has moved it to others
            os.sched_setaffinity(0, before)


@contextmanager
def inheriting(descriptors: Sequence[int]) -> Generator[None]:
    """Let descriptors be inherited by what is started meanwhile; no other thread may start any."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


def clean_environment(base: Mapping[str, str]) -> dict[str, str]:
    """An environment for a program: base, without what steers memsc and what Python added.

    In the C locale Python sets LC_CTYPE for itself, which would change what the program prints.
    """
    added = () if _given("LC_CTYPE") else ("LC_CTYPE",)
    return {
        name: value
        for name, value in base.items()
        if not name.startswith("MEMSC_") and name not in added
    }


def _given(name: str) -> bool:
    """Whether this process was started with a variable; true if that cannot be told."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return True
    return any(entry.startswith(os.fsencode(f"{name}=")) for entry in block.split(b"\0"))


# Python ignores these for itself, and what is ignored stays so across exec. The native front, which
# runs before Python, says which of them were ignored already.
_IGNORED_BY_PYTHON = {"p": signal.SIGPIPE, "x": signal.SIGXFSZ}


def _restored() -> list[signal.Signals]:
    before = os.environ.get("MEMSC_FRONT_IGNORED", "")
    return [number for letter, number in _IGNORED_BY_PYTHON.items() if letter not in before]


def execute(launch: Launch, program: str, arguments: Sequence[str]) -> NoReturn:
    """Become the program: its exit status and signals are its own.

    Args:
        launch: how.
        program: the file to execute.
        arguments: argv, the program's name first.

    Raises:
        MemscError: it cannot be executed.
    """
    environment = program_environment(launch)
    if launch.app_cpus:
        move_to(launch.app_cpus)
    for number in _restored():
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, list(arguments), environment)
    except OSError as error:
        raise MemscError(
            program, error.strerror or "it cannot be executed", "check the file"
        ) from error


def program_environment(launch: Launch) -> dict[str, str]:
    """The environment of a program that is carried.

    Raises:
        MemscError: there is no layer to carry it.
    """
    environment = clean_environment(os.environ)
    if launch.inert:
        return environment
    return environment | launch.environment() | {"LD_PRELOAD": _preload(environment)}


def spawn(launch: Launch, program: str, arguments: Sequence[str], mask: set[int]) -> int:
    """Start a program as a child, as `execute` would become it; returns its process number.

    Args:
        launch: how.
        program: the file to execute.
        arguments: argv, the program's name first.
        mask: signals that it finds blocked; the caller may have blocked more for itself.

    Raises:
        MemscError: it cannot be executed.
    """
    environment = program_environment(launch)
    try:
        with running_on(launch.app_cpus), inheriting(launch.inherited):
            return os.posix_spawn(
                program, list(arguments), environment, setsigmask=mask, setsigdef=_restored()
            )
    except OSError as error:
        raise MemscError(
            program, error.strerror or "it cannot be executed", "check the file"
        ) from error


def spawn_held(
    launch: Launch,
    program: str,
    arguments: Sequence[str],
    mask: set[int],
    prepare: Callable[[int], None],
    *,
    ignores: bool = False,
) -> int:
    """Like `spawn`, but the child waits, before it becomes the program, until it is prepared.

    Args:
        launch: how.
        program: the file to execute.
        arguments: argv, the program's name first.
        mask: signals that it finds blocked.
        prepare: called with its process number; if it raises, nothing is executed.
        ignores: it is to ignore SIGCHLD, as this process was started.

    Raises:
        MemscError: it cannot be executed.
    """
    environment = program_environment(launch)
    reading, go = os.pipe()
    failing, failure = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(go)
            if os.read(reading, 1):
                for descriptor in launch.inherited:
                    os.set_inheritable(descriptor, True)
                for number in _restored():
                    signal.signal(number, signal.SIG_DFL)
                if launch.app_cpus:  # which are its own only now that it is prepared
                    move_to(launch.app_cpus)
                if ignores:
                    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                os.execve(program, list(arguments), environment)
        except OSError as error:
            why = error.strerror or "it cannot be executed"
            os.write(failure, "\0".join((program, why, "check the file")).encode())
        except MemscError as error:
            os.write(failure, "\0".join((error.what, error.why, error.remedy)).encode())
        finally:
            os._exit(127)
    os.close(reading)
    os.close(failure)
    try:
        prepare(child)
        os.write(go, b"g")
    except BaseException:
        os.close(go)
        os.waitpid(child, 0)
        raise
    os.close(go)
    with os.fdopen(failing) as file:
        failed = file.read()  # closed by the exec that succeeds
    if failed:
        os.waitpid(child, 0)
        what, why, remedy = failed.split("\0")
        raise MemscError(what, why, remedy)
    return child


def _preload(environment: Mapping[str, str]) -> str:
    if not LAYER.exists():
        raise MemscError(
            "carrying an unmodified program",
            "this build has no C-library layer (it exists for glibc on x86-64 and 64-bit Arm)",
            "use the direct API of libmemsc, or `--transport direct`",
        )
    if set(" :$") & set(str(LAYER)):
        raise MemscError(
            "carrying an unmodified program",
            f"the loader cannot take a path like '{LAYER}'",
            "install memsc in a folder whose path has no space, colon or dollar",
        )
    make_place()
    others = environment.get("LD_PRELOAD")
    return f"{LAYER}:{others}" if others else str(LAYER)


class Target:
    """A program started on hold: it becomes itself when `go` is called.

    In between it has its process number and its CPUs, so that probes can be told about it. If the
    session dies before `go`, the program is never executed; if it dies later, the program is
    killed, since nobody reads its rings any more. To the kernel the end of the thread that started
    it is that death: start it from one that lasts.

    Args:
        launch: how.
        command: the program and its arguments.
        layered: give it the C-library layer; without, it brings libmemsc itself.
        stdin, stdout, stderr: as for `subprocess.Popen`.
    """

    def __init__(
        self,
        launch: Launch,
        command: Sequence[str],
        layered: bool = True,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        import subprocess  # noqa: PLC0415 - slow to import, and `memsc run` does without

        environment = clean_environment(os.environ) | launch.environment()
        library = ""
        if layered and not launch.inert:
            library = _preload({})
        if not LAUNCH.exists():
            raise MemscError("starting a program", f"{LAUNCH} is missing", REINSTALL)
        import socket  # noqa: PLC0415 - likewise

        ours, theirs = socket.socketpair()
        self._go = ours.detach()
        try:
            with running_on(launch.app_cpus):
                self.process = subprocess.Popen(
                    [str(LAUNCH), str(theirs.fileno()), library, *command],
                    env=environment,
                    pass_fds=(theirs.fileno(), *launch.inherited),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                )
        except BaseException:
            os.close(self._go)
            raise
        finally:
            theirs.close()
        self._await_hold()

    def _await_hold(self) -> None:
        """Wait until the launcher says that it holds: probes would see its own exec else.

        Popen returns earlier, once the kernel has closed what exec closes. Nothing comes of a
        launcher that was killed: its exit status tells.
        """
        try:
            with suppress(ConnectionResetError):
                os.read(self._go, 1)
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process number, before and after `go`."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has become the program and not ended yet."""
        return self._go < 0 and self.process.poll() is None

    def go(self) -> None:
        """Let it become the program."""
        # A broken pipe: it was killed while on hold, and its exit status will tell.
        with suppress(BrokenPipeError):
            os.write(self._go, b"g")
        os.close(self._go)
        self._go = -1

    def end(self, grace_s: float = 2.0) -> int:
        """End it: asked at first, killed after a while; returns its exit status."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1
        import subprocess  # noqa: PLC0415

        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()
