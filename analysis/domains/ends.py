# SPDX-License-Identifier: MIT
"""Whether the programs of rounds ended as they should."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable

from memsc.tracer.format import Round

UNAVAILABLE = 77
"""A peer's exit status where the machine has no such peer, as test programs skip."""
_SIGNALLED = 128


def failures(rounds: Iterable[Round], fine: Collection[int]) -> tuple[int, str | None]:
    """The rounds whose program failed.

    Args:
        rounds: some of a trace.
        fine: exit statuses that are no failure, as a shell gives them.

    Returns:
        How many they are, and how the first of them ended; None if there is none.
    """
    failed = [r for r in rounds if _failed(r, fine)]
    return len(failed), _says(failed[0]) if failed else None


def _failed(done: Round, fine: Collection[int]) -> bool:
    # What the session ended itself has not failed.
    if done.exit_status is None or done.stopped:
        return False
    status = as_shell(done.exit_status)
    # Who reads a pipe may have enough: `memsc trace … | head`. That ends a program by SIGPIPE, and
    # a shell that waits for it passes that on as a status of its own.
    return status not in fine and not (done.piped and status == as_shell(-signal.SIGPIPE))


def _says(done: Round) -> str:
    status = done.exit_status or 0
    how = f"status {status}" if status >= 0 else f"ended by {_signal(-status)}"
    return f"{how} in round {done.round}; if that is no failure: --ok-status {as_shell(status)}"


def _signal(number: int) -> str:
    known = {int(one): one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")


def as_shell(status: int) -> int:
    """An exit status as a shell gives it: 128 + N of what signal N ended, which here is -N."""
    return _SIGNALLED - status if status < 0 else status
