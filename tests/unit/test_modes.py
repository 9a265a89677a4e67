# SPDX-License-Identifier: MIT
"""Calls that are there to wait stand apart from work, in every figure."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers import traces

import memsc.analysis as ma
from memsc.analysis.data.modes import WAIT, WAITS
from memsc.analysis.data.scan import ALL
from memsc.analysis.report.flames import stacks_of
from memsc.analysis.report.summary import arms_of, summarise
from memsc.analysis.report.text import to_string
from memsc.runtime.errors import MemscError
from memsc.runtime.library import syscall_name, syscall_number
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.writer import TraceWriter

ROOT = Path(__file__).resolve().parents[2]
TABLES = [ROOT / "runtime" / "src" / "table.c", *ROOT.glob("runtime/arch/*/own_calls.h")]
KEY = fmt.RoundKey("memsc", "program", 0)
NAMES = {0: "read", 1: "write", **{100 + i: name for i, name in enumerate(WAITS)}}
WORK, LONG = 3_000, 10_000_000_000  # calls; cycles

# What the runtime's table says may wait for others, and is work all the same, and why.
WORK_THAT_MAY_WAIT = {
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg"), "takes data, as read does"),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), "gives data, as write does"),
    **dict.fromkeys(("splice", "tee", "vmsplice"), "moves data"),
    **dict.fromkeys(("msgsnd", "mq_timedsend"), "gives data"),
    "connect": "opens a connection",
    "flock": "takes a lock, which is mostly free",
    "io_uring_enter": "submits, too",
}


def test_the_runtimes_table_and_this_one_agree() -> None:
    """Whatever may wait for others, as the runtime has it, is decided here one way or the other."""
    text = "".join(path.read_text() for path in TABLES)
    found = set(re.findall(r"\bPOOL(?:_BY)?\((?!name)(\w+)", text))
    found |= set(re.findall(r"\b(?:UNLESS|DEPENDS|KNOWS|BOTH_OF)\((\w+), MEMSC_POOL", text))
    found |= set(re.findall(r"\bLOCAL\((\w+), FUTEX\)", text))
    found.discard("name")
    assert {"epoll_pwait", "accept4", "wait4", "futex", "poll"} <= found
    assert found - set(WAITS) == found & set(WORK_THAT_MAY_WAIT)
    assert not set(WAITS) & set(WORK_THAT_MAY_WAIT)


def exists(name: str) -> bool:
    try:
        return syscall_name(syscall_number(name)) == name
    except (MemscError, OSError, ValueError, KeyError):
        return False


def recorded(tmp_path: Path, flags: int = 0) -> ma.Trace:
    """Thousands of reads of 1 µs, one of which took longer, and three long calls of each wait."""
    numbers: NDArray[np.int64] = np.zeros(WORK + 3 * len(WAITS), np.int64)
    stages = np.full((len(numbers), 4), 500)
    at = np.arange(3 * len(WAITS)) * (WORK // (3 * len(WAITS)) + 1)
    numbers[at] = 100 + np.arange(len(at)) % len(WAITS)
    stages[at, 2] = LONG
    slowest = int(np.flatnonzero(numbers == 0)[-7])
    stages[slowest, 2] = 9_000
    rows = traces.records(stages, number=numbers)
    rows["flags"][at] = flags
    span = traces.CLOCK.ns(np.array([rows["called"][0], rows["completed"][-1]]).astype(np.int64))
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.calls(KEY, 101, rows, NAMES)
        writer.flush()
        calls = len(rows)
        done = fmt.Round(
            *KEY, start_ns=int(span[0]), end_ns=int(span[1]), pids=[101], exit_status=0,
            calls=calls, lost=0, made=calls, local=0,
        )  # fmt: skip
        arms = {"memsc": fmt.Arm("memsc", "inline", [1], [0], calls, 0, calls)}
        writer.session(traces.session([done], arms))
    return ma.open(folder)


@pytest.mark.parametrize("flags", [0, fmt.FLAGS["async"], fmt.FLAGS["pooled"]])
def test_what_waits_is_in_no_figure_of_work(flags: int, tmp_path: Path) -> None:
    trace = recorded(tmp_path, flags)
    frame = trace.stages.df_stages(intervals=False).query("stage == 'total'")
    whole = frame[frame["syscall"] == ALL].set_index("mode")
    assert whole["n"].to_dict() == {"sync": WORK, WAIT: 3 * len(WAITS)}
    assert whole.loc["sync", "max_ns"] == 10_500 / 2
    apart = frame[(frame["mode"] == WAIT) & (frame["syscall"] != ALL)]
    assert apart.set_index("syscall")["n"].to_dict() == dict.fromkeys(WAITS, 3)
    worst = trace.tail.df_worst(3)
    assert set(worst["syscall"]) == {"read"}
    assert worst["total_ns"].iloc[0] == 10_500 / 2
    assert not set(trace.tail.df_calls()["syscall"]) & set(WAITS)
    report = summarise(trace)
    assert {name: case.mode for name, case in report.arms["memsc"].cases.items()} == {
        "program": "sync",
        "program (wait)": WAIT,
    }
    assert report.arms["memsc"].case == "program"
    assert {call.syscall for call in report.worst} == {"read"}
    assert ma.compare(trace, trace).df_compare(syscalls=True)["syscall"].isin(WAITS).sum() == 0
    text = to_string(report)
    assert "Where the time goes: program (wait)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_calls_that_only_wait_are_shown_all_the_same(tmp_path: Path) -> None:
    only = recorded(tmp_path).where(syscall="epoll_wait")
    assert [cell.mode for cell in only.stages.of_case(None)] == [WAIT]
    assert only.tail.df_worst().empty
    (arm,) = arms_of(only).values()
    assert arm.case == "program (wait)"
    assert list(arm.cases["program (wait)"].syscalls) == ["epoll_wait"]
    assert {stack[2] for stack in stacks_of(only)} == {"epoll_wait"}


def test_a_read_that_found_nothing_is_no_slowest_call(tmp_path: Path) -> None:
    """Where the runtime has looked whether anything was there: the number does not tell."""
    stages = np.full((500, 4), 100)
    stages[[3, 5, 7], 2] = 90_000, 80_000, 70_000
    rows = traces.records(stages, number=np.where(np.arange(500) == 7, 1, 0))
    rows["flags"][[3, 7]] = fmt.FLAGS["pooled"]  # the write waited in nobody's stead
    folder = prepare_output(tmp_path / "a.memsc")
    with TraceWriter(folder) as writer:
        writer.calls(KEY, 101, rows, traces.NAMES)
        writer.session(traces.session([], {"memsc": fmt.Arm("memsc", "inline", [1], [0])}))
    worst = ma.open(folder).tail.df_worst(2)
    assert worst[["syscall", "execute_ns"]].values.tolist() == [["read", 40_000], ["write", 35_000]]


def test_each_waits_for_something_and_is_a_system_call() -> None:
    assert all(WAITS.values())
    known = {name for name in WAITS if exists(name)}
    assert {"epoll_pwait", "ppoll", "pselect6", "accept4", "wait4", "futex"} <= known
