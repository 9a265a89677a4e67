# SPDX-License-Identifier: MIT
"""The C sources: what differs by processor is in its own folder, and files depend downwards."""

from __future__ import annotations

import graphlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime"
OBJECTS = ROOT / "build/native/CMakeFiles/core.dir/src"
PROCESSORS = sorted(path.name for path in (RUNTIME / "arch").iterdir())
# They are the same threads, see service.h.
TOGETHER = {"poller", "pool"}


def test_only_a_processors_folder_knows_which_it_is() -> None:
    asking = re.compile(r"\b__(x86_64|amd64|i386|aarch64|arm)(__)?\b")
    sources = [path for path in RUNTIME.rglob("*") if path.suffix in (".c", ".h", ".S")]
    assert len(sources) > 100
    assert [
        str(path.relative_to(ROOT))
        for path in sources
        if "arch" not in path.relative_to(RUNTIME).parts and asking.search(path.read_text())
    ] == []


@pytest.mark.parametrize("processor", PROCESSORS)
def test_each_processor_has_what_the_runtime_asks_for(processor: str) -> None:
    folder = RUNTIME / "arch" / processor
    offered = {path.name for path in folder.iterdir()}
    assert offered >= {
        "processor.h",
        "interrupted.h",
        "probe.h",
        "own_calls.h",
        "storage.h",
        "clone.S",
    }
    wanted = re.findall(r"^ \*   (memsc_\w+)\(", (RUNTIME / "src/cpu.h").read_text(), re.MULTILINE)
    assert len(wanted) == 8
    defined = re.findall(r"\b(memsc_\w+)\(", (folder / "processor.h").read_text())
    assert set(wanted) <= set(defined)
    if (layer := folder / "layer").exists():
        there = {path.name for path in layer.iterdir()}
        assert there >= {
            "emulated.h",
            "keys.h",
            "plan.c",
            "resume.h",
            "rewrite.c",
            "slots.h",
        }
        assert list(layer.glob("*.S"))


def needs(objects: list[Path]) -> dict[str, set[str]]:
    """Which files of C call, or read, what others define."""
    defined: dict[str, str] = {}
    asked: dict[str, set[str]] = {}
    for path in objects:
        file = path.name.removesuffix(".c.o")
        lines = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
        for *_, kind, symbol in map(str.split, lines.splitlines()):
            if kind == "U":
                asked.setdefault(file, set()).add(symbol)
            elif kind.isupper():
                defined[symbol] = file
    return {file: {defined[s] for s in found if s in defined} for file, found in asked.items()}


def test_files_of_the_runtime_depend_downwards() -> None:
    there = [OBJECTS / f"{path.name}.o" for path in (RUNTIME / "src").glob("*.c")]
    built = [path for path in there if path.exists()]
    assert len(built) >= 20, "make native builds them"
    graph: dict[str, set[str]] = {}
    for file, found in needs(built).items():
        graph.setdefault(_place(file), set()).update(map(_place, found))
    assert graph["caller"] >= {"wait", "process"}
    for place, below in graph.items():
        below.discard(place)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # a circle is an error that names it


def _place(file: str) -> str:
    return "+".join(sorted(TOGETHER)) if file in TOGETHER else file
