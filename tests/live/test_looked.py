# SPDX-License-Identifier: MIT
"""After a program has looked at its own threads calls are direct: which, and who says so.

Python does so from 3.12 on, at every fork.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus

from memsc.tracer.format import CALLS, open_trace

pytestmark = [layered, two_cpus]

LOOKED = "program has looked at its own threads"
PAUSE = 32  # calls
PROGRAMS = {
    "goes on": ("look()\ncalls(100)\n", 200, 1),
    "ends": ("look()\n", 100, 1),
    "in turns": ("for turn in range(5): look(); calls(50)\n", 350, 5),
    "forks": ("look()\nif not os.fork(): calls(60); os._exit(0)\nos.wait()\n", 160, 1),
}
"""What it does after 100 calls; how many it makes, and how often it looks."""
CODE = """
import os
def look():
    with open("/proc/self/stat", "rb", buffering=0) as file: file.read()
def calls(count):
    while count: count -= 1; os.getppid()
calls(100)
"""
ARMS = ("direct", "ipi", "memsc", "memsc --service scanner")


@pytest.mark.parametrize("what", PROGRAMS)
@pytest.mark.parametrize("arm", ARMS)
def test_what_it_does_not_record_it_says(what: str, arm: str, tmp_path: Path) -> None:
    code, made, looks = PROGRAMS[what]
    program = ("/usr/bin/python3", "-ISc", CODE + code)
    trace = tmp_path / "a.memsc"
    how = ("-o", str(trace), "--no-calibrate", "--probes", "none", "--transport", *arm.split())
    done = memsc("trace", *how, "--", *program)
    assert done.returncode == 0, done.stderr
    opened = open_trace(trace)
    calls = [name for b in opened.batches(CALLS, ["syscall"]) for name in b["syscall"].to_pylist()]
    coverage = opened.session.rounds[0].coverage
    assert coverage is not None
    missed = dict(coverage.missed)
    if arm == "direct":  # memsc has no threads there that were to be hidden
        assert (missed, calls.count("getppid")) == ({}, made)
        return
    few = made - calls.count("getppid")
    assert missed.keys() == {LOOKED}
    assert few <= missed[LOOKED] <= PAUSE * looks
    # Of the one that ends nothing but its end is direct; a forked child has no threads.
    assert (few > 0) == (what in {"goes on", "in turns"})
