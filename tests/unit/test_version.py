# SPDX-License-Identifier: MIT
"""The version is pyproject.toml's; what cannot read it there says the same."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize(
    ("file", "first"),
    [("CHANGELOG.md", r"^## (\S+)"), ("debian/changelog", r"^memsc \((\S+)\)")],
)
def test_the_newest_entry_is_of_this_version(file: str, first: str) -> None:
    found = re.search(first, (ROOT / file).read_text(), re.MULTILINE)
    assert found
    assert found[1] == VERSION


def test_what_is_installed_is_this_version() -> None:
    assert version("memsc") == VERSION
