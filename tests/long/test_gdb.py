# SPDX-License-Identifier: MIT
"""Stacks are as gdb has them, at the same stop: of Debian's programs, none with frame pointers."""

from __future__ import annotations

import platform

import pytest
from tests.helpers.agreement import AGREE, PROGRAMS, SERVERS, STOPS, compared, missing

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="rules are of x86-64")


@pytest.mark.parametrize("name", [*PROGRAMS, *SERVERS])
def test_a_stack_is_as_gdb_has_it(name: str) -> None:
    if what := missing(name):
        pytest.skip(f"needs {what}; see requirements-debian-programs.txt")
    found = compared(name)
    assert found.stops >= STOPS / 2
    assert len(found.differing) <= (1 - AGREE) * found.stops, found.differing[:3]
