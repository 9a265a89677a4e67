# SPDX-License-Identifier: MIT
"""What the documents say is tried, is; what the model says it models, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BUILDS = (ROOT / "runtime/test/CMakeLists.txt", ROOT / "runtime/layer/CMakeLists.txt")
C_TESTS = {Path(word.strip("()")).stem for built in BUILDS for word in built.read_text().split()}


def rows() -> list[list[str]]:
    """Rows of the threats' tables: the threat, what is against it, the test."""
    lines = (ROOT / "docs/threats.md").read_text().splitlines()
    table = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    return [cells for cells in table if cells[0].strip() != "threat"]


def named(text: str) -> list[str]:
    """What it names in backticks."""
    return [name for name in re.findall(r"`([^`]+)`", text) if "/" in name or " " in name]


def problem(name: str) -> str | None:
    """Why it is no test."""
    if name.startswith("make "):
        return None if name[5:] in TARGETS else "no such target"
    path = ROOT / name
    if not path.exists():
        return "no such file"
    if path.suffix == ".py" and "\ndef test_" not in path.read_text():
        return "no test in it"
    if path.suffix == ".c" and path.stem not in C_TESTS:
        return "not built"
    return None


def test_there_are_threats() -> None:
    assert len(rows()) >= 20


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[0].strip()[:40])
def test_each_threat_has_a_test_that_is_there(cells: list[str]) -> None:
    threat, against, test = (cell.strip() for cell in cells)
    assert threat
    assert against
    if test == "the same":
        return
    assert named(test), "it names no test"
    problems = {name: why for name in named(test) if (why := problem(name))}
    assert not problems


def test_what_the_helpers_page_names_is_there() -> None:
    text = (ROOT / "docs/helper.md").read_text()
    tests = named(text[text.index("Tests: ") :])
    assert len(tests) >= 4
    assert not {name: why for name in tests if (why := problem(name))}


def test_the_model_models_functions_that_are_there() -> None:
    head = (ROOT / "runtime/model/protocol.c").read_text().partition("*/")[0]
    found = re.findall(r"(\w+\.c) ((?:\w+(?:, )?)+)", head)
    assert len(found) >= 5
    for file, functions in found:
        source = (ROOT / "runtime/src" / file).read_text()
        for function in functions.split(", "):
            assert re.search(rf"\b{function}\(", source), f"{file} has no {function}"
