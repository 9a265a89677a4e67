# SPDX-License-Identifier: MIT
"""Names of code that a program made at run time, as it tells them itself: /tmp/perf-PID.map.

Java, Node, Python (-X perf) and others write such files for `perf`: a line for each function, with
its address and size in hexadecimal. They lie where anybody may put one, so one of another user's is
not believed, and what is no line of that form is passed over.
"""

from __future__ import annotations

import bisect
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field

_LARGEST = 64 << 20
"""Bytes of a file of which the rest is not read."""


@dataclass(frozen=True)
class PerfMap:
    """The functions of one process.

    Args:
        starts: ascending.
        functions: where each ends, and its name.
    """

    starts: list[int] = field(default_factory=list[int])
    functions: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def name(self, address: int) -> tuple[str, int] | None:
        """The function at an address, and how far into it that is; None if there is none."""
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0 or address >= self.functions[at][0]:
            return None
        return self.functions[at][1], address - self.starts[at]


def parse(text: str) -> PerfMap:
    """A file's text; of two functions at one address the later one is there."""
    found: dict[int, tuple[int, str]] = {}
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) == 3:
            with suppress(ValueError):
                start, size = int(words[0], 16), int(words[1], 16)
                found[start] = (start + size, words[2])
    starts = sorted(found)
    return PerfMap(starts, [found[start] for start in starts])


def of_process(pid: int) -> PerfMap:
    """The functions that a process has told of; none if it has not, or another user did."""
    # In a container it is another /tmp; of a process that has ended it can only be this one.
    for path in (f"/proc/{pid}/root/tmp/perf-{pid}.map", f"/tmp/perf-{pid}.map"):
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            with open(os.open(path, flags), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode) and status.st_uid in _believed(pid):
                    return parse(file.read(_LARGEST).decode(errors="replace"))
    return PerfMap()


def _believed(pid: int) -> set[int]:
    """Users whose word is taken: one's own, the process's while it is there, and root."""
    users = {0, os.getuid()}
    with suppress(OSError):
        users.add(os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116
    return users
