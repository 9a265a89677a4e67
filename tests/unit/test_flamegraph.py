# SPDX-License-Identifier: MIT
"""Flame graphs: whole, honest in their widths, escaped; and stacks as others read them."""

from __future__ import annotations

import base64
import csv
import html
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import browser, traces

from memsc import analysis as ma
from memsc.analysis.data.numbers import short_ns
from memsc.analysis.export.formats import Options, export
from memsc.analysis.figures.flamegraph import WIDTH, Stack, flame_svg
from memsc.analysis.report.flames import difference, threads_svg
from memsc.runtime.errors import MemscError
from memsc.runtime.printable import printable

READERS = Path(__file__).parent / "readers" / "node_modules"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> ma.Trace:
    folder = tmp_path_factory.mktemp("t") / "a.memsc"
    return ma.open(traces.fabricate(folder, rounds=4, calls=500))


def frames(svg: str) -> dict[str, tuple[float, float, str]]:
    """What hovering says up to the colon: x, width and colour."""
    found: dict[str, tuple[float, float, str]] = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        name = (title.text or "").rpartition(": ")[0]
        found[name.partition(": ")[0]] = (
            float(rect.attrib["x"]),
            float(rect.attrib["width"]),
            rect.attrib["fill"],
        )
    return found


def test_a_frame_is_as_wide_as_its_share_of_the_time(trace: ma.Trace, tmp_path: Path) -> None:
    assert "nanoseconds" in export(trace, "flamegraph", tmp_path / "a.svg")
    found = frames((tmp_path / "a.svg").read_text())
    calls = trace.folder.read("calls").to_pandas()
    spent = (calls["completed"] - calls["called"]).groupby(calls["arm"]).sum()
    for arm, cycles in spent.items():
        share = cycles / spent.sum()
        if (wide := share * found["all"][1]) >= 0.6:
            assert found[str(arm)][1] == pytest.approx(wide, abs=0.02)
    # Stages stand on their system call, in their order.
    inner = [found[f"ipi;sync;getppid;{stage}"] for stage in ("poll", "execute", "complete")]
    assert [x for x, _, _ in inner] == sorted(x for x, _, _ in inner)
    assert sum(width for _, width, _ in inner) <= found["ipi;sync;getppid"][1] + 0.05


