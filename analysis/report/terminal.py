# SPDX-License-Identifier: MIT
"""What reports for a terminal are put together from."""

from __future__ import annotations

import html
import io
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memsc.runtime.outputs import written


def heading(text: str, note: str = "") -> RenderableType:
    """A title with a note in small."""
    return Padding(
        Text.assemble((text, "bold"), ("  " + note, "dim") if note else ""), (1, 0, 0, 0)
    )


def mark(sign: str, text: str, style: str) -> RenderableType:
    """A line of the checks."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=3, justify="right")
    grid.add_column()
    grid.add_row(Text(sign, style), text)
    return grid


def table(*names: str) -> Table:
    """An empty table without lines: names to the left, figures to the right."""
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    for i, name in enumerate(names):
        width = 14 if i == 0 else 6
        grid.add_column(name, justify="right" if i else "left", no_wrap=True, min_width=width)
    return grid


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>TITLE</title>
<style>body {{ margin: 2em; color: {foreground}; background: {background} }}</style></head>
<body><pre>{code}</pre></body></html>
"""


def save_page(renderable: RenderableType, title: str, path: Path) -> None:
    """Writes what a terminal would show as a page that needs no network, whole or not at all.

    Raises:
        MemscError: the file cannot be written.
    """
    console = Console(record=True, width=100, highlight=False, file=io.StringIO())
    console.print(renderable)
    page = console.export_html(code_format=_PAGE, inline_styles=True)
    with written(path) as place:
        place.write_text(page.replace("TITLE", html.escape(title), 1), encoding="utf-8")
