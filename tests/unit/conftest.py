# SPDX-License-Identifier: MIT
"""Unit tests run on one CPU and without BPF, and see no other session: what needs more is live."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest


@pytest.fixture(scope="module", autouse=True)
def bare() -> Generator[None]:
    """One CPU, the last, and no BCC to import; both are back for the tests of other folders.

    A command first tells what sessions left that were killed meanwhile, anybody's.
    """
    reachable = os.sched_getaffinity(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bcc", None)
        patch.setattr("memsc.commands.__main__.tidy", lambda argv: None)
        os.sched_setaffinity(0, {max(reachable)})
        try:
            yield
        finally:
            os.sched_setaffinity(0, reachable)
