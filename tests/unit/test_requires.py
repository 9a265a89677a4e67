# SPDX-License-Identifier: MIT
"""An analysis that lacks events says why, and what brings them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.helpers import traces

from memsc.analysis.data import requires
from memsc.analysis.data.requires import events_lost, missing, need
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format import ProbeStatus
from memsc.tracer.format.writer import TraceWriter

EVENTS = np.zeros(3, [("time", "u8"), ("cpu", "u4"), ("pid", "u4"), ("tid", "u4"), ("kind", "u4")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10)


def with_probes(
    folder: Path, probes: dict[str, ProbeStatus], tables: tuple[str, ...] = ()
) -> fmt.TraceFolder:
    session = fmt.open_trace(folder).session
    with TraceWriter(folder) as writer:
        for table in tables:
            writer.events(table, EVENTS, {"kind": ["switch"]})
        writer.session(msgspec.structs.replace(session, probes=probes))
    return fmt.open_trace(folder)


@pytest.mark.parametrize(
    ("probes", "tables", "kind", "says"),
    [
        ({}, (), requires.NOT_ASKED_FOR, "not asked for; record again with --probes sched"),
        (
            {"ipi": ProbeStatus(attached=True, seen=3, lost=0)},
            ("ipi",),
            requires.NOT_ASKED_FOR,
            "record again with --probes ipi,sched",
        ),
        (
            {"sched": ProbeStatus(attached=False, reason="no BCC; install python3-bpfcc")},
            (),
            requires.REFUSED,
            "refused: no BCC; install python3-bpfcc; see `memsc doctor`, then record again",
        ),
        (
            {"sched": ProbeStatus(attached=True, seen=5, lost=0)},
            ("sched",),
            requires.DAMAGED,
            "damaged: 5 events were recorded, 3 are there; copy the trace again, or record",
        ),
        (
            {"sched": ProbeStatus(attached=True, seen=5, lost=0)},
            (),
            requires.DAMAGED,
            "damaged: 5 events were recorded, 0 are there",
        ),
        ({"sched": ProbeStatus(attached=True)}, (), requires.DAMAGED, "cut short before"),
    ],
)
def test_what_is_missing_says_why_and_what_brings_it(
    folder: Path, probes: dict[str, ProbeStatus], tables: tuple[str, ...], kind: str, says: str
) -> None:
    trace = with_probes(folder, probes, tables)
    assert [one.kind for one in missing(trace, "sched")] == [kind]
    with pytest.raises(MemscError, match="cannot show the switches of") as caught:
        need(trace, "sched", what="the switches")
    assert says in str(caught.value)


def test_a_probe_that_saw_nothing_is_not_missing(folder: Path) -> None:
    trace = with_probes(folder, {"sched": ProbeStatus(attached=True, seen=0, lost=0)})
    need(trace, "sched", what="the switches", columns=["state"])


def test_a_column_that_is_not_there_is_named(folder: Path) -> None:
    status = {"sched": ProbeStatus(attached=True, seen=3, lost=0)}
    trace = with_probes(folder, status, ("sched",))
    need(trace, "sched", what="the switches", columns=["time", "cpu"])
    with pytest.raises(MemscError, match="no column prio, state"):
        need(trace, "sched", what="the switches", columns=["state", "cpu", "prio"])


def test_the_decorator_checks_before_the_method_runs(folder: Path) -> None:
    class Domain:
        def __init__(self, folder: fmt.TraceFolder) -> None:
            self.folder = folder

        @requires.requires("sched", "ipi", what="the wake-up chain")
        def df_chain(self, rows: int) -> int:
            """The chain."""
            return rows

    with pytest.raises(MemscError, match="sched: the probe was not asked for, ipi: the probe"):
        Domain(with_probes(folder, {})).df_chain(3)
    both = {name: ProbeStatus(attached=True, seen=3, lost=0) for name in ("sched", "ipi")}
    assert Domain(with_probes(folder, both, ("sched", "ipi"))).df_chain(3) == 3
    assert Domain.df_chain.__doc__ == "The chain."


def test_lost_events_are_said(folder: Path) -> None:
    probes = {
        "sched": ProbeStatus(attached=True, seen=3, lost=2),
        "ipi": ProbeStatus(attached=True, seen=3, lost=None),
        "syscalls": ProbeStatus(attached=True, seen=0, lost=0),
    }
    trace = with_probes(folder, probes, ("sched", "ipi"))
    assert events_lost(trace, "syscalls", "irq") is None
    said = events_lost(trace, "sched", "ipi")
    assert said == "2 events of sched lost, how many events of ipi were lost is not known"