def test_the_same_trace_gives_the_same_bytes(trace: ma.Trace, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        export(ma.open(trace.folder.path), "flamegraph", tmp_path / name, Options(base="ipi"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<script" not in (tmp_path / "a.svg").read_text()


def test_one_arm_against_another_shows_where_time_came_and_went(
    trace: ma.Trace, tmp_path: Path
) -> None:
    found = difference(trace, "memsc", "direct")
    rows = trace.stages.df_stages().query("syscall == 'all'").set_index(["arm", "stage"])
    for side, arm in ((found.new, "memsc"), (found.old, "direct")):
        for stage in ("post", "poll", "execute", "complete"):
            mean = rows.loc[(arm, stage), "mean_ns"]
            assert side["getppid", stage] == pytest.approx(mean, abs=1)
    said = export(trace, "flamegraph", tmp_path / "a.svg", Options(base="direct"))
    assert said.startswith("memsc against direct: sync")
    svg = frames((tmp_path / "a.svg").read_text())
    grown, same = svg["getppid;poll"][2], svg["getppid;execute"][2]
    assert int(grown[1:3], 16) > int(grown[5:7], 16) + 60  # orange
    assert grown != same
    export(trace, "flamegraph", tmp_path / "b.svg", Options(base="ipi"))
    shrunk = frames((tmp_path / "b.svg").read_text())["getppid;poll"][2]
    assert int(shrunk[5:7], 16) > int(shrunk[1:3], 16) + 60  # blue
    export(trace, "folded", tmp_path / "a.folded", Options(base="direct", arm="ipi"))
    lines = [line.split() for line in (tmp_path / "a.folded").read_text().splitlines()]
    assert [line[0] for line in lines] == [
        f"getppid;{stage}" for stage in ("post", "poll", "execute", "complete")
    ]
    assert int(lines[1][2]) > 1000 * int(lines[1][1])


def test_what_cannot_be_compared_says_why(trace: ma.Trace, tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="its arms are direct, ipi, memsc"):
        export(trace, "flamegraph", tmp_path / "a", Options(base="uring"))
    with pytest.raises(MemscError, match="its cases are sync"):
        export(trace, "flamegraph", tmp_path / "a", Options(base="ipi", case="dd"))
    with pytest.raises(MemscError, match="no differences; leave --base out"):
        export(trace, "chrome", tmp_path / "a", Options(base="ipi"))


names = st.text(max_size=30)
stacks_of = st.dictionaries(st.tuples(names, names), st.integers(0, 10**15), max_size=30)


@given(stacks_of, stacks_of)
def test_any_name_and_weight_is_drawn_inside_the_picture(
    stacks: dict[Stack, float], base: dict[Stack, float]
) -> None:
    for other in (None, base):
        svg = flame_svg(stacks, "t", short_ns, base=other)
        for x, width, colour in frames(svg).values():
            assert 0 <= x <= x + width <= WIDTH
            assert re.fullmatch("#[0-9a-f]{6}|#[0-9A-F]{6}", colour)


def test_what_is_not_drawn_takes_no_room() -> None:
    wide, narrow = ("a", "b"), ("a", *("deep",) * 50)
    both = flame_svg({wide: 10_000.0, narrow: 1.0}, "t", str)
    assert "deep" not in both
    height = re.search(r'viewBox="0 0 \S+ (\S+)"', flame_svg({wide: 1.0}, "t", str))
    assert height is not None
    assert f'{height[1]}" role' in both


def test_programs_that_are_not_recorded_are_told_and_not_drawn(trace: ma.Trace) -> None:
    mine = {("memsc", "application", "between", "main"): 30, ("memsc", "other", "between", "k"): 10}
    others = {("memsc", "other", "between", "[no stack]"): 60}
    drawn = threads_svg(trace, "profile", mine | others)
    assert "not drawn: 60 %, of programs that are not recorded" in drawn
    assert "[no stack]" not in drawn
    # One that is recorded, and of which no stack is known, stays.
    mine["memsc", "application", "between", "[no stack]"] = 1
    assert "[no stack]" in threads_svg(trace, "profile", mine)
    assert "not drawn" not in threads_svg(trace, "profile", mine)
    places = re.findall(r"<title>memsc;(\w+): ", drawn)
    assert places == ["application", "other"]
    assert "[no stack]" in threads_svg(trace, "profile", others)


def test_names_are_shown_and_never_run(tmp_path: Path) -> None:
    case = '</title><script>alert("1")</script>;x y\n'
    trace = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=50, case=case))
    export(trace, "flamegraph", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<script" not in text
    assert html.escape('<script>alert("1")') in text
    export(trace, "folded", tmp_path / "a.folded")
    for line in (tmp_path / "a.folded").read_text().splitlines():
        assert re.fullmatch(r"[^ ;]+;[^ ;]+;getppid;\w+ \d+", line)


def test_a_spreadsheet_runs_no_name_as_a_formula(tmp_path: Path) -> None:
    case = '=HYPERLINK("x")\nnext, line'
    trace = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=50, case=case))
    for table in ("calls", "stages"):
        export(
            trace,
            "csv",
            tmp_path / "a.csv",
            Options(table=table),
        )
        with (tmp_path / "a.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["case"] for row in rows} == {f"'{printable(case)}"}
        (tmp_path / "a.csv").unlink()
    export(trace, "parquet", tmp_path / "a.parquet", Options(table="calls"))
    assert set(ma.open(trace.folder.path).stages.df_stages()["case"]) == {printable(case)}


def speedscope(path: Path, tmp_path: Path) -> dict[str, str]:
    """Speedscope's own importer on a file: the total of each frame of the profile it shows."""
    page = READERS / "speedscope" / "dist" / "release" / "index.html"
    if not page.exists():
        pytest.skip("make test installs speedscope")
    script = tmp_path / "profile.js"
    content = base64.b64encode(path.read_bytes()).decode()
    script.write_text(f"speedscope.loadFileFromBase64({path.name!r}, {content!r})")
    shown = browser.dom(f"{page.as_uri()}#view=sandwich&localProfilePath={script}")
    rows = re.findall(r"<tr[^>]*>\s*<td[^>]*>([^<]+?) \([^)]*\)<.*?>([^<>]+)</td></tr>", shown)
    return {name: total.replace(",", "") for total, name in rows}


def nanoseconds(text: str) -> float:
    """A time as speedscope shows it."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * {"ns": 1, "µs": 1e3, "ms": 1e6}[unit]


@browser.needed
@pytest.mark.parametrize("kind", ["folded", "speedscope", "chrome"])
def test_speedscope_reads_what_is_written_for_it(
    trace: ma.Trace, tmp_path: Path, kind: str
) -> None:
    calls = trace.folder.read("calls").to_pandas()
    spent = (calls["completed"] - calls["called"]).groupby(calls["arm"]).sum() * 0.5
    export(trace, kind, tmp_path / "a.txt")
    totals = speedscope(tmp_path / "a.txt", tmp_path)
    stages = {"post", "poll", "execute", "complete"}
    if kind == "folded":
        assert set(totals) == {*trace.arms, *stages, "sync", "getppid"}
        assert int(totals["ipi"]) == pytest.approx(spent["ipi"], abs=4)
        assert int(totals["getppid"]) == pytest.approx(spent.sum(), abs=12)
    elif kind == "chrome":  # a profile per track, of which it shows one
        seen = {name: nanoseconds(total) for name, total in totals.items()}
        assert set(seen) == {*stages, "getppid"}  # one frame of a name, whatever it returned
        assert sum(seen[stage] for stage in stages) == pytest.approx(seen["getppid"], rel=1e-3)
    else:  # a profile per arm, of which it shows the first
        assert set(totals) == {*stages, "sync", "getppid"}
        assert totals["getppid"] == f"{spent['direct'] / 1000:.2f}µs"
