# SPDX-License-Identifier: MIT
"""Calls, time and errors by system call, program, process and thread are those of the records."""

from __future__ import annotations

import csv
import errno
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from tests.helpers import traces

import memsc.analysis as ma
from memsc.analysis.domains import totals
from memsc.analysis.domains.totals import errno_name
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.commands.__main__ import main
from memsc.runtime.errors import USAGE, MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

NAMES = {0: "read", 1: "write", 232: "epoll_wait", 257: "openat", 9: "mmap"}
# By process: its command names, one after the other, and its threads.
PROCESSES = {7: (["sh", "grep"], [7]), 8: (["sh"], [8]), 9: (["nginx"], [9, 10, 11])}
RESULTS = np.array([0, 1, 4096, -errno.ENOENT, -errno.EAGAIN, -512, -4095, -4096, -(1 << 47)])
ARMS = ("direct", "memsc")


def recorded(folder: Path, calls: int = 1_500, rounds: int = 3) -> Path:
    """Calls of several processes, programs and threads, of all outcomes; round 2 is a check."""
    generator = np.random.default_rng(11)
    done: list[fmt.Round] = []
    clock = 2_000_000
    with TraceWriter(prepare_output(folder)) as writer:
        for number in range(rounds):
            for arm in ARMS:
                key, begin = fmt.RoundKey(arm, "program", number), clock
                made = 0
                for pid, (names, tids) in PROCESSES.items():
                    for comm in names:
                        stages = generator.integers(10, 5_000, (calls, 4))
                        numbers = generator.choice(list(NAMES), calls)
                        results = generator.choice(RESULTS, calls)
                        rows = traces.records(stages, start=clock, number=numbers, result=results)
                        rows["tid"] = generator.choice(tids, calls)
                        writer.calls(key, pid, rows, NAMES, comm)
                        clock, made = int(rows["completed"][-1]) + 1_000, made + calls
                ends = traces.CLOCK.ns(np.array([begin, clock]))
                done.append(
                    fmt.Round(
                        *key,
                        check=number == 2,
                        start_ns=int(ends[0]),
                        end_ns=int(ends[1]),
                        start_cycles=begin,
                        end_cycles=clock,
                        pids=[*PROCESSES],
                        exit_status=0,
                        calls=made,
                        lost=0,
                        made=made,
                        local=0,
                    )
                )
        writer.flush()
        every = rounds * calls * sum(len(names) for names, _ in PROCESSES.values())
        arms = {a: fmt.Arm(a, "inline", [1], [0], every, 0, every) for a in ARMS}
        writer.session(traces.session(done, arms))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("totals") / "a.memsc")


@pytest.fixture(scope="module")
def plain(folder: Path) -> pd.DataFrame:
    """The records themselves, but for those of check rounds."""
    found = fmt.open_trace(folder).read("calls").to_pandas()
    found = found[found["round"] != 2].astype(dict.fromkeys(("arm", "comm", "syscall"), object))
    failed = found["result"].between(-4095, -1)
    ns = traces.CLOCK.ns_per_cycle
    return found.assign(
        failed=failed,
        errno=(-found["result"]).where(failed, 0),
        ns=(found["completed"] - found["called"]) * ns,
        wait=found["syscall"] == "epoll_wait",
    )


