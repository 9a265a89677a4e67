# SPDX-License-Identifier: MIT
"""Starts the privileged helper, as root's child or by sudo, and talks to it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from memsc.runtime.errors import MemscError
from memsc.tracer.helper import wire

# Debian's, because BCC is made for it; a virtual environment's would be one more thing to trust.
PYTHON = Path("/usr/bin/python3")
BOOT = Path(wire.__file__).absolute().with_name("boot.py")
COMMAND = (str(PYTHON), "-I", "-B", "-X", "pycache_prefix=/nonexistent", str(BOOT))
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_PROMPT = "memsc needs root to attach its probes. Password of %p: "

_AS_ROOT = "run memsc as root, or allow it by sudo (`sudo -v` first asks for the password once)"
TIMEOUT_S = 120.0


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("memsc: ") if lines else ""


def _has_terminal() -> bool:
    try:
        with Path("/dev/tty").open(encoding="utf-8"):
            return True
    except OSError:
        return False


class Channel:
    """The privileged helper process and the socket to it.

    Starts the helper at once: directly when this process is root, else by sudo, which may ask for a
    password on the terminal. Not for more than one thread at a time.

    Args:
        wait: until it can be told whether it has started; without, `ready` waits.

    Raises:
        MemscError: it cannot be started.
    """

    def __init__(self, *, wait: bool = True) -> None:
        self._stderr: IO[bytes] | None = None
        self._last_words = ""
        self._asked = 0
        self._begun: wire.Message | None = None
        self._early: tuple[wire.Message, list[int]] | None = None  # its answer
        self._sudo: str | None = None
        self._is_ready = False
        if os.geteuid() != 0:
            self._sudo = shutil.which("sudo")
            if self._sudo is None:
                raise MemscError(
                    "attaching probes", "that needs root, and there is no sudo", "run memsc as root"
                )
        self._spawn((self._sudo, "-n", "--", *COMMAND) if self._sudo else COMMAND)
        if wait:
            self.ready()

    def ready(self) -> None:
        """Wait until the helper has started.

        Raises:
            MemscError: it cannot be started.
        """
        if self._is_ready:
            return
        if not self._greeted():
            if self._sudo is None:
                raise self._died("attaching probes", "report this as a fault of memsc")
            error = self._died("attaching probes", _AS_ROOT)
            if "password is required" not in error.why or not _has_terminal():
                raise error
            # This time sudo talks with the user, for as long as he takes to type.
            self._spawn((self._sudo, "-p", _PROMPT, "--", *COMMAND), on_terminal=True)
            if not self._greeted():
                raise self._died("attaching probes", _AS_ROOT)
            if self._begun is not None:
                wire.send(self._connection, self._begun)
        self._is_ready = True

    def _spawn(self, command: Sequence[str], on_terminal: bool = False) -> None:
        self._stderr = None if on_terminal else tempfile.TemporaryFile()  # noqa: SIM115
        # Packets, so that a message and its descriptors stay together.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                cwd="/",
                # LC_ALL also makes sudo say in English why it refuses.
                env=_ENVIRONMENT,
            )
        self._connection = ours
        ours.settimeout(None if on_terminal else TIMEOUT_S)

    def _greeted(self) -> bool:
        try:
            received = wire.receive(self._connection)
        except (OSError, ValueError):
            received = None
        if received is None:
            return False
        self._connection.settimeout(TIMEOUT_S)
        self.pid = int(received[0]["pid"])
        return True

    def _died(self, what: str, remedy: str) -> MemscError:
        """The error that tells of the helper's end; also gathers its remains."""
        self._connection.close()
        try:
            status = self._gone(5)
            why = f"the helper ended with status {status}"
        except subprocess.TimeoutExpired:
            # Without its socket it ends by itself as soon as it looks up again.
            why = "the helper does not answer"
        if self._stderr is not None:
            self._last_words = _last_line(self._stderr)
            self._stderr.close()
            self._stderr = None
        return MemscError(what, self._last_words or why, remedy)

    def _gone(self, seconds: float) -> int:
        """Wait for its end, and no longer: `Popen.wait` looks but every 50 ms.

        Raises:
            TimeoutExpired: it goes on.
        """
        if self._process.returncode is not None:
            return self._process.returncode
        with suppress(OSError):
            process = os.pidfd_open(self._process.pid)
            try:
                ended = select.poll()
                ended.register(process, select.POLLIN)
                ended.poll(seconds * 1000)
            finally:
                os.close(process)
        return self._process.wait(1)

    def close(self) -> None:
        """End the helper; it gives back what it holds before it goes."""
        self._connection.close()
        for descriptor in self._early[1] if self._early else ():
            os.close(descriptor)
        self._early = None
        try:
            self._gone(30)
        except subprocess.TimeoutExpired:
            # Ours to signal only when it is root's child of root; by sudo, sudo passes it on.
            self._process.terminate()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def alive(self) -> bool:
        """Whether the helper still runs."""
        return self._process.poll() is None

    def begin(self, op: str, **arguments: Any) -> None:
        """Send a request of which the answer is asked for later, by `ask` with the same words.

        Others may be asked before that: the answer is kept.
        """
        self._asked += 1
        self._begun = {"op": op, "number": self._asked, **arguments}
        with suppress(OSError):  # `ready` tells
            wire.send(self._connection, self._begun)

    def ask(self, op: str, **arguments: Any) -> tuple[wire.Message, list[int]]:
        """One request and its reply, with the descriptors that came along, which are the caller's.

        Raises:
            MemscError: the helper's own error, or that it has died.
        """
        self.ready()
        begun = self._begun
        try:
            if begun is not None and begun == {"op": op, "number": begun["number"], **arguments}:
                received, self._begun, self._early = self._early, None, None
                received = received or self._answer(int(begun["number"]))
            else:
                self._asked += 1
                wire.send(self._connection, {"op": op, "number": self._asked, **arguments})
                received = self._answer(self._asked)
        except (OSError, ValueError):
            received = None
        if received is None:
            raise self._died("tracing", "start the trace again; what was drained is kept")
        reply, descriptors = received
        return wire.checked(reply), descriptors

    def _answer(self, number: int) -> tuple[wire.Message, list[int]] | None:
        """The reply to the request of that number; those to interrupted ones are dropped."""
        while (received := wire.receive(self._connection)) is not None:
            reply, descriptors = received
            # Null: it could not be read, and was not an earlier one, which had been sent whole.
            if reply.get("number") in (number, None):
                return received
            if self._begun is not None and reply.get("number") == self._begun["number"]:
                self._early = received
                continue
            for descriptor in descriptors:
                os.close(descriptor)
        return None


