# SPDX-License-Identifier: MIT
"""memsc on a distribution's kernel with a CPU isolated at boot: it works, and counts exactly."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memsc import analysis as ma
from memsc.analysis.domains.checks import STAMP_CHECKS
from memsc.runtime.library import syscall_number

MEMSC = [sys.executable, "-m", "memsc.commands"]
ARMS = ("direct", "ipi", "memsc")
PRIME = 997
CALLS = f"import os\nfor _ in range({PRIME}): os.getppid()"


def memsc(*arguments: str, status: int = 0) -> str:
    """What a memsc command prints; its status must be as expected."""
    done = subprocess.run([*MEMSC, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def test_doctor_finds_what_this_kernel_has() -> None:
    """Kprobes and fentry, which the machine of development lacks, and the isolated CPU."""
    report = json.loads(memsc("doctor", "--json"))
    states = {feature["name"]: feature["state"] for feature in report["features"]}
    for name in ("BPF", "BCC", "kprobes", "fentry", "uprobes", "USDT", "isolation", "glibc"):
        assert states[name] == "ok", name
    assert states["hardware counters"] == "missing"


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of a program that makes a known number of calls, under every arm."""
    folder = tmp_path_factory.mktemp("stock") / "calls.memsc"
    command = ["/usr/bin/python3", "-I", "-S", "-c", CALLS]
    options = ["--transport", ",".join(ARMS), "--probes", "sched,ipi,syscalls"]
    memsc("trace", "-o", str(folder), *options, "--", *command)
    return folder


@pytest.fixture(scope="module")
def arms(trace: Path) -> dict[str, Any]:
    """What its report says of each arm."""
    found: dict[str, Any] = json.loads(memsc("report", "--json", str(trace)))["arms"]
    return found


@pytest.mark.parametrize("arm", ARMS)
def test_every_call_is_recorded_and_fits_into_its_round(
    trace: Path, arms: dict[str, Any], arm: str
) -> None:
    """Nothing lost, stamps in order, and none outside of the time measured around them."""
    assert arms[arm]["lost"] == 0
    assert all(arms[arm]["checks"][name]["held"] for name in STAMP_CHECKS)
    rows = ma.open(trace).where(arm=arm, syscall="getppid").stages.df_stages()
    assert set(rows["n"]) == {PRIME}


def test_the_probes_saw_the_system_calls_of_the_application(
    trace: Path, arms: dict[str, Any]
) -> None:
    """A direct call is one; under `ipi` the caller wakes the service and sleeps, if it must.

    It looks at the service's progress now and then: where a call takes long, it sleeps again.
    """
    own = {arm: arms[arm]["checks"]["app_syscalls_per_call"]["value"] for arm in ARMS}
    assert own["direct"] == pytest.approx(1, rel=0.1)
    folder = ma.open(trace).folder
    calls = folder.read("calls", ["arm", "round", "tid"]).to_pandas()
    (check,) = (r.round for r in folder.session.rounds if r.check and r.arm == "ipi")
    mine = calls[(calls["arm"] == "ipi") & (calls["round"] == check)]
    events = folder.read("events/syscalls", ["kind", "tid", "number", "result"]).to_pandas()
    looks = events[(events["kind"] == "exit") & (events["result"] == -errno.ETIMEDOUT)]
    looks = looks[(looks["number"] == syscall_number("futex")) & looks["tid"].isin(mine["tid"])]
    assert 1 < own["ipi"] - len(looks) / len(mine) < 2.2


def test_the_application_runs_on_the_isolated_cpu(tmp_path: Path) -> None:
    """CPU 1 is outside everybody's affinity, and yet the one to choose."""
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    assert memsc("run", "--", "/usr/bin/python3", "-c", code).strip() == "[1]"
    assert 1 not in os.sched_getaffinity(0)
