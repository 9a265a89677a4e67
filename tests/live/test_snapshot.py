# SPDX-License-Identifier: MIT
"""`memsc trace --snapshot`: what is kept, what is counted, and what is said of it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.command import memsc, start
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import wait_until

from memsc.runtime.errors import MemscError
from memsc.tracer.format import Clock, RoundKey, Snapshot, TraceFolder, open_trace
from memsc.tracer.session.snapshot import HELD_NS, Filter, parse

MS = 1_000_000

NAPS = """
#include <stdlib.h>
#include <unistd.h>
int main(int n, char **arguments)
{
    for (int i = atoi(arguments[1]); i; i--) {
        for (int k = atoi(arguments[2]); k; k--)
            (void)getppid();
        usleep(5000);
    }
    return n - 3;
}
"""


@pytest.fixture(scope="module")
def naps(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("naps")
    (folder / "naps.c").write_text(NAPS)
    subprocess.run(["gcc", "-O1", "-o", folder / "naps", folder / "naps.c"], check=True)
    return str(folder / "naps")


def check(found: TraceFolder, threshold_ns: int, naps: int, made: int) -> None:
    """The slow calls are there, all with what is near them, and no others; all are counted."""
    (done,) = found.session.rounds
    assert done.made is not None and done.made >= made
    assert done.calls == done.made and done.lost == 0
    assert found.rows("calls") == done.kept
    frame = found.read("calls").to_pandas()
    clock = found.session.clock
    called, completed = (clock.ns(frame[name].to_numpy()) for name in ("called", "completed"))
    total = (frame["completed"] - frame["called"]) * clock.ns_per_cycle
    # The clock's fit is finer at the end than it was when the call was looked at.
    over = (total > threshold_ns).to_numpy()
    assert np.count_nonzero(over) == done.over
    assert np.count_nonzero(over & (frame["syscall"] == "clock_nanosleep")) == naps
    near = np.zeros(len(frame), np.bool_)
    for start_ns, end_ns in zip(called[over], completed[over], strict=True):
        near |= (completed >= start_ns - 1.01 * MS) & (called <= end_ns + 1.01 * MS)
    assert near.all()


@two_cpus
@layered
def test_slow_calls_are_kept_and_all_are_counted(tmp_path: Path, naps: str) -> None:
    folder = tmp_path / "a.memsc"
    options = ["--probes", "none", "--snapshot", "total>4ms"]
    done = memsc("trace", "-o", str(folder), *options, "--", naps, "13", "99991")
    assert done.returncode == 0, done.stderr
    found = open_trace(folder)
    check(found, 4 * MS, 13, 13 * 99991 + 13)
    (arm,) = found.session.arms.values()
    assert arm.over and arm.kept and arm.calls and arm.over < arm.kept < arm.calls

    report = memsc("report", str(folder))
    assert report.returncode == 4
    words = " ".join(report.stdout.split())
    assert f"{arm.over} of {arm.calls} calls are over" in words and "p99" not in words
    summary: Any = json.loads(memsc("report", "--json", str(folder)).stdout)
    total = summary["arms"]["memsc"]["stages"]["total"]
    assert total["p50_ns"] is None and "total>4ms" in total["p50_reason"]
    assert total["mean_ns"] is None and summary["worst"]
    page = tmp_path / "a.html"
    assert memsc("report", "--html", str(page), str(folder)).returncode == 4
    assert "calls are over" in page.read_text()
    for command in (
        ["compare", str(folder), str(folder)],
        ["export", str(folder), "--format", "hgrm", "-o", str(tmp_path / "a.hgrm")],
    ):
        refused = memsc(*command)
        assert refused.returncode == 1 and "without --snapshot" in refused.stderr


@two_cpus
@layered
def test_it_stops_after_as_many_as_were_asked_for(tmp_path: Path, naps: str) -> None:
    folder, count = tmp_path / "a.memsc", 3
    options = ["--probes", "none", "--snapshot", "execute>4ms", "--snapshot-count", str(count)]
    done = memsc("trace", "-o", str(folder), *options, "--", naps, "1000000", "11")
    assert done.returncode == 0, done.stderr
    (only,) = open_trace(folder).session.rounds
    assert only.stopped == "snapshot"
    assert only.over is not None and only.over >= count
    assert only.kept is not None and only.kept >= count


@pytest.mark.bpf
@two_cpus
@layered
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_what_was_kept_is_there_however_it_ends(tmp_path: Path, naps: str, how: str) -> None:
    folder = tmp_path / "a.memsc"
    options = ["--probes", "sched", "--snapshot", "total>4ms"]
    process = start("trace", "-o", str(folder), *options, "--", naps, "1000000", "9973")
    wait_until(lambda: any((folder / "calls").glob("part-*.parquet")), "a part is written")
    process.send_signal(signal.Signals[how])
    process.communicate(timeout=60)
    found = open_trace(folder)
    assert found.session.snapshot == Snapshot("total>4ms", "total", 4 * MS, MS)
    assert found.rows("calls") > 0
    status = found.session.probes["sched"]
    if how == "SIGINT":
        assert process.returncode == 130
        assert 0 < found.rows("events/sched") < (status.seen or 0)
    assert memsc("report", str(folder)).returncode == 4


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("total", "STAGE>TIME"),
        ("total>5", "STAGE>TIME"),
        ("total<5us", "STAGE>TIME"),
        ("total>-5us", "STAGE>TIME"),
        ("sum>5us", "no stage sum"),
        ("", "STAGE>TIME"),
    ],
)
def test_a_wrong_expression_is_refused(expression: str, says: str) -> None:
    with pytest.raises(MemscError, match=says):
        parse(expression)


def test_expressions() -> None:
    assert parse("total>50us") == Snapshot("total>50us", "total", 50_000, MS)
    assert parse(" poll > 1.5ms ", "20us", 7) == Snapshot(
        "poll > 1.5ms", "poll", 1_500_000, 20_000, 7
    )
    for window in ("5", "2s", "-1ms"):
        with pytest.raises(MemscError, match="no time up to 1s"):
            parse("total>1us", window)
    with pytest.raises(MemscError, match="less than one"):
        parse("total>1us", None, 0)


class _Sink:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.called: list[int] = []

    def calls(self, _key: RoundKey, _pid: int, records: Any, _names: Any, _comm: str) -> None:
        self.called += records["called"].tolist()

    def events(self, _probe: str, events: Any, _names: Any, _units: Any) -> None:
        self.times += events["time"].tolist()

    def flush(self) -> None: ...


_CALL = np.dtype([(name, "u8") for name in ("called", "posted", "picked", "executed", "completed")])
_SPAN = st.tuples(st.integers(0, 4 * HELD_NS), st.integers(0, 100))


@given(st.lists(_SPAN, max_size=40), st.lists(st.integers(0, 4 * HELD_NS), max_size=40))
def test_batch_by_batch_keeps_what_one_look_at_all_would(
    calls: list[tuple[int, int]], events: list[int]
) -> None:
    window, threshold = 40 * MS, 50
    sink: Any = _Sink()
    clock = Clock("test", 1e9, 0, 0, 1.0)
    seen = Filter(sink, Snapshot("total>50ns", "total", threshold, window), lambda: clock)
    key = RoundKey("memsc", "program", 0)
    step = HELD_NS // 3
    for now in range(0, 5 * HELD_NS, step):
        mine = [c for c in calls if now - step <= sum(c) < now]
        records = np.zeros(len(mine), _CALL)
        for name in _CALL.names or ():
            records[name] = [start for start, _ in mine]
        records["completed"] = [sum(c) for c in mine]
        seen.calls(key, 1, records, {})
        times = np.array([(t,) for t in events if now - step <= t < now], [("time", "u8")])
        seen.events("sched", times, {})
        seen.settle(now)
    seen.settle()
    over = [(start, start + took) for start, took in calls if took > threshold]

    def near(start: int, end: int) -> bool:
        return any(end >= a - window and start <= b + window for a, b in over)

    assert seen.over == len(over)
    assert sorted(sink.times) == sorted(t for t in events if near(t, t))
    assert sorted(sink.called) == sorted(a for a, took in calls if near(a, a + took))
