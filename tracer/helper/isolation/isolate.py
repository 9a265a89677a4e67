# SPDX-License-Identifier: MIT
"""Isolates the application's CPUs for a session, and gives them back. Privileged side.

`Isolation` belongs to the helper: it is released when the session's socket closes, whatever ended
the session. Should the helper itself be killed, its journal is what `recover` finds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from memsc.runtime.errors import MemscError
from memsc.runtime.topology import format_cpus, parse_cpus
from memsc.tracer.helper.isolation import cpusets, irqs, journal
from memsc.tracer.helper.kernel import tasks

_WHAT = "isolating a CPU"


class Isolation:
    """CPUs kept free for a session's program, from construction to `release`.

    Args:
        app: CPUs of the application.
        service: CPUs of the service.
        user: who asks.
        asker: his process.

    Raises:
        MemscError: no CPU would be left for others, or another session isolates already.
    """

    def __init__(self, app: frozenset[int], service: frozenset[int], user: int, asker: int) -> None:
        online = frozenset(
            parse_cpus(Path("/sys/devices/system/cpu/online").read_text(encoding="utf-8"))
        )
        if not app or not (app | service) <= online:
            raise MemscError(_WHAT, "not all of its CPUs are online", "choose others")
        if not online - app:
            raise MemscError(
                _WHAT,
                f"CPU {format_cpus(app)} is all there is: nothing would be left for other tasks",
                "leave --isolate out, or name fewer CPUs with --app-cpus",
            )
        self._app, self._user = app, user
        self._journal = journal.Journal()
        try:
            plan = cpusets.Plan(app, service, online, asker)
            self._fence = cpusets.build(self._journal, plan)
            self._moved, self._kept = irqs.move_away(self._journal, app, online)
        except BaseException:
            self.release()
            raise

    def describe(self) -> dict[str, Any]:
        """By what means, and what could not be moved."""
        return {
            "how": self._fence.how,
            "strays": self._fence.strays,
            "interrupts_moved": self._moved,
            "interrupts_kept": self._kept,
            "notes": self._fence.notes,
        }

    def adopt(self, pid: int) -> None:
        """Let a process onto the isolated CPUs; its children follow.

        Raises:
            MemscError: it is another user's, it is gone, or the kernel refused.
        """
        what = f"running process {pid} on an isolated CPU"
        try:
            descriptor = os.pidfd_open(pid)
            try:
                tasks.require_own(pid, self._user, what)
                self._fence.adopt(pid, self._app)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise MemscError(what, error.strerror or str(error), "check its number") from error

    def release(self) -> list[str]:
        """Give everything back.

        Returns:
            What could not be given back, and why; the next memsc tries again.
        """
        failed = self._journal.undo()
        self._journal.close()
        return failed


def recover(folder: Path = journal.FOLDER) -> tuple[list[str], list[str]]:
    """Undo what dead sessions changed; needs root.

    Returns:
        The journals that were undone, and what could not be.
    """
    done: list[str] = []
    failed: list[str] = []
    for left in journal.Journal.left(folder):
        problems = left.undo()
        left.close()
        failed += problems
        if not problems:
            done.append(str(left.path))
    return done, failed
