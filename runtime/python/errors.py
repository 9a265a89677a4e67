# SPDX-License-Identifier: MIT
"""The one error type for what a user can do something about."""

from __future__ import annotations

from memsc.runtime.printable import printable

FAILURE = 1
USAGE = 2
FAIL_IF_MET = 3
WITHHELD = 4


class MemscError(Exception):
    """A failure with its cause and its remedy.

    Args:
        what: what failed, as the user asked for it.
        why: the cause.
        remedy: what to do about it.
        status: exit status of the command (1 failure, 2 usage, 4 withheld).
    """

    def __init__(self, what: str, why: str, remedy: str, status: int = FAILURE) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.status = status

    def __str__(self) -> str:
        return printable(" ".join(f"{self.what}: {self.why}; {self.remedy}".split()))
