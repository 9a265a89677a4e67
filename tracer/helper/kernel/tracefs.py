# SPDX-License-Identifier: MIT
"""Looks at tracefs, which may not be mounted. Privileged side; standard library only."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path

from memsc.runtime.errors import MemscError, hidden_file

_PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000

# What BCC leaves behind when it attached through tracefs and its process is gone.
_LEFT_BEHIND = re.compile(r"^[pr]\d*:(uprobes/\S+_bcc_(\d+))\s")


def _system_call(result: int, what: str) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        raise MemscError("attaching probes", f"cannot {what}: {reason}", "run as root")


def mount() -> Path:
    """The mounted tracefs; mounted for this process alone, in its own namespace, if nowhere else.

    Raises:
        MemscError: it cannot be mounted.
    """
    for place in _PLACES:
        if (place / "events").is_dir():
            return place
    place = _PLACES[0]
    if not place.is_dir():
        lack = hidden_file(str(place)) or (
            "this kernel has no tracefs",
            "use a kernel with CONFIG_TRACING",
        )
        raise MemscError("attaching probes", *lack)
    libc = ctypes.CDLL(None, use_errno=True)
    _system_call(libc.unshare(_CLONE_NEWNS), "make a mount namespace")
    # Else the mount would show in, and outlive us in, everybody's namespace.
    _system_call(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make / private")
    _system_call(libc.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None), "mount tracefs")
    return place


def format_of(tracefs: Path, tracepoint: str) -> str:
    """What the kernel says of a tracepoint `category:event`: its number and its fields.

    Raises:
        OSError: it is not there.
    """
    return (tracefs / "events" / tracepoint.replace(":", "/") / "format").read_text()


def number_of(tracefs: Path, tracepoint: str) -> int:
    """A tracepoint's number, as perf wants it.

    Raises:
        OSError: it is not there.
    """
    return int((tracefs / "events" / tracepoint.replace(":", "/") / "id").read_text())


def absence(tracefs: Path, tracepoint: str, fields: Sequence[str]) -> str | None:
    """Why a tracepoint `category:event` with such fields is not there, or None if it is."""
    try:
        text = format_of(tracefs, tracepoint)
    except OSError:
        return f"this kernel has no tracepoint {tracepoint}"
    shown = set(re.findall(r"(\w+)(?:\[[^]]*\])?;\s*offset:", text))
    missing = [name for name in fields if name not in shown]
    if missing:
        return f"tracepoint {tracepoint} has no {', '.join(missing)} in this kernel"
    return None


def stale(lines: Sequence[str]) -> list[str]:
    """Names of the uprobe entries among lines that a BCC process which is gone left behind."""
    found = (_LEFT_BEHIND.match(line) for line in lines)
    return [m[1] for m in found if m and not Path(f"/proc/{m[2]}").exists()]


def sweep(tracefs: Path | None = None) -> list[str]:
    """Remove uprobe entries of BCC processes that are gone; needs root.

    Args:
        tracefs: where it is mounted; default is to find or mount it.

    Returns:
        Names of the entries removed.

    Raises:
        MemscError: tracefs cannot be used.
    """
    place = (tracefs or mount()) / "uprobe_events"
    if not place.exists():  # a kernel without uprobes
        return []
    try:
        names = stale(place.read_text().splitlines())
        for name in names:
            # One write each: the kernel takes one command per line and stops at the first error.
            with place.open("a") as file:
                file.write(f"-:{name}\n")
    except OSError as error:
        raise MemscError(
            "removing stale uprobes", f"{place}: {error.strerror}", "run as root"
        ) from error
    return names
