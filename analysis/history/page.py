# SPDX-License-Identifier: MIT
"""A history as one offline HTML file: what stepped, figures, and each session's metrics."""

from __future__ import annotations

from pathlib import Path

import jinja2

from memsc.analysis.figures.files import inline_svg
from memsc.analysis.history.history import History
from memsc.analysis.history.text import (
    EVENT_COLUMNS,
    blocks,
    column,
    events,
    rows_of_block,
    summary_lines,
    title,
    versions,
)
from memsc.runtime.outputs import written

FIGURES = 12
"""Arms and cases that are drawn and listed: a page must not grow with the traces."""
_TEMPLATES = Path(__file__).parent / "templates"
_KINDS = {"!": "doubt", "?": "doubt", "▲": "bad", "▼": "good", "◆": "doubt", "✓": "good"}


def to_html(history: History) -> str:
    """The history as a page; the same traces give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    report = history.report
    found = blocks(report)
    return environment.get_template("history.html").render(
        h=report,
        title=title(report),
        versions=versions(report),
        lines=[(sign, _KINDS[sign], text) for sign, text in summary_lines(report)],
        events=[(_KINDS[event.sign], event) for event in events(report)],
        event_columns=EVENT_COLUMNS,
        blocks=[
            {
                "title": f"{block[0].arm} {block[0].case}",
                "figure": inline_svg(history.plot_history(block[0].arm, block[0].case)),
                "columns": [column(one) for one in block],
                "rows": list(rows_of_block(report, block)),
            }
            for block in found[:FIGURES]
        ],
        more=max(len(found) - FIGURES, 0),
    )


def save_html(history: History, path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        MemscError: the file cannot be written.
    """
    page = to_html(history)
    with written(path) as place:
        place.write_text(page, encoding="utf-8")
