# SPDX-License-Identifier: MIT
"""Unit tests run on one CPU and without BPF, and see no other session: what needs more is live."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.helpers.killed_sessions import DEAD

from memsc.tracer.state import folders


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


@pytest.fixture
def session_folder() -> Iterator[Path]:
    """In memory, as regions have to be, and where no other memsc looks."""
    with tempfile.TemporaryDirectory(dir=folders.MEMORY) as memory:
        name = f"session-{DEAD}-5{folders.of_container()}"
        folder = Path(memory) / f"memsc-{os.getuid()}" / name
        folder.mkdir(parents=True)
        yield folder
