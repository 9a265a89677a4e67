# SPDX-License-Identifier: MIT
"""Cases of the programs of features, each as its program's table names it."""

from __future__ import annotations

import re
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parents[1] / "live" / "programs"
_TABLE = "features[] = {"


def _cases(text: str) -> list[str]:
    """Names in the table of features, and in no other."""
    table = text[text.index(_TABLE) :].partition("\n};")[0]
    return re.findall(r'\{\s*"([^"]+)",', table)


def _features() -> list[tuple[str, str]]:
    texts = {path.stem: path.read_text() for path in sorted(PROGRAMS.glob("*.c"))}
    return [
        (source, case) for source, text in texts.items() if _TABLE in text for case in _cases(text)
    ]


# As (stem of the source, case).
FEATURES = _features()
