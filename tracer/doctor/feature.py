# SPDX-License-Identifier: MIT
"""One thing that is tried, and how it went."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from memsc.runtime.errors import MemscError, hidden, reason, shortage
from memsc.tracer.helper import capabilities

State = Literal["ok", "missing", "unknown"]

AS_ROOT = "run it with sudo"


@dataclass(frozen=True)
class Feature:
    """One thing that was tried.

    Args:
        name: what a user calls it.
        state: `unknown` only where the try itself was not possible.
        detail: what was found, one line.
        remedy: what to do about a lack; empty when ok.
        needed: `memsc run` does not work without it.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""
    needed: bool = False

    def as_json(self) -> dict[str, str]:
        """The four fields of the JSON output."""
        return {
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def attempt(name: str, tried: Callable[[], str], remedy: str, needed: bool = False) -> Feature:
    """Try a feature.

    Args:
        name: the feature's.
        tried: tries it and returns the detail; raises OSError or MemscError if it is not there, or
            there is not enough of something to tell.
        remedy: against an OSError; a MemscError brings its own.
        needed: see Feature.
    """
    try:
        return Feature(name, "ok", tried(), needed=needed)
    except MemscError as error:
        if helps := shortage(error.why):
            return Feature(name, "unknown", error.why, helps, needed)
        return Feature(name, "missing", error.why, error.remedy, needed)
    except OSError as error:
        if helps := shortage(str(error)):
            return Feature(name, "unknown", reason(error), helps, needed)
        if lack := hidden(error):
            return Feature(name, "unknown", *lack, needed)
        refused = error.errno in (errno.EPERM, errno.EACCES)
        if refused and os.geteuid() != 0:
            return Feature(name, "unknown", "needs root to tell", AS_ROOT, needed)
        if refused and (lack := capabilities.shortfall()):
            return Feature(name, "missing", lack, capabilities.AS_THE_MACHINES_ROOT, needed)
        why = error.strerror or str(error)
        if why == os.strerror(error.errno or 0):
            why = f"the kernel says: {why}"
        return Feature(name, "missing", why, remedy, needed)
