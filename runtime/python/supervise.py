# SPDX-License-Identifier: MIT
"""Runs a program as a child that is to be seen as little of as possible: signals, exit status."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Sequence

from memsc.runtime.launch import Launch
from memsc.runtime.starting import spawn, spawn_held

_LISTEN_S, _LOOK_S = 0.02, 1.0  # between looks
# Job control stops this process together with its child, by the terminal; faults are its own.
_OURS = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCONT,
    signal.SIGCHLD,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
    signal.SIGABRT,
}


def supervise(
    launch: Launch,
    program: str,
    arguments: Sequence[str],
    prepare: Callable[[int], None] | None = None,
    listen: Callable[[], object] | None = None,
) -> int:
    """Run a program and pass signals on to it.

    Args:
        launch: how.
        program: the file to execute.
        arguments: argv, the program's name first.
        prepare: called with the child's process number before it becomes the program.
        listen: called now and then meanwhile, and once when it has ended.

    Returns:
        Its wait status.

    Raises:
        MemscError: it cannot be executed.
    """
    passed = {number for number in signal.valid_signals() if number not in _OURS}
    awaited = passed | {signal.SIGCHLD}
    before = _blocked(signal.pthread_sigmask(signal.SIG_BLOCK, awaited))
    # Where it is ignored the kernel tells of no child's end, nor how it ended.
    ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if prepare is None and not ignored:
            child = spawn(launch, program, arguments, before)
        else:
            ready = prepare or _nothing
            child = spawn_held(launch, program, arguments, before, ready, ignores=ignored)
        while True:
            found = signal.sigtimedwait(awaited, _LISTEN_S if listen else _LOOK_S)
            # Whatever came, or did not come: a signal more or less must not keep us for ever.
            ended, status = os.waitpid(child, os.WNOHANG)
            if listen is not None:
                listen()
            if ended == child:
                return status
            if found is not None and found.si_signo != signal.SIGCHLD and found.si_code <= 0:
                # Somebody sent it to this process. What the kernel sends (Ctrl-C on the terminal)
                # goes to the whole group, and the child has it already.
                os.kill(child, found.si_signo)
    finally:
        if ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing(_: int) -> None:
    """What is done before a child becomes the program, if nothing is."""


def _blocked(mask: set[int] | set[signal.Signals] | set[int | signal.Signals]) -> set[int]:
    return {int(number) for number in mask}


def ended_as(status: int) -> int:
    """Exit status for a wait status; a signal that ended the child ends this process, too.

    Returns:
        The exit status; 128 + the signal if that signal does not end us.
    """
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number
