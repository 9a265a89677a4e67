# SPDX-License-Identifier: MIT
"""A real browser without a screen: draws pages, and runs what others wrote for one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "chromium-browser"))),
    None,
)
needed = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: apt-get install chromium-headless-shell"
)
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def screenshot(page: Path, width: int, height: int, *, dark: bool = False) -> Path:
    """Draws a page and returns the picture, beside it."""
    shot = page.with_suffix(".png")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(f"--window-size={width},{height}", scheme, f"--screenshot={shot}", page.as_uri())
    return shot


def printed(page: Path) -> Path:
    """Prints a page and returns the PDF, beside it."""
    sheets = page.with_suffix(".pdf")
    _run(f"--print-to-pdf={sheets}", page.as_uri())
    return sheets


def dom(address: str, height: int = 600) -> str:
    """The page's elements after its scripts have run, in a window of so many pixels."""
    size = f"--window-size=800,{height}"
    return _run("--virtual-time-budget=10000", size, "--dump-dom", address)


def _run(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        command = [str(BROWSER), *_FLAGS, f"--user-data-dir={profile}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
