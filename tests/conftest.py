# SPDX-License-Identifier: MIT
"""What all tests share: marks by folder, Hypothesis without clocks, Ctrl-C, the rule about BPF."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from tests.helpers.required import require

from memsc.tracer.session.observe import channel

HERE = Path(__file__).parent

# A shell without job control starts what is in the background with Ctrl-C ignored, for it and for
# all that it starts, and nohup does so with a hang-up: tests of these would fail for that alone.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test asserts a time, and a deadline is one.
settings.register_profile("memsc", deadline=None, max_examples=60)
settings.load_profile("memsc")

# To compile probes takes minutes in an emulated machine; they are kept, for later commands.
if "MEMSC_VM" in os.environ:
    channel.TIMEOUT_S = 900.0


def _lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    if importlib.util.find_spec("bcc") is None:
        return "needs BCC, Debian's python3-bpfcc"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have --long."""
    parser.addoption("--long", action="store_true", help="run the long tests, too")


def _mark(item: pytest.Item) -> None:
    """What a folder is for is said once, here; tests/unit/conftest.py holds its own tests to it."""
    kind = item.path.relative_to(HERE).parts[0]
    if kind in ("long", "vm"):
        item.add_marker(kind)
    wrong = [mark for mark in ("bpf", "long", "vm") if item.get_closest_marker(mark)]
    if kind == "unit" and wrong:
        raise pytest.UsageError(f"{item.nodeid} is marked {wrong[0]}: its place is tests/live")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder; leave out long ones unless they are asked for."""
    for item in items:
        _mark(item)
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked bpf where BPF cannot be, unless MEMSC_REQUIRE_BPF=1 makes that a fault."""
    if item.get_closest_marker("bpf"):
        require(_lacking())
