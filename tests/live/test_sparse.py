# SPDX-License-Identifier: MIT
"""`memsc trace --record-every`: who is drawn, what is counted, and what is said of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.helpers.command import memsc, start
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import wait_until

import memsc.analysis as ma
from memsc.tracer.format import open_trace

pytestmark = [layered, two_cpus]

EVERY = 8
CALLS = 40_000
PROGRAM = """
#include <stdlib.h>
#include <unistd.h>
int main(int n, char **arguments)
{
    for (int i = atoi(arguments[1]); i; i--)
        (void)(i % 2 ? getppid() : close(-1));
    if (n > 2)
        pause();
    return 0;
}
"""
# What is drawn of 40,000 has a deviation of 66; each test allows six of them.
LEAST, MOST = CALLS // EVERY - 400, CALLS // EVERY + 400


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sparse")
    (folder / "calls.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O1", "-o", folder / "calls", folder / "calls.c"], check=True)
    return str(folder / "calls")


@pytest.fixture(scope="module")
def sparse(program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse") / "a.memsc"
    options = ("--record-every", str(EVERY), "--transport", "direct,memsc", "--probes", "none")
    done = memsc("trace", "-o", str(folder), *options, "--", program, str(CALLS))
    assert done.returncode == 0, done.stderr
    return folder


def test_one_of_so_many_is_recorded_and_all_are_counted(sparse: Path) -> None:
    session = open_trace(sparse).session
    assert session.record_every == EVERY
    for done in session.rounds:
        assert done.calls is not None and done.skipped is not None and done.made is not None
        assert done.calls + done.skipped == done.made >= CALLS
        assert LEAST < done.calls < MOST + (done.made - CALLS)
        assert (done.lost, done.unfinished) == (0, 0)


def test_every_check_holds_and_no_verdict_is_withheld(sparse: Path) -> None:
    checks = ma.open(sparse).checks
    assert checks.withheld() == []
    found = {(check.arm, check.name): check.held for check in checks.all()}
    assert found["memsc", "counted"] and found["direct", "counted"]


def test_a_rhythm_of_the_program_is_none_of_what_is_drawn(sparse: Path) -> None:
    """Every other call is a close: a fixed step of 8 would draw one of both kinds alone."""
    rows = ma.open(sparse).where(arm="memsc").totals.df_syscalls().to_dict("records")
    found = {row["syscall"]: row for row in rows}
    for name in ("getppid", "close"):
        # Estimates of all: 2,500 recorded, each for eight.
        assert abs(found[name]["calls"] - CALLS / 2) < 0.12 * CALLS / 2
    assert found["close"]["errnos"] == {"EBADF": found["close"]["calls"]}


def test_the_report_says_that_not_all_was_recorded(sparse: Path) -> None:
    text = memsc("report", str(sparse)).stdout
    assert f"one of {EVERY} at random, 0 lost" in text
    assert "share of work, and of waits · estimated" in text
    assert "verdict withheld" not in text
    found: dict[str, Any] = json.loads(memsc("report", "--json", str(sparse)).stdout)
    assert found["record_every"] == EVERY
    assert found["arms"]["memsc"]["skipped"] > CALLS - MOST
    page = sparse.parent / "a.html"
    assert memsc("report", "--html", str(page), str(sparse)).returncode == 0
    assert page.read_text().count(f"Estimated from one of {EVERY} calls.") >= 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--snapshot", "total>1us"), "most of them would not be recorded"),
        (("--probes", "paths"), "they go with every call"),
        (("--probes", "noise,stages,counters"), "--probes stages,counters"),
        (("--record-every", "0"), "no number of calls above 0"),
    ],
)
def test_what_needs_every_call_is_refused(tmp_path: Path, more: tuple[str, ...], says: str) -> None:
    command = ("trace", "-o", str(tmp_path / "a.memsc"), "--record-every", "4", *more, "--", "true")
    done = memsc(*command)
    assert done.returncode == 2 and says in done.stderr
    assert not (tmp_path / "a.memsc").exists()


def test_a_killed_session_has_counted_all(program: str, tmp_path: Path) -> None:
    folder = tmp_path / "a.memsc"
    options = ("--record-every", str(EVERY), "--probes", "none")
    session = start("trace", "-o", str(folder), *options, "--", program, str(CALLS), "stay")
    try:
        kept = lambda: folder.exists() and open_trace(folder).rows("calls") > LEAST  # noqa: E731
        wait_until(kept, "recorded calls in the trace")
    finally:
        os.kill(session.pid, signal.SIGKILL)
        session.communicate()
    memsc("clean")
    (done,) = open_trace(folder).session.rounds
    assert done.stopped == "killed" and done.lost == 0
    found = msgspec.structs.asdict(done)
    assert found["calls"] + found["skipped"] + found["unfinished"] == found["made"] >= CALLS
