# SPDX-License-Identifier: MIT
"""Servers are recorded whole, whatever becomes of their users, environments and titles."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.helpers import servers
from tests.helpers.required import layered, two_cpus
from tests.helpers.servers import SERVERS

pytestmark = [
    two_cpus,
    layered,
    pytest.mark.skipif(os.geteuid() != 0, reason="another user is root's to become"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
ARMS = ("--transport", "direct,ipi,memsc", "--service", "inline,scanner")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_recorded(name: str, tmp_path: Path) -> None:
    """Under each arm, with probes and without: its answers are right, and its calls all there."""
    for program in SERVERS[name].needs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    servers.is_recorded(SERVERS[name], tmp_path, ARMS, ("none", "syscalls"))
