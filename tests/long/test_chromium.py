# SPDX-License-Identifier: MIT
"""Chromium draws under memsc what it draws without: as root, and as a user in its sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers import browser
from tests.helpers.command import FRONT
from tests.helpers.preloaded import ATTACHABLE
from tests.helpers.required import layered

from memsc.runtime import topology

MEMSC = (str(FRONT), "run", "-q", *ATTACHABLE, "--")
PAGES = 10
USER = 64999  # who owns nothing
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
LIMIT_S = 240
PAGE = """<!doctype html><title>{number}</title><style>body {{ background: hsl({number}0 80% 80%) }}
</style><h1>Page {number}</h1><canvas width=300 height=99></canvas><script>
const brush = document.querySelector("canvas").getContext("2d");
for (let i = 0; i < 9; i++) {{
  brush.fillStyle = `hsl(${{40 * i}} 90% 50%)`;
  brush.fillRect(30 * i, 9 * {number}, 20, 60);
  const line = document.createElement("p");
  line.textContent = `${{i}} × {number} = ${{i * {number}}}`;
  document.body.append(line);
}}</script>"""

pytestmark = [
    browser.needed,
    layered,
    pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may enter and write to, unlike pytest's."""
    place = Path(tempfile.mkdtemp(prefix="pages-"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def _drawn(how: tuple[str, ...], page: Path, name: str) -> tuple[int, bytes]:
    picture, profile = page.with_name(f"{name}.png"), page.with_name(f"{name}.profile")
    flags = ["--headless", "--disable-gpu", "--hide-scrollbars", "--window-size=400,500"]
    flags += [] if AS_USER[0] in how else ["--no-sandbox"]
    flags += [f"--user-data-dir={profile}", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(
        [*how, str(browser.BROWSER), *flags],
        check=False,
        capture_output=True,
        timeout=LIMIT_S,
        cwd=page.parent,
        env=os.environ | {"HOME": str(page.parent)},
    )
    return done.returncode, picture.read_bytes() if picture.exists() else done.stderr[-2000:]


@pytest.mark.parametrize("who", ["root", "user"])
def test_ten_of_ten_pages(who: str, folder: Path) -> None:
    """Each picture is the same, byte by byte."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be both")
    prefix = AS_USER if who == "user" else ()
    if prefix and subprocess.run([*prefix, "test", "-x", MEMSC[0]], check=False).returncode != 0:
        pytest.skip("other users may not enter the folder that memsc lies in")
    for number in range(PAGES):
        page = folder / f"{number}.html"
        page.write_text(PAGE.format(number=number))
        page.chmod(0o644)
        expected = _drawn(prefix, page, f"{number}-direct")
        if number == 0 and expected[0] != 0:
            pytest.skip("it does not run here without memsc either")
        assert expected[0] == 0
        assert _drawn((*prefix, *MEMSC), page, f"{number}-carried") == expected, number
