# SPDX-License-Identifier: MIT
"""The page of a benchmark's results: what stands in it, and what does not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.traces import fabricate

from memsc.analysis import open as open_analysis
from memsc.bench.verdict import thesis
from memsc.bench.verdict.benchmark import benchmark
from memsc.bench.verdict.results import ARMS, markdown
from memsc.bench.verdict.results_figures import write_results
from memsc.runtime.errors import MemscError

ROOT = Path(__file__).resolve().parents[2]
NS = {"direct": 100.0, "ipi": 40_000.0, "memsc-scanner": 4_000.0, "memsc": 200.0}


def row(suite: str, case: str, arm: str, metric: str, value: float | None) -> dict[str, Any]:
    bounds = {"low": value and 0.9 * value, "high": value and 1.1 * value, "n": 10}
    return {"suite": suite, "case": case, "arm": arm, "metric": metric, "value": value, **bounds}


@pytest.fixture
def bench(tmp_path: Path) -> dict[str, Any]:
    """A small benchmark of memsc's own, with rows of suites that it did not run."""
    found = benchmark(open_analysis(fabricate(tmp_path / "t.memsc")))
    for arm, ns in NS.items():
        rows = [row("sync", "sync", arm, f"total_{n}_ns", n * ns) for n in thesis.CALLS]
        rows += [row("sync", "sync", arm, metric, ns) for metric in ("mean_ns", "p50_ns")]
        for size in thesis.BATCHES:
            rows.append(row("batch", f"batch-{size}", arm, "mean_ns", ns / size))
        rows.append(row("throughput", "closed-2x1-batch-64", arm, "per_s", 1e9 / ns))
        late = None if arm == "ipi" else ns
        open_row = row("throughput", "open-1x1-100000", arm, "p50_ns", late)
        rows.append(open_row | ({} if late else {"reason": "fell behind in 1 rounds"}))
        rows.append(row("files", "dd-200", arm, "seconds", ns / 1000))
        rows.append(row("files", "dbench", arm, "mb_per_s", 1e5 / ns))
        rows += [row("peers", "peers-null", arm, metric, ns) for metric in ("mean_ns", "p50_ns")]
        found["rows"] += rows
    return found


def cells(page: str, first: str) -> list[str]:
    """The cells of the table row that begins so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_thesis_and_ours_stand_side_by_side(bench: dict[str, Any]) -> None:
    page = markdown(bench, "results")
    assert cells(page, "100,000") == [
        *("100,000", "25,618", "2,705,248", "1,163,886", "2.32"),
        *("10,000 ±10 %", "4,000,000 ±10 %", "400,000 ±10 %", "20,000 ±10 %"),
        *("10 ±15 %", "200 ±15 %"),
    ]
    assert cells(page, "64") == [
        *("64", "77", "35.1", "1.6 ±10 %", "625 ±10 %", "62 ±10 %", "3.1 ±10 %"),
        *("12,800 ±15 %", "2 ±15 %"),
    ]
    assert cells(page, "2 × 1, batches of 64")[1:3] == ["–", "2,205,457"]
    assert cells(page, "100,000 by 1 × 1")[2] == "✗"
    assert cells(page, "200")[1:4] == ["27.88", "15.81", "1.76"]
    assert cells(page, "200")[-2:] == ["10 ±15 %", "200 ±15 %"]
    assert cells(page, "dbench, MB/s")[-1] == "200 ±15 %"


def test_it_says_where_direct_wins_and_what_a_virtual_machine_inflates(
    bench: dict[str, Any],
) -> None:
    page = markdown(bench, "results")
    assert "made one by one**: 2 times faster than `memsc`" in page
    assert "What this virtual machine inflates" in page
    bench["environment"]["virtual"] = False
    assert "inflates" not in markdown(bench, "results")


def test_it_says_where_each_system_call_changes_page_tables(bench: dict[str, Any]) -> None:
    bench["environment"]["mitigations"] = {"meltdown": "Mitigation: PTI"}
    page = markdown(bench, "results")
    assert "meltdown: Mitigation: PTI" in page
    assert "What this processor's mitigations cost" in page
    bench["environment"]["mitigations"] = {"meltdown": "Not affected"}
    assert "mitigations cost" not in markdown(bench, "results")


def test_what_was_not_measured_has_no_section(tmp_path: Path) -> None:
    found = benchmark(open_analysis(fabricate(tmp_path / "t.memsc")))
    page = markdown(found, "results")
    sections = re.findall(r"^## (.*)", page, re.M)
    assert sections == ["Targets", "One call after the other", "The limit"]
    assert "None" not in page
    assert "nan" not in page


def test_figures_lie_beside_the_page_and_never_vary(bench: dict[str, Any], tmp_path: Path) -> None:
    files = write_results(bench, tmp_path / "results.md")
    page = files[0].read_text()
    linked = re.findall(r"\]\(([^)]*\.svg)\)", page)
    assert sorted(linked) == sorted(file.name for file in files[1:])
    before = [file.read_bytes() for file in files]
    write_results(bench, tmp_path / "results.md")
    assert [file.read_bytes() for file in files] == before
    for arm in ARMS:
        assert arm in (tmp_path / "results-sync.svg").read_text()


def test_what_is_kept_by_hand_stays_when_the_page_is_made_anew(
    bench: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "results.md"
    write_results(bench, page)
    made = page.read_text()
    by_hand = "<!-- kept -->\n## Verdicts\n\n3 of 40\n<!-- /kept -->\n"
    page.write_text(f"old\n\n{by_hand}old, too\n")
    for _ in range(2):
        write_results(bench, page)
        assert page.read_text() == f"{made}\n{by_hand}"
    for broken in ("<!-- kept -->\nit\n", "it\n<!-- /kept -->\n"):
        page.write_text(broken)
        with pytest.raises(MemscError, match="put that mark back"):
            write_results(bench, page)
        assert page.read_text() == broken


def test_results_are_markdown(bench: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(MemscError, match="Markdown"):
        write_results(bench, tmp_path / "results.html")


DEMO = """demo · 2026-11-24T14:54
  some machine

