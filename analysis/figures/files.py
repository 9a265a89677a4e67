# SPDX-License-Identifier: MIT
"""Figures as files and as parts of a page; the same data give the same bytes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from memsc.analysis.figures.style import RC
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.outputs import written

FORMATS = (".svg", ".png", ".pdf")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure; the same data give the same bytes.

    Raises:
        MemscError: a format that is not written, or the file cannot be.
    """
    what = f"cannot draw {path}"
    if path.suffix.lower() not in FORMATS:
        raise MemscError(what, "unknown format", f"name it {' or '.join(FORMATS)}", USAGE)
    kind = path.suffix.lower().removeprefix(".")
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with written(path, what) as place, mpl.rc_context(RC):
        figure.savefig(place, format=kind, metadata=date, bbox_inches="tight")


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, for a notebook; the same data give the same text."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context(RC):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata=metadata)
    return file.getvalue()


def inline_svg(figure: Figure) -> str:
    """A figure to stand in a page: it takes the page's colours, and its ids clash with none."""
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "memsc"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", bbox_inches="tight", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    # Seaborn's ink, and black where matplotlib says nothing.
    text = text.replace("#262626", "currentColor").replace("#dddddd", "var(--line)")
    text = re.sub(r"(<text\b)(?![^>]*fill)", r'\1 fill="currentColor"', text)
    # The edges between stages are the paper showing through.
    text = re.sub(r"stroke: (?:#ffffff|white)", "stroke: var(--paper)", text)
    return text.replace("#6e6e6e", "var(--dim)")
