# SPDX-License-Identifier: MIT
"""Run the notebooks and write what they show as Markdown: `make notebooks`.

`notebooks/NAME.py` is the source (Jupytext, percent format); `notebooks/rendered/NAME.md` is for
reading, with its figures beside it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
RENDERED = HERE / "rendered"
TOOLS = ("record", "render")


def names() -> list[str]:
    """The notebooks there are."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in TOOLS)


def executed(name: str) -> Any:
    """A notebook with the results of its cells."""
    notebook = jupytext.read(HERE / f"{name}.py")
    resources = {"metadata": {"path": str(HERE)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    return notebook


def write(name: str, notebook: Any, folder: Path = RENDERED) -> Path:
    """Writes an executed notebook as Markdown, and each figure as a file beside it."""
    folder.mkdir(exist_ok=True)
    for stale in folder.glob(f"{name}-*.svg"):
        stale.unlink()
    figures: list[str] = []
    head = f"<!-- made from notebooks/{name}.py by `make notebooks`; change it there -->"
    parts = [head]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.source.strip():
            parts.append(f"```python\n{cell.source}\n```")
            parts += [_shown(output, name, figures) for output in cell.outputs]
    for number, svg in enumerate(figures, 1):
        (folder / f"{name}-{number}.svg").write_text(svg)
    path = folder / f"{name}.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    return path


def _shown(output: Any, name: str, figures: list[str]) -> str:
    if output.output_type == "stream" and output.name == "stderr":
        return ""  # what a library grumbles about, on a busy machine say
    if output.output_type == "stream":
        return f"```text\n{output.text.strip()}\n```"
    found = output.get("data", {})
    if "image/svg+xml" in found:
        figures.append(found["image/svg+xml"])
        return f"![figure {len(figures)}]({name}-{len(figures)}.svg)"
    if "text/html" in found:
        return _plain(found["text/html"])
    return f"```text\n{found.get('text/plain', '')}\n```"


def _plain(html: str) -> str:
    """A table as Markdown takes it: no style, no blank line, no space that would make it code."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    html = re.sub(r' (?:border|class|style)="[^"]*"', "", html)
    return "\n".join(line.strip() for line in html.splitlines() if line.strip())


def main(wanted: list[str]) -> Iterator[Path]:
    """Render some notebooks, or all."""
    for name in wanted or names():
        yield write(name, executed(name))


if __name__ == "__main__":
    for rendered in main(sys.argv[1:]):
        print(rendered.relative_to(HERE.parent))
