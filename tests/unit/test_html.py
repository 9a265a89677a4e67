# SPDX-License-Identifier: MIT
"""The page: whole, offline, without script, the same every time, and drawn by a real browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace
from PIL import Image
from pypdfium2 import PdfDocument
from tests.helpers import browser, traces

from memsc import analysis as ma
from memsc.analysis.report import page as html_page
from memsc.analysis.report import page_figures
from memsc.analysis.report.page import to_html
from memsc.analysis.report.summary import summarise
from memsc.commands.__main__ import main
from memsc.runtime.errors import WITHHELD

VOID = {"meta", "br", "img", "hr", "link", "input"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("t") / "demo.memsc"
    arms = ("direct", "ipi", "memsc", "memsc-scanner")
    return traces.fabricate(path, arms=arms, rounds=4, calls=3000)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    trace = ma.open(folder)
    return to_html(trace, summarise(trace))


class Whole(HTMLParser):
    """Notes tags that are not closed, and ids that come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_offline(page: str) -> None:
    reader = Whole()
    reader.feed(page)
    assert not reader.open
    assert len(page.encode()) < 5_000_000
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "<script" not in page
    assert not re.search(r"@import|url\(http", page)


def test_only_the_first_case_s_ratios_are_unfolded(page: str) -> None:
    shown = page[page.index("<h2>Against each other: sync</h2>") :]
    assert shown.index("memsc ÷ direct") < shown.index("<details>")
    assert "<summary>sync, measured by the workload&#39;s clock" in shown


def test_the_page_is_the_same_every_time(folder: Path, page: str) -> None:
    trace = ma.open(folder)
    assert to_html(trace, summarise(trace)) == page


def test_the_small_tables_can_be_downloaded(page: str) -> None:
    found = dict(
        re.findall(r'download="demo-(\w+)\.csv" href="data:text/csv;base64,([^"]+)"', page)
    )
    assert set(found) == {"stages", "syscalls", "threads", "ratios", "perturbation", "checks"}
    stages = pd.read_csv(io.BytesIO(base64.b64decode(found["stages"])))
    assert len(stages) == 4 * 5


def test_names_are_escaped(tmp_path: Path) -> None:
    trace = ma.open(traces.fabricate(tmp_path / "<b>.memsc", rounds=1, calls=50, case="<i>"))
    text = to_html(trace, summarise(trace))
    assert "<b>.memsc" not in text
    assert "<h2>&lt;i&gt;</h2>" in text


def test_a_withheld_verdict_shows_no_ratio(tmp_path: Path) -> None:
    folder = traces.fabricate(tmp_path / "a.memsc", rounds=2, calls=200, lost=1)
    file = tmp_path / "a.html"
    assert main(["report", str(folder), "--html", str(file)]) == WITHHELD
    assert "verdict withheld" in file.read_text()
    assert "Against each other" not in file.read_text()


@browser.needed
@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_draws_it(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    (tmp_path / "a.html").write_text(page)
    shot = browser.screenshot(tmp_path / "a.html", width, 2400, dark=dark)
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24) or []
        assert image.width == width
        paper = image.convert("RGB").getpixel((1, 1))
    assert paper == ((0x17, 0x17, 0x1A) if dark else (0xFD, 0xFD, 0xFC))
    # The four stages, as the figures and the bars of the slowest calls have them.
    found = {colour for _, colour in colours}
    assert {(0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00), (0x00, 0x9E, 0x73), (0xCC, 0x79, 0xA7)} <= found


@browser.needed
def test_paper_has_what_a_screen_scrolls_and_unfolds_to(page: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(page)
    document = PdfDocument(browser.printed(tmp_path / "a.html"))
    # Within the sheets: what lies beyond their edge is in the file, too.
    text = "\n".join(
        str(sheet.get_textpage().get_text_bounded())  # pyright: ignore[reportUnknownMemberType]
        for sheet in document
    )
    document.close()
    for far_right in ("p99.99", "max", "p50 ÷ p50"):
        assert far_right in text
    for folded in re.findall(r"<dt>([^<]+)</dt>", page):
        assert folded in text


def test_the_page_stays_small_whatever_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html_page, "CASES", 2)
    monkeypatch.setattr(html_page, "LONGEST", 1000)
    folder = tmp_path / "a.memsc"
    for case in ("sync", "one", "two", "three"):
        traces.fabricate(tmp_path / f"{case}.memsc", rounds=1, calls=60, case=case)
    merged(folder, [tmp_path / f"{case}.memsc" for case in ("sync", "one", "two", "three")])
    trace = ma.open(folder)
    text = to_html(trace, summarise(trace))
    assert "2 more cases" in text
    assert text.count("Nanoseconds per call, 1 round") == 2
    assert "stages: too large for this page" in text
    assert "memsc against ipi: sync" in text
    assert text.count('class="bar"') == 3 * html_page.WORST


def merged(folder: Path, parts: list[Path]) -> Path:
    """One trace of several."""
    found = [ma.open(part).folder for part in parts]
    shutil.copytree(parts[0], folder)
    for index, part in enumerate(found):
        for piece in part.parts["calls"]:
            name = f"part-{1000 * index + int(piece.path.stem[5:]):04d}.parquet"
            shutil.copy(piece.path, folder / "calls" / name)
    rounds = [r for part in found for r in part.session.rounds]
    session = replace(found[0].session, rounds=rounds)
    (folder / "session.json").write_bytes(session.encode())
    return folder


def test_stacks_stand_in_the_page_unless_they_outgrow_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {
        page_figures.PROFILE: "<svg>few</svg>",
        page_figures.OFF_CPU: "<svg>many</svg>" * 100_000,
    }

    def draw(trace: ma.Trace, probe: str, *, width: float) -> str:
        return drawn[probe]

    monkeypatch.setattr(page_figures, "stacks_svg", draw)
    found = dict(page_figures.flames(ma.open(folder)))
    assert found["threads on the CPU"] == "<svg>few</svg>"
    assert "threads off the CPU" not in found
