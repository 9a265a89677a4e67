# SPDX-License-Identifier: MIT
"""Where no tree of another Debian can be had, a line says why; it fails only if one was required.

Every lack is real; what a tree is good for is tried by `make test-trixie-quick`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_HALVES = "lowerdir=l,upperdir=u,workdir=w"
LACKS = {
    "root": ("setpriv --reuid 65534 --clear-groups {}", "needs root; "),
    "mmdebstrap": (
        "mount --bind /dev/null $(command -v mmdebstrap); {}",
        "needs mmdebstrap; apt install",
    ),
    "mounts": ("setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin {}", "no mounts"),
    "overlays": (
        # In memory: what lies here may itself be an overlay.
        f"mount -t tmpfs t cache; (cd cache; mkdir l u w; mount -t overlay -o {_HALVES} o .); {{}}",
        r"overlays are allowed in .*cache \(",
    ),
    "room": ("mount -t tmpfs -o size=64m tmpfs cache; {}", "has 1 GB, and 6 are needed; "),
    "place": ("export MEMSC_TREE_CACHE=/proc/none; {}", "no place for it; "),
    "mirror": ("exec unshare --net {}", "it could not be fetched "),
}
"""What is done to the machine, and what the line has in it."""


@pytest.fixture
def place() -> Generator[Path]:
    """A copy of the scripts that another user may enter, and a cache."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("tests/trees", "tools"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "requirements-debian-trees.txt", folder)
        (folder / "cache").mkdir()
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take things away")
@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs the package mmdebstrap")
@pytest.mark.parametrize(
    ("lack", "required"),
    [
        pytest.param(lack, required, marks=[] if lack in quick else pytest.mark.long)
        for required, quick in ((False, set(LACKS) - {"mirror"}), (True, {"root"}))
        for lack in LACKS
    ],
)
def test_it_says_in_a_line_what_is_lacking(lack: str, required: bool, place: Path) -> None:
    shell, says = LACKS[lack]
    script = shell.replace("{}", "tests/trees/quick trixie tests/unit")
    variables = {"MEMSC_TREE_CACHE": str(place / "cache"), "MEMSC_REQUIRE_TREE": str(int(required))}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-euc", script],
        cwd=place,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert re.fullmatch(rf"memsc: tree: trixie not tried: .*{says}.*\n", done.stderr), done
    assert (done.returncode, done.stdout) == (int(required), "")
    assert not list((place / "cache").glob("t*-*")), "what was tried is left"