Can it be believed?
  ✓ 12 calls recorded

Where the time goes: sync  ns
memsc  12

Where the time goes: batch  ns
memsc  7

Against each other  synchronous calls
ipi ÷ memsc  163

What recording costs  ns per call
memsc  sync  72
"""
MARKS = "".join(
    f"before\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n" for name in ("demo", "results")
)


def test_the_readme_takes_what_it_shows_from_them(bench: dict[str, Any], tmp_path: Path) -> None:
    results, demo, readme = (tmp_path / name for name in ("results.md", "demo.txt", "README.md"))
    write_results(bench, results)
    demo.write_text(DEMO)
    tool = [str(ROOT / "tools/readme-results"), *map(str, (results, demo, readme))]
    readme.write_text(MARKS)
    subprocess.run(tool, check=True)
    said = readme.read_text()
    assert "printed on 2026-11-24, on a quiet" in said
    assert "\n```text\ndemo · 2026-11-24T14:54\n" in said
    assert "Where the time goes: sync" in said
    assert "batch" not in said.partition("<!-- /demo -->")[0]
    assert "memsc  sync  72\n```\n<!-- /demo -->\nafter\n" in said
    assert said.endswith("|\n<!-- /results -->\nafter\n")
    assert "| target | value | low–high | bound |" in said
    assert "old" not in said
    subprocess.run(tool, check=True)
    assert readme.read_text() == said


@pytest.mark.parametrize("wrong", ["no mark", "no demo"])
def test_a_readme_is_left_alone_where_something_is_missing(
    bench: dict[str, Any], tmp_path: Path, wrong: str
) -> None:
    results, demo, readme = (tmp_path / name for name in ("results.md", "demo.txt", "README.md"))
    write_results(bench, results)
    demo.write_text(DEMO if wrong == "no mark" else "something else\n")
    before = MARKS.replace("<!-- demo -->", "") if wrong == "no mark" else MARKS
    readme.write_text(before)
    tool = [str(ROOT / "tools/readme-results"), *map(str, (results, demo, readme))]
    done = subprocess.run(tool, check=False, capture_output=True, text=True)
    assert (done.returncode, readme.read_text()) == (1, before)
    assert done.stderr.count("\n") == 1


def test_the_limits_are_rows_of_the_machine(bench: dict[str, Any], tmp_path: Path) -> None:
    bench["rows"] += [
        row("limit", name, "machine", "p50_ns", 60.0) for name in ("line-0-1", "stamp")
    ]
    page = write_results(bench, tmp_path / "results.md")[0].read_text()
    assert cells(page, "reading the clock") == ["reading the clock", "60 ±10 %"]
    assert "results-pairs.svg" in page


def test_what_tracers_cost_beside_time_is_told(bench: dict[str, Any]) -> None:
    told = {
        "p50_ns": 400.0,
        "slowdown_p50": 1.0,
        "slowdown_p99": 0.5,
        "bytes_per_call": 31,
    }
    bench["rows"] += [
        row("tracing", "tracing", "memsc", "p50_ns", 200.0),
        *(row("tracing", "tracing", "lttng", metric, value) for metric, value in told.items()),
        # Counted, not sampled.
        {**row("tracing", "tracing", "lttng", "lost", 3), "low": None, "high": None},
        row("tracing", "tracing", "lttng", "cpu_ns_per_call", None),
    ]
    assert cells(markdown(bench, "results"), "lttng") == [
        *("lttng", "400 ±10 %", "+200 ±22 %", "+100 % (+90 to +110)", "+50 % (+45 to +55)"),
        *("3", "–", "31 ±10 %"),
    ]


def test_a_target_says_where_another_run_may_decide_otherwise(bench: dict[str, Any]) -> None:
    target = {"value": 1.0, "bound": "<= 1.08", "held": True, "reason": None, "run": True}
    bench["targets"] = [
        {**target, "name": "sure", "low": 0.9, "high": 1.05, "settled": True},
        {**target, "name": "unsure", "low": 0.9, "high": 1.1, "settled": False},
        {**target, "name": "counted", "low": None, "high": None, "settled": None},
    ]
    page = markdown(bench, "results")
    assert cells(page, "sure") == ["sure", "1", "0.9–1.05", "≤ 1.08", "✓ held"]
    assert cells(page, "unsure") == ["unsure", "1", "0.9–1.1", "≤ 1.08", "✓ held, not settled"]
    assert cells(page, "counted") == ["counted", "1", "–", "≤ 1.08", "✓ held"]
