# SPDX-License-Identifier: MIT
"""Programs that tell a test what they would tell their session."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memsc.runtime.session_socket import Message, SessionSocket


def run(
    command: list[str], environment: Mapping[str, str], **how: Any
) -> tuple[subprocess.CompletedProcess[str], list[Message]]:
    """Run a program to its end; what it and all that it started said, with what came open.

    Args:
        command: the program and its arguments.
        environment: its, to which the socket is added.
        how: as for `subprocess.run`.
    """
    with SessionSocket() as socket:
        variables = dict(environment) | {"MEMSC_SOCKET": str(socket.end)}
        with subprocess.Popen(
            command, env=variables, pass_fds=(socket.end.number,), text=True, **how
        ) as process:
            output, errors = process.communicate()
        done = subprocess.CompletedProcess(command, process.returncode, output, errors)
        return done, drained(socket)


def drained(socket: SessionSocket) -> list[Message]:
    """All that was said."""
    found: list[Message] = []
    while messages := socket.receive():
        found += messages
    return found


def said(messages: list[Message], *fields: str) -> list[dict[str, Any]]:
    """The messages that have one of some fields, closed."""
    for message in messages:
        message.close()
    return [message.said for message in messages if not set(fields).isdisjoint(message.said)]


def descriptors(pid: int | str = "self") -> set[int]:
    """Those that a process has open."""
    return {int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir()}
