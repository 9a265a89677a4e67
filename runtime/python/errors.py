# SPDX-License-Identifier: MIT
"""The one error type for what a user can do something about."""

from __future__ import annotations

import errno
import os

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


REMEDIES = {
    errno.EACCES: "look at its owner and mode",
    errno.EDQUOT: "free some space or write it elsewhere",
    errno.EFBIG: "raise `ulimit -f`",
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "free some memory, or raise `ulimit -v`",
    errno.ENOSPC: "free some space or write it elsewhere",
    errno.EAGAIN: "raise `ulimit -u`",
    errno.EROFS: "write it elsewhere",
}
"""What helps where something has run out, or may not be had: that may be anywhere."""


def failed(what: str, error: OSError, remedy: str, status: int = FAILURE) -> MemscError:
    """The error of a user's file or folder; where something ran out, with what helps then."""
    if error.errno in REMEDIES and error.errno != errno.EACCES:
        remedy = REMEDIES[error.errno]
    return MemscError(what, reason(error), remedy, status)


_SHORT = (errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.EDQUOT, errno.ENOSPC)
_NO_TEMPORARY = "No usable temporary directory"


def shortage(text: str) -> str | None:
    """What helps if a message is about something that has run out; None if it is not."""
    if _NO_TEMPORARY in text:
        return "name a folder for temporary files by TMPDIR, or raise `ulimit -f`"
    found = (REMEDIES[number] for number in _SHORT if os.strerror(number) in text)
    return next(found, None)


_KERNELS = {
    "/sys/": ("/sys/devices", "mount sysfs on /sys"),
    "/proc/": ("/proc/sys", "mount all of proc on /proc, not its processes alone"),
}
"""By a folder: what is always there, and what helps where it is not."""


def hidden(error: OSError) -> tuple[str, str] | None:
    """Why, and what helps, if a file of /sys or /proc is missing with all others there; or None.

    Where the others are there the kernel does not have it, and who asks knows what that means.
    """
    return hidden_file(str(error.filename)) if error.errno == errno.ENOENT else None


def hidden_file(path: str) -> tuple[str, str] | None:
    """The same of a file of which it is known that it is missing."""
    for folder, (always, remedy) in _KERNELS.items():
        if path.startswith(folder) and not os.path.isdir(always):  # noqa: PTH112
            return f"there is no {path}", remedy
    return None


def reason(error: OSError) -> str:
    """What an error of the operating system says, without the name."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))
