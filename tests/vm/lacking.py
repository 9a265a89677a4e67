# SPDX-License-Identifier: MIT
"""A helper that lacks some ways to see who sends interrupts: `lacking.py WAY…`."""

from __future__ import annotations

import os
import sys

from memsc.probes.declaration import Variant
from memsc.tracer.helper import server
from memsc.tracer.helper.loading.probe import Places

_absence = Places.absence


def absence(self: Places, variant: Variant) -> str | None:
    """As on a machine that lacks them."""
    senders = any("send" in program for program in variant.programs)
    if senders and variant.way in sys.argv[1:]:
        return f"no {variant.way} in this test"
    return _absence(self, variant)


if __name__ == "__main__":
    Places.absence = absence
    status = server.serve(0, os.getppid())
    sys.stderr.flush()
    os._exit(status)
