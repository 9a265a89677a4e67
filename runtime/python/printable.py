# SPDX-License-Identifier: MIT
"""Text from elsewhere, made fit to be shown: what steers a terminal or a line is spelt out."""

from __future__ import annotations

import re

CONTROL = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters, separators of lines, overrides of direction, halves of characters."""

_CONTROL = re.compile(CONTROL)


def printable(text: str) -> str:
    r"""The text with such characters as escapes.

    Example:
        >>> printable("a\x1b[2J")
        'a\\x1b[2J'
    """
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
