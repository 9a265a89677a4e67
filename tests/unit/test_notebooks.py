# SPDX-License-Identifier: MIT
"""The notebooks run, what is rendered is theirs, and the magic traces a cell's command."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from memsc import analysis as ma
from memsc.commands.magic import arguments_of, load_ipython_extension
from memsc.runtime.errors import MemscError

HERE = Path(__file__).resolve().parents[2] / "notebooks"
TOOLS = {"record", "render"}
NAMES = sorted({path.stem for path in HERE.glob("*.py")} - TOOLS)


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_render", HERE / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_is_rendered(name: str, render: Any, tmp_path: Path) -> None:
    notebook = render.executed(name)
    text = render.write(name, notebook, tmp_path).read_text()
    committed = (HERE / "rendered" / f"{name}.md").read_text()
    # Figures and numbers may differ in their last digits elsewhere; what is said may not.
    assert prose(text) == prose(committed), "run make notebooks"
    assert len(list(tmp_path.glob("*.svg"))) == len(list((HERE / "rendered").glob(f"{name}-*.svg")))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000


def prose(text: str) -> str:
    """What a rendered notebook says and does, without what came out."""
    said = re.sub(r"```text.*?```|<div>.*?</div>|<b>memsc trace.*?</table>", "", text, flags=re.S)
    return re.sub(r"\n{2,}", "\n\n", said)


def test_every_notebook_is_one_that_jupytext_reads() -> None:
    for name in NAMES:
        cells = jupytext.read(HERE / f"{name}.py").cells
        assert cells[0].cell_type == "markdown"
        assert cells[0].source.startswith("# ")
        assert sum(cell.cell_type == "markdown" for cell in cells) >= 4


def test_the_recorded_traces_are_small_and_whole() -> None:
    folders = sorted((HERE / "traces").rglob("*.memsc"))
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*.*"))
    assert size < 2_000_000
    for folder in folders:
        trace = ma.open(folder)
        assert trace.checks.withheld() == []
        # Where a thief was let in, no promise about interrupts and switches holds: that is its use.
        broken = [check.name for check in trace.checks.all() if check.held is False]
        assert not broken or folder.stem == "tail"


def test_the_magic_reads_its_line_and_its_cell() -> None:
    assert arguments_of("--rounds 2 -- ls -l", None) == (None, ["--rounds", "2", "--", "ls", "-l"])
    quoted = ["--snapshot", "total>1us", "--", "sh", "-c", "ls | wc"]
    assert arguments_of("--snapshot total>1us -- sh -c 'ls | wc'", None) == (None, quoted)
    assert arguments_of("", r"find . -exec ls {} \;")[1][-1] == ";"
    assert arguments_of("--as t", "# why\nls 'a b' \\\n -l\n") == ("t", ["--", "ls", "a b", "-l"])
    for line, cell, why in (
        ("", None, "no command"),
        ("--as", "ls", "no variable"),
        ("", "ls\nls", "more than one command"),
        ("", "ls | wc -l", r"no shell is there for \|; put the command behind sh -c"),
        ("-- ls >file", None, "no shell is there for >"),
        ("", "ls 'a", "quotation"),
    ):
        with pytest.raises(MemscError, match=why):
            arguments_of(line, cell)


def test_the_magic_traces_a_cell_s_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell()
    load_ipython_extension(shell)
    line = "--transport direct --probes none --as t"
    found = shell.run_cell_magic("memsc", line, f"{sys.executable} -c 'print(7)'")
    assert isinstance(found, ma.Trace)
    assert shell.user_ns["t"] is found
    assert found.folder.rows("calls") > 10
    assert capsys.readouterr().out == "7\n"
    with pytest.raises(UsageError, match="no-such-program"):
        shell.run_line_magic("memsc", "-- no-such-program")
