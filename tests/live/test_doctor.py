# SPDX-License-Identifier: MIT
"""`memsc doctor`: what it says, and what its exit status hangs on."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import dying
from tests.helpers.command import start
from tests.helpers.workload import wait_until

from memsc.commands.__main__ import main
from memsc.probes import declaration
from memsc.runtime import topology
from memsc.runtime.errors import MemscError
from memsc.tracer.doctor import features
from memsc.tracer.doctor.feature import AS_ROOT, Feature, State, attempt
from memsc.tracer.doctor.features import summarize, verdict
from memsc.tracer.helper.kernel import bpf
from memsc.tracer.session.observe import channel


def found(*lacks: str, state: State = "missing") -> list[Feature]:
    needed = {"libmemsc", "CPUs"}
    names = ("libmemsc", "CPUs", "BPF", "tracefs", "kernel headers", "BCC", "ipi:a", "ipi:b")
    return [
        Feature(name, state if name in lacks else "ok", "detail", "remedy", name in needed)
        for name in names
    ]


def test_json_has_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(said) == {"schema", "features", "probes", "environment"}
    assert [probe["name"] for probe in said["probes"]] == [p.name for p in declaration.offered()]
    assert all(probe["summary"] for probe in said["probes"])
    free = [probe["name"] for probe in said["probes"] if not probe["cost_ns"]]
    assert free == ["counters"]  # it has no program
    assert said["schema"] == 1
    listed: list[dict[str, str]] = said["features"]
    for feature in listed:
        assert set(feature) == {"name", "state", "detail", "remedy"}
        assert feature["state"] in ("ok", "missing", "unknown")
        assert feature["detail"]
        assert bool(feature["remedy"]) == (feature["state"] != "ok"), feature
    names = [feature["name"] for feature in listed]
    assert len(set(names)) == len(names)
    assert {"BPF", "BCC", "tracefs", "kernel headers", "ipi:ipi_send_cpu", "isolation"} <= set(
        names
    )
    lacking = [f["name"] for f in listed if f["state"] == "missing"]
    needed = {"libmemsc", "C-library layer", "CPUs", "glibc"}
    assert status == int(bool(needed & set(lacking)))


def test_text_fits_80_columns_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert re.search(r"^(ok|missing|unknown) +CPUs", out, re.MULTILINE)


def test_only_what_running_needs_decides_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(listed: list[Feature]) -> int:
        def find_all(*_: object) -> Iterator[Feature]:
            return iter(listed)

        monkeypatch.setattr(features, "find_all", find_all)
        return main(["doctor"])

    assert status(found()) == 0
    assert status(found("BPF", "BCC")) == 0
    assert status(found("libmemsc", state="unknown")) == 0
    assert status(found("libmemsc")) == 1
    assert "memsc run: not possible, see libmemsc" in capsys.readouterr().out


@pytest.mark.bpf
def test_ctrl_c_waits_for_no_helper() -> None:
    """It once waited until all probes were loaded, which are seconds; here it would for ever."""
    doctor = start("doctor")
    tasks = Path(f"/proc/{doctor.pid}/task")

    def helper() -> int | None:
        for child in " ".join(c.read_text() for c in tasks.glob("*/children")).split():
            with suppress(OSError):  # others come and go
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if any(word.endswith(b"tracer/helper/boot.py") for word in words):
                    return int(child)
        return None

    wait_until(lambda: helper() is not None, "the helper")
    stopped = helper()
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    try:
        doctor.send_signal(signal.SIGINT)
        assert doctor.wait(60) == 128 + signal.SIGINT
    finally:
        os.kill(stopped, signal.SIGKILL)
        doctor.kill()
        doctor.communicate()


@pytest.mark.bpf
def test_a_probe_that_ends_its_helper_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(channel, "COMMAND", (sys.executable, dying.__file__, "abort", "ipi"))
    main(["doctor", "--json"])
    listed = json.loads(capsys.readouterr().out)["features"]
    state = {feature["name"]: feature for feature in listed}
    count = len(declaration.names())
    assert state["BCC"]["detail"] == f"compiles; {count - 1} of {count} probes load"
    assert "SIGABRT" in state["probe ipi"]["detail"]


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (found(), "ready"),
        (found("BCC"), "stamps only"),
        (found("BPF", state="unknown"), "sudo memsc doctor"),
        (found("ipi:a"), "less the tracepoints"),
        (
            [*found(), Feature("probe ipi", "missing", "died", "none")],
            "and probes that are missing",
        ),
    ],
)
def test_the_verdict_on_tracing(listed: list[Feature], says: str) -> None:
    assert says in verdict(listed)[1]


def test_tracepoints_are_summed_up_by_category_unless_they_differ() -> None:
    together = [f for f in summarize(found()) if f.name == "tracepoints"]
    assert [f.detail for f in together] == ["ipi: 2, each detail"]
    refused = [f for f in summarize(found("ipi:a", "ipi:b")) if f.name == "tracepoints"]
    assert [(f.state, f.detail) for f in refused] == [("missing", "all: 2, each detail")]
    apart = [f for f in summarize(found("ipi:a")) if f.name == "tracepoint"]
    assert [(f.state, f.detail) for f in apart] == [
        ("missing", "ipi:a: detail"),
        ("ok", "ipi:b: detail"),
    ]


def test_a_refusal_means_missing_to_root_and_unknown_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> str:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert attempt("x", refuse, "do it").state == "missing"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    tried = attempt("x", refuse, "do it")
    assert (tried.state, tried.remedy) == ("unknown", AS_ROOT)


def test_an_error_brings_its_own_remedy() -> None:
    def fail() -> str:
        raise MemscError("what", "why", "remedy")

    assert attempt("x", fail, "other") == Feature("x", "missing", "why", "remedy")


def test_one_cpu_is_a_lack() -> None:
    one = topology.Topology(
        frozenset({0}),
        {0: topology.Cpu(0, frozenset({0}), frozenset({0}), None)},
        frozenset({0}),
        frozenset({0}),
    )
    from memsc.tracer.session.environment import describe

    tried = next(f for f in features.find_all(describe(), one) if f.name == "CPUs")
    assert tried.state == "missing"
    assert tried.needed
    assert "--transport direct" in tried.remedy


@pytest.mark.bpf
def test_a_tracepoint_that_does_not_exist_does_not_attach() -> None:
    program = bpf.load_program(bpf.RAW_TRACEPOINT)
    try:
        os.close(bpf.attach_raw(program, "sched_switch"))
        with pytest.raises(FileNotFoundError):
            bpf.attach_raw(program, "memsc_nonsense")
    finally:
        os.close(program)


@pytest.mark.bpf
def test_trying_leaves_no_descriptor_behind() -> None:
    from memsc.tracer.session.environment import describe

    machine = topology.read()
    # BCC keeps what it has compiled; the second round must add nothing.
    counts: list[int] = []
    for _ in range(3):
        list(features.find_all(describe(topology=machine), machine))
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[1] == counts[2]
