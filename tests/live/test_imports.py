# SPDX-License-Identifier: MIT
"""What starts or records a program imports nothing that only its reports need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import traces
from tests.helpers.required import two_cpus

from memsc.runtime.files import LAYER

TELLS = """
import atexit, sys
from memsc.commands.__main__ import main

file, *command = sys.argv[1:]

def tell(*_):
    open(file, "w").write(" ".join(sys.modules))

# Of a command that becomes the program, just before it does.
sys.addaudithook(lambda event, _: tell() if event == "os.exec" else None)
atexit.register(tell)
sys.exit(main(command))
"""
REPORTS = {"pandas", "matplotlib", "scipy", "rich", "jinja2", "memsc.analysis", "memsc.bench"}
RECORDS = {"pyarrow", "msgspec", "memsc.tracer.session.session"}
layer = pytest.mark.skipif(not LAYER.exists(), reason="needs the layer")


def imported(tmp_path: Path, *command: str) -> set[str]:
    """Modules that a command of memsc has imported when it is over."""
    file = tmp_path / "modules"
    subprocess.run(
        [sys.executable, "-c", TELLS, file, *command], check=True, capture_output=True, timeout=120
    )
    return set(file.read_text().split())


@two_cpus
@layer
@pytest.mark.parametrize("options", [[], ["--stats"], ["--transport", "direct"]], ids=" ".join)
def test_run_imports_neither_what_reports_nor_what_records(
    tmp_path: Path, options: list[str]
) -> None:
    found = imported(tmp_path, "run", *options, "true")
    assert "memsc.commands.run" in found
    assert found & (REPORTS | RECORDS) == set()


@two_cpus
@layer
@pytest.mark.parametrize(
    "probes",
    ["none", pytest.param("stages,sched,ipi,paths,counters", marks=pytest.mark.bpf)],
)
def test_a_session_imports_nothing_that_reports(tmp_path: Path, probes: str) -> None:
    output = str(tmp_path / "t.memsc")
    options = ("--probes", probes, "--rounds", "2", "--snapshot", "total>1us")
    found = imported(tmp_path, "trace", *options, "-o", output, "--", "ls", "/")
    assert found >= RECORDS
    assert found & REPORTS == set()


def test_a_report_does(tmp_path: Path) -> None:
    traces.fabricate(tmp_path / "t.memsc", rounds=1, calls=50)
    found = imported(tmp_path, "report", str(tmp_path / "t.memsc"))
    assert found >= {"pandas", "rich", "memsc.analysis"}


def test_doctor_says_what_a_machine_can_without_what_reads_traces(tmp_path: Path) -> None:
    found = imported(tmp_path, "doctor")
    assert "memsc.tracer.doctor.features" in found
    assert found & (REPORTS - {"rich"} | {"numpy", "pyarrow"}) == set()