@contextmanager
def isolated(app: Collection[int], service: Collection[int]) -> Generator[Callable[[int], None]]:
    """CPUs isolated as long as the context lasts; gives what lets a program on hold in.

    Raises:
        MemscError: they cannot be isolated.
    """
    channel = Channel()
    try:
        channel.ask("isolate", app=sorted(app), service=sorted(service))
        yield lambda pid: (channel.ask("adopt", pid=pid), None)[1]
    finally:
        channel.close()


class Elevation:
    """The one helper of a session, started when it is first needed."""

    def __init__(self) -> None:
        self._channel: Channel | None = None

    def begin(self, op: str, **arguments: Any) -> None:
        """Start the helper, and send it a first request, without waiting for either.

        That it cannot be started is told by `started`.
        """
        with suppress(MemscError, OSError):
            self._channel = self._channel or Channel(wait=False)
            self._channel.begin(op, **arguments)

    def started(self) -> Channel:
        """Start the helper, unless it runs already.

        Raises:
            MemscError: it cannot be started.
        """
        channel = self._channel or Channel()
        self._channel = None
        channel.ready()
        self._channel = channel
        return channel

    def restart(self) -> None:
        """End what is left of the helper and start another, which undoes what that one left.

        Raises:
            MemscError: it cannot be started.
        """
        self.close()
        self.started()

    def close(self) -> None:
        """End the helper, if there is one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
