# SPDX-License-Identifier: MIT
"""Whether both ends of what pyproject.toml declares are true: the tests of analysis, there.

    python tests/helpers/bounds.py lowest|newest [PYTEST'S WORDS…]

It makes an environment in build/bounds that has the lowest version of each dependency, or the
newest that the registry offers, builds a wheel with what is to build it, and runs every unit test
that imports `memsc.analysis`: real traces are among what they read. What others deprecate is no
failure there: it is one in `make test`, with the versions of requirements.txt.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {
    *("hdrhistogram", "hypothesis", "ipykernel", "jupytext", "nbclient", "perfetto", "protobuf"),
    *("prometheus-client", "pypdfium2", "pytest"),
}
"""What the tests themselves need, in the versions of requirements-dev.txt."""
DAY_S = 86400
LEFT_OUT = ("test_house.py", "test_hostile.py")
"""Of our own files, and of damage: they say nothing of versions."""


def wanted(which: str) -> list[str]:
    """All that is declared, extras and what builds the wheel too, as pip takes it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = declared["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    groups.append(declared["build-system"]["requires"])
    found: list[str] = []
    for line in (line for group in groups for line in group):
        (bound,) = Requirement(line).specifier
        if bound.operator != ">=":
            raise SystemExit(f"{line}: only lower bounds are understood here")
        name, marker = Requirement(line).name, Requirement(line).marker
        version = f"=={bound.version}" if which == "lowest" else ""
        found.append(f"{name}{version}" + (f"; {marker}" if marker else ""))
    dev = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    return found + [line for line in dev.splitlines() if re.split("[=[]", line)[0] in TOOLS]


def prepare(which: str) -> Path:
    """The environment's Python; made anew where what it should have has changed."""
    place = ROOT / "build" / "bounds" / which
    python, stamp, lines = place / "bin" / "python", place / "made-from", wanted(which)
    known = stamp.exists() and stamp.read_text(encoding="utf-8").split("\n") == lines
    # What is the newest changes by itself.
    if not known or (which == "newest" and time.time() - stamp.stat().st_mtime > DAY_S):
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([*pip(python, "install"), *lines], check=True)
        stamp.write_text("\n".join(lines), encoding="utf-8")
    folders = sorted(path.name for path in (ROOT / "build" / "house" / "memsc").iterdir())
    subprocess.run([python, ROOT / "tools" / "house", *folders], check=True)
    shutil.copy(ROOT / "runtime" / "native" / "memsc", place / "bin" / "memsc")
    return python


def pip(python: Path, command: str) -> list[str | Path]:
    """A command of pip's, which says what went wrong alone."""
    return [python, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]


def build(python: Path) -> None:
    """Build a wheel by what that environment has."""
    options = ("--no-build-isolation", "--no-deps", "--wheel-dir", python.parents[1] / "wheel")
    subprocess.run([*pip(python, "wheel"), *options, ROOT], check=True)


def main(which: str, words: list[str]) -> int:
    """Prepare, say what is there, and become pytest."""
    python = prepare(which)
    build(python)
    files = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests/unit").glob("test_*.py")
        if path.name not in LEFT_OUT
        and re.search(r"\bmemsc(\.| import )analysis\b", path.read_text(encoding="utf-8"))
    )
    quiet = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
    options = [f"-Wignore::{name}" for name in quiet]
    os.chdir(ROOT)
    os.execv(
        python, [str(python), "-m", "pytest", "-m", "not bpf and not vm", *options, *words, *files]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
