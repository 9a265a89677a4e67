# SPDX-License-Identifier: MIT
"""What all tests share: Hypothesis without clocks, and the rule about BPF."""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import settings
from tests.required import require

# No test asserts a time, and a deadline is one.
settings.register_profile("memsc", deadline=None, max_examples=60)
settings.load_profile("memsc")


def _lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    if importlib.util.find_spec("bcc") is None:
        return "needs BCC, Debian's python3-bpfcc"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have --long."""
    parser.addoption("--long", action="store_true", help="run the long tests, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out long tests unless they are asked for, as `make test-programs` does."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked bpf where BPF cannot be, unless MEMSC_REQUIRE_BPF=1 makes that a fault."""
    if item.get_closest_marker("bpf"):
        require(_lacking())