@pytest.mark.parametrize("by", [(), "comm", "pid", "tid", ("comm", "pid"), ("comm", "pid", "tid")])
def test_sums_by_system_call_are_those_of_the_records(
    by: str | tuple[str, ...], folder: Path, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "_ROWS", 50)  # added up again and again
    found = ma.open(folder).totals.df_syscalls(by)
    keys = ["arm", *([by] if isinstance(by, str) else by), "syscall"]
    groups = plain.groupby(keys)
    assert len(found) == len(groups)
    whole = plain.groupby(["arm", "wait"])["ns"].sum()
    for row in found.to_dict("records"):
        mine = groups.get_group(tuple(row[key] for key in keys))
        wait = row["syscall"] == "epoll_wait"
        assert row["mode"] == ("wait" if wait else "sync")
        assert row["calls"] == len(mine)
        assert row["total_ns"] == pytest.approx(mine["ns"].sum())
        assert row["mean_ns"] == pytest.approx(mine["ns"].mean())
        assert row["share"] == pytest.approx(mine["ns"].sum() / whole[row["arm"], wait])
        names = Counter(errno_name(n) for n in mine["errno"] if n)
        assert row["errnos"] == dict(names)
        assert row["errors"] == names.total() == mine["failed"].sum()
        assert list(row["errnos"].values()) == sorted(row["errnos"].values(), reverse=True)
    for _, mine in found.groupby(["arm", found["mode"] == "wait"]):
        assert mine["total_ns"].is_monotonic_decreasing
    assert found["arm"].drop_duplicates().tolist() == list(ARMS)


@pytest.mark.parametrize("by", ["comm", "pid", "tid", ("comm", "pid")])
def test_sums_by_who_made_the_calls_are_those_of_the_records(
    by: str | tuple[str, ...], folder: Path, plain: pd.DataFrame
) -> None:
    found = ma.open(folder).totals.df_threads(by)
    keys = ["arm", *([by] if isinstance(by, str) else by)]
    groups = plain.groupby(keys)
    assert len(found) == len(groups)
    for row in found.to_dict("records"):
        mine = groups.get_group(tuple(row[key] for key in keys))
        assert row["calls"] == len(mine)
        assert (row["processes"], row["threads"]) == (mine["pid"].nunique(), mine["tid"].nunique())
        assert row["work_ns"] == pytest.approx(mine.loc[~mine["wait"], "ns"].sum())
        assert row["wait_ns"] == pytest.approx(mine.loc[mine["wait"], "ns"].sum())
        assert row["errors"] == mine["failed"].sum()


def test_errors_are_counted_by_their_names(folder: Path, plain: pd.DataFrame) -> None:
    found = ma.open(folder).where(arm="memsc").totals.df_errors("comm")
    failed = plain[plain["failed"] & (plain["arm"] == "memsc")]
    assert found["calls"].sum() == len(failed)
    assert set(found["errno"]) == {"ENOENT", "EAGAIN", "ERESTARTSYS", "errno 4095"}
    one = found.query("comm == 'grep' and syscall == 'read' and errno == 'ENOENT'")
    mine = failed.query("comm == 'grep' and syscall == 'read' and errno == 2")
    assert one["calls"].item() == len(mine)
    assert one["total_ns"].item() == pytest.approx(mine["ns"].sum())


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"comm": "sh"}, "comm == 'sh'"),
        ({"comm": ["sh", "nginx"]}, "comm in ['sh', 'nginx']"),
        ({"pid": 7}, "pid == 7"),
        ({"pid": [7, 9], "comm": "grep"}, "comm == 'grep'"),
        ({"tid": [9, 11]}, "tid in [9, 11]"),
        ({"pid": 7, "tid": 8}, "tid == -1"),
        ({"comm": "nobody"}, "tid == -1"),
    ],
)
def test_calls_are_chosen_by_who_made_them(
    chosen: dict[str, object], rows: str, folder: Path, plain: pd.DataFrame
) -> None:
    trace = ma.open(folder).where(arm="memsc", **chosen)  # type: ignore[arg-type]
    expected = plain.query(f"arm == 'memsc' and ({rows})")
    assert trace.totals.df_syscalls()["calls"].sum() == len(expected)
    stages = trace.stages.df_stages(intervals=False).query("stage == 'total' and syscall == 'all'")
    assert stages["n"].sum() == len(expected)
    assert trace.tail.df_worst(3)["pid"].isin(expected["pid"]).all()


def test_a_trace_of_before_does_not_know_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Path(__file__).parent / "recorded" / "again.memsc"
    trace = ma.open(old)
    assert not trace.totals.has_comm
    assert trace.totals.df_threads("comm")["comm"].tolist() == [None] * len(trace.arms)
    with pytest.raises(MemscError, match="no column comm"):
        trace.where(comm="sh").totals.df_syscalls()
    assert main(["report", str(old), "--comm", "sh"]) == USAGE
    assert "does not know the names of programs" in capsys.readouterr().err


