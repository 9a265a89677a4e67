# SPDX-License-Identifier: MIT
"""Signals that end a session wait while what was taken from a ring is written."""

from __future__ import annotations

import os
import signal
from types import FrameType

import pytest

from memsc.tracer.session.ending import Ended, endings, whole


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended)]
)
def test_an_ending_waits_until_the_block_is_over(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    done: list[str] = []
    with endings(), pytest.raises(raised):
        with whole():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # impatience changes nothing
            done.append("written")
        done.append("not reached")
    assert done == ["written"]


def test_an_ending_is_not_forgotten_for_an_error() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, whole():
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("no space left on device")
    assert isinstance(caught.value.__context__, OSError)


def test_handlers_are_as_they_were() -> None:
    came: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, handler)
    try:
        with whole():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came
        assert came == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])
