# SPDX-License-Identifier: MIT
"""The house as it is drawn: folders, floors, the trust boundary, and where new things go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: dict[str, str] = SETTINGS["tool"]["memsc"]["packages"]
HELPER = "What runs as root imports nothing"
DOWN = "imports only go down"


def lint(folder: Path) -> str:
    """What import-linter, as `make check` runs it, says of the package memsc in a folder."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"),
            *("--config", ROOT / "pyproject.toml"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ("0 broken" in done.stdout), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, of Python alone."""
    folder = tmp_path_factory.mktemp("house")
    for name, place in PACKAGES.items():
        for path in (ROOT / place).rglob("*.py"):
            to = folder / "memsc" / name / path.relative_to(ROOT / place)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    shutil.copy(ROOT / "share" / "package.py", folder / "memsc" / "__init__.py")
    return folder


def test_the_copy_keeps_every_contract(copied: Path) -> None:
    assert "0 broken" in lint(copied)


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("tracer/helper/wire.py", "from memsc.tracer.session import pace", HELPER),
        ("tracer/helper/server.py", "import memsc.tracer.format.parts", HELPER),
        ("tracer/helper/boot.py", "import memsc.tracer.state.folders", HELPER),
        ("tracer/helper/loading/bcc.py", "import memsc.tracer.doctor.features", HELPER),
        ("tracer/helper/kernel/btf.py", "import memsc.analysis.trace", DOWN),
        ("tracer/helper/loading/usdt.py", "from memsc.runtime import library", HELPER),
        ("tracer/helper/isolation/journal.py", "from memsc.commands import options", DOWN),
        ("tracer/format/parts.py", "import memsc.probes.declaration", "The trace's format is pure"),
        ("analysis/data/scan.py", "import memsc.tracer.session.pace", "Analysis sees the trace's"),
        ("analysis/figures/tail.py", "import memsc.analysis.domains.tail", DOWN),
        ("probes/source.py", "import memsc.tracer.state.folders", DOWN),
    ],
)
def test_an_import_from_elsewhere_breaks_a_contract(
    file: str, line: str, contract: str, copied: Path
) -> None:
    """Wherever it stands: inside a function, too."""
    path = copied / "memsc" / file
    text = path.read_text()
    path.write_text(f"{text}\n\ndef _mutated() -> None:\n    {line}\n")
    try:
        said = lint(copied)
    finally:
        path.write_text(text)
    broken = [name for name in said.splitlines() if " BROKEN" in name]
    assert any(contract in name for name in broken), said


def section(file: str, heading: str) -> str:
    return (ROOT / file).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def drawn() -> dict[str, str]:
    """Folders of the tree in docs/design.md, and what is said of them."""
    tree = section("docs/design.md", "The house").partition("```text\n")[2].partition("```")[0]
    found: dict[str, str] = {}
    above = ""
    for line in tree.splitlines():
        name, _, words = line.strip().partition("/ ")
        above = above if line.startswith(" ") else name
        place = f"{above}/{name}" if line.startswith(" ") else name
        assert words.strip(), line
        found[place] = words.strip()
    return found


def test_the_tree_is_drawn_as_it_is() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    deep = ("analysis", "bench", "runtime", "tests", "tracer")
    there: set[str] = set()
    for name in done.stdout.splitlines():
        top, *rest = name.split("/")[:-1] or ("",)
        there.add(top)
        if top in deep and rest:
            there.add(f"{top}/{rest[0]}")
    hidden = {name for name in there if name.startswith(".") or not name}
    assert set(drawn()) == there - hidden


def test_what_the_table_of_new_things_names_is_there() -> None:
    table = section("CONTRIBUTING.md", "Where things go")
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 8
    for row in rows:
        names = [name for name in re.findall(r"`([^`]+)`", row) if "/" in name]
        assert names, row
        assert not [name for name in names if not list(ROOT.glob(name.replace("NAME", "*")))], row