def test_of_chosen_calls_nothing_is_added_up(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "a.memsc", calls=50)
    session = fmt.open_trace(folder).session
    kept = fmt.Snapshot("total>50us", "total", 50_000, 1_000)
    (folder / fmt.SESSION).write_bytes(replace(session, snapshot=kept).encode())
    trace = ma.open(folder)
    with pytest.raises(MemscError, match="record again without --snapshot"):
        trace.totals.df_syscalls()
    report = summarise(trace)
    assert report.totals is None
    assert "total>50us" in str(report.totals_reason)


def test_by_what_nobody_knows(folder: Path) -> None:
    with pytest.raises(MemscError, match="it is comm, pid, tid"):
        ma.open(folder).totals.df_syscalls("user")


def test_the_report_has_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = summarise(ma.open(folder))
    assert report.totals is not None
    assert {row.comm for row in report.totals.programs} == {"sh", "grep", "nginx"}
    assert {(row.comm, row.pid) for row in report.totals.processes} == {
        *(("sh", 7), ("grep", 7), ("sh", 8), ("nginx", 9))
    }
    assert {row.tid for row in report.totals.threads} == {7, 8, 9, 10, 11}
    text = to_string(report)
    assert max(map(len, text.splitlines())) <= 80
    calls = text.partition("\nSystem calls")[2].partition("\n\n")[0]
    assert "epoll_wait (wait)" in calls
    assert "ENOENT" in calls
    makers = text.partition("\nWho made the calls")[2].partition("\n\n")[0]
    assert makers.split().count("nginx") == len(ARMS)
    assert makers.split().count("sh") == len(ARMS)
    assert "×2" in makers  # of several rounds, programs
    once = to_string(summarise(ma.open(recorded(tmp_path / "once.memsc", rounds=1))))
    makers = once.partition("\nWho made the calls")[2].partition("\n\n")[0]
    assert makers.split().count("sh") == 2 * len(ARMS)
    assert "×" not in makers
    assert main(["report", str(folder), "--json", "--comm", "nginx", "--tid", "9"]) == 0
    chosen = json.loads(capsys.readouterr().out)
    assert chosen["selected"] == ["tid 9", "comm nginx"]
    assert {row["tid"] for row in chosen["totals"]["threads"]} == {9}
    assert chosen["timings"] == chosen["ratios"] == []
    assert chosen["ratios_reason"]


def test_the_page_says_of_which_calls_it_is(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--pid", "8", "--html", str(page)]) == 0
    content = page.read_text()
    assert "Only calls of pid 8." in content
    assert "<h2>System calls</h2>" in content
    assert "ERESTARTSYS" in content


def test_what_is_not_there_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--comm", "nobody"]) == USAGE
    assert "it has comm sh, grep, nginx" in capsys.readouterr().err
    assert main(["report", str(folder), str(folder), "--pid", "7"]) == USAGE
    assert "one trace at a time" in capsys.readouterr().err


def test_tables_are_of_the_chosen_calls(folder: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    def exported(table: str, *options: str) -> list[dict[str, str]]:
        words = ["export", str(folder), "--format", "csv", "--table", table, *options]
        assert main([*words, "-fo", str(tmp_path / "out.csv")]) == 0
        return list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))

    rows = exported("calls", "--comm", "grep")
    assert {row["comm"] for row in rows} == {"grep"}
    found = exported("syscalls", "--comm", "grep")
    assert sum(int(row["calls"]) for row in found) == (plain["comm"] == "grep").sum()
    assert any("ENOENT=" in row["errnos"] for row in found)
    assert {row["tid"] for row in exported("threads", "--pid", "9")} == {"9", "10", "11"}
    words = ["export", str(folder), "--format", "csv", "--table", "checks", "--pid", "7"]
    assert main([*words, "-fo", str(tmp_path / "out.csv")]) == 0  # as ever, of all calls
