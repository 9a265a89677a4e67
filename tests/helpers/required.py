# SPDX-License-Identifier: MIT
"""What this machine lacks for a test: it is skipped, or with MEMSC_REQUIRE_BPF=1 it may fail."""

from __future__ import annotations

import os

import pytest

from memsc.runtime.files import LAYER

two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
layered = pytest.mark.skipif(not LAYER.exists(), reason="this build has no C-library layer")


def require(reason: str | None) -> None:
    """Leave a test that needs something: reason says what; None if it is there."""
    if reason and os.environ.get("MEMSC_REQUIRE_BPF") == "1":
        pytest.fail(f"MEMSC_REQUIRE_BPF=1, but this test {reason}")
    if reason:
        pytest.skip(reason)
