# SPDX-License-Identifier: MIT
"""The signals that ask a session to end: it ends its program, probes and trace first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# By default these end a process at once.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """One of the signals that ask a session to end, treated as Ctrl-C is.

    Args:
        number: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


@contextmanager
def endings() -> Generator[None]:
    """Meanwhile each of these signals raises Ended in the main thread, if nobody handles it yet."""
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:  # not ignored, as by nohup
                handlers[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def whole() -> Generator[None]:
    """Meanwhile these signals and Ctrl-C wait: what is taken from a ring is written and counted."""
    handlers: dict[int, Any] = {}
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDING):
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            handlers[came[0]](came[0], None)
