# SPDX-License-Identifier: MIT
"""What the session and its helper say to each other: one JSON line per packet, and descriptors.

A request is `{"op": NAME, "number": N, …}`; each gets exactly one reply, which repeats the number:
`{"ok": true, …}` or `{"ok": false, "what", "why", "remedy"}`. So who was interrupted in waiting
knows which reply is none to his next request. Both sides use this file; standard library only.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from memsc.runtime.errors import MemscError

Message = dict[str, Any]
Operation = Callable[
    [Message], tuple[Message, list[int]]
]  # to a request the reply, descriptors with it

MAX_BYTES = 1 << 16
_MAX_DESCRIPTORS = 64

LOSS_WORDS = 8  # words of one CPU's line in a probe's loss counters; the first is the count


def send(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message and copies of descriptors.

    Raises:
        OSError: the other side is gone.
    """
    line = json.dumps(message).encode() + b"\n"
    socket.send_fds(connection, [line], list(descriptors))


def receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and the descriptors with it, or None when the other side is gone.

    Raises:
        OSError: the connection broke, or a time-out set on it passed.
        ValueError: it is not a JSON object of this protocol's size.
    """
    line, descriptors, flags, _ = socket.recv_fds(connection, MAX_BYTES, _MAX_DESCRIPTORS)
    if not line:
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("the message is too long")
        message: object = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("the message is not a JSON object")
    except (ValueError, RecursionError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ValueError(str(error)) from error
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return cast("Message", message), descriptors


def failure(error: MemscError) -> Message:
    """The reply that carries an error over."""
    return {"ok": False, "what": error.what, "why": error.why, "remedy": error.remedy}


def checked(reply: Message) -> Message:
    """The reply, if it says ok.

    Raises:
        MemscError: what the other side raised.
    """
    if reply.get("ok") is True:
        return reply
    what, why, remedy = (str(reply.get(part, "unknown")) for part in ("what", "why", "remedy"))
    raise MemscError(what, why, remedy)


def refusal(why: str) -> MemscError:
    """What the helper says to a request that no session of the same version makes."""
    return MemscError(
        "asking the helper", why, "reinstall memsc: its parts are of different versions"
    )


def integers(value: object, low: int, high: int) -> list[int]:
    """Value, if it is a list of integers within low … high.

    Raises:
        MemscError: it is not.
    """
    if not isinstance(value, list):
        raise refusal("a list of numbers is needed")
    items = cast("list[object]", value)
    # Not isinstance: true is an int in Python and no number in JSON.
    numbers = [item for item in items if type(item) is int and low <= item <= high]
    if len(numbers) != len(items):
        raise refusal(f"not all of {items} are whole numbers from {low} to {high}")
    return numbers
