# SPDX-License-Identifier: MIT
"""Counters: exact on known work, scaled where they took turns, absent with a reason."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import traces
from tests.helpers.command import memsc
from tests.helpers.workload import Workload

from memsc import analysis as ma
from memsc.analysis.domains.counters import scaled
from memsc.analysis.report.summary import summarise
from memsc.analysis.report.text import to_string
from memsc.probes.countable import COUNTERS
from memsc.runtime.errors import MemscError
from memsc.tracer import format as fmt
from memsc.tracer.format.output import prepare_output
from memsc.tracer.format.tables import COUNTERS_SCHEMA, OTHERS
from memsc.tracer.format.writer import TraceWriter
from memsc.tracer.helper.kernel import perf_counters
from memsc.tracer.helper.perf_requests import Observing
from memsc.tracer.session.observe import thread_counters
from memsc.tracer.session.observe.channel import Channel
from memsc.tracer.session.observe.thread_counters import Counting

KEY = fmt.RoundKey("memsc", "program", 0)
KERNEL = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
SOFTWARE = [one.name for one in COUNTERS if one.device == "software"]

# ---- real events on known work ----


@pytest.fixture
def channel() -> Iterator[Channel]:
    found = Channel()
    yield found
    found.close()


@pytest.mark.bpf
def test_probes_are_loaded_beside_them(tmp_path: Path) -> None:
    """These are asked for early, and answered after the counters are."""
    output = tmp_path / "t.memsc"
    done = memsc("trace", "--probes", "counters,sched", "-o", str(output), "--", "ls", "/")
    assert done.returncode == 0, done.stderr
    probes = fmt.open_trace(output).session.probes
    assert {name: one.attached for name, one in probes.items()} == {"counters": True, "sched": True}


def counted(channel: Channel, folder: Path, work: Workload) -> pd.DataFrame:
    """Value by thread and event, of what a workload does when told to."""
    cpus = os.sched_getaffinity(work.pid)
    with TraceWriter(prepare_output(folder)) as writer:
        here = Counting(writer, channel, cpus, ())
        here.begin(work.pid, running=True)
        work.run()
        here.finish(KEY)
        assert here.rows > 0
    return frame_of(folder).groupby(["thread", "event"])["value"].sum().unstack()


def frame_of(folder: Path) -> pd.DataFrame:
    parts = sorted((folder / "counters").glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(part) for part in parts])
    names = frame.select_dtypes("category").columns
    frame[names] = frame[names].astype(str)
    return frame


def kernel_says(pid: int, children: bool = False) -> dict[str, int]:
    """The kernel's own totals of a process that sleeps."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    minor, major = (8, 10) if children else (7, 9)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    switches = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    faults = {"minor-faults": int(stat[minor]), "major-faults": int(stat[major])}
    if children:
        return faults
    scheduler = Path(f"/proc/{pid}/sched")  # where the kernel has CONFIG_SCHED_DEBUG
    says = scheduler.read_text() if scheduler.exists() else ""
    found = re.search(r"nr_migrations\s*:\s*(\d+)", says)
    moved = {"cpu-migrations": int(found[1])} if found else {}
    return faults | {"context-switches": switches} | moved


def counted_twice(channel: Channel, folder: Path, body: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """What a workload does, by our count and by the kernel's."""
    with Workload(body) as work:
        before = kernel_says(work.pid)
        found = counted(channel, folder, work)
        after = kernel_says(work.pid)
    return found, {name: after[name] - before[name] for name in before}


FAULTS = "import mmap\nm = mmap.mmap(-1, 4096 * 1009)\nfor i in range(1009): m[4096 * i] = 1"
SLEEPS = "import time\nfor _ in range(211): time.sleep(0.005)"
MOVES = """\
cpus = sorted(os.sched_getaffinity(0))
for i in range(101): os.sched_setaffinity(0, {cpus[i % 2]})
os.sched_setaffinity(0, cpus)"""


@pytest.mark.bpf
@pytest.mark.parametrize(("body", "event", "least"), [
    (FAULTS, "minor-faults", 1009),
    (SLEEPS, "context-switches", 211),
    (MOVES, "cpu-migrations", 100),
])  # fmt: skip
def test_known_work_is_counted_exactly(
    body: str, event: str, least: int, channel: Channel, tmp_path: Path
) -> None:
    if event == "cpu-migrations" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("to move, it needs two CPUs")
    found, kernel = counted_twice(channel, tmp_path / "a.memsc", body)
    mine: Any = found.drop(OTHERS).iloc[0]
    # Read while it sleeps: the kernel's own counts are the same, to the last one.
    assert {name: mine[name] for name in kernel} == kernel
    assert int(mine[event]) >= least
    assert int(mine["task-clock"]) > 0
    assert found.loc[[OTHERS], SOFTWARE].to_numpy().sum() == 0


@pytest.mark.bpf
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="of two sides, each needs a CPU")
def test_a_thread_that_is_there_already_is_counted_on_the_side_where_it_runs(
    channel: Channel, tmp_path: Path
) -> None:
    """As a service thread is, when a program that runs already is looked at."""
    app, service = sorted(os.sched_getaffinity(0))[:2]
    folder, pinned = tmp_path / "a.memsc", f"os.sched_setaffinity(0, [{service}])"
    with (
        Workload("for _ in range(1000): pass", before=pinned) as work,
        TraceWriter(prepare_output(folder)) as writer,
    ):
        here = Counting(writer, channel, {app}, {service})
        here.begin(work.pid, running=True)
        work.run()
        here.finish(KEY)
        assert not here.notes
    mine = frame_of(folder).query("thread != @OTHERS and event == 'task-clock'")
    by_side = mine.set_index("side")["value"]
    if KERNEL < (6, 12):  # it mixes up such counts; then none are told apart, and that is said
        assert "Linux 6.12" in str(here.described.apart_reason)
        assert set(by_side.index) == {"both"}
        assert by_side["both"] > 0
        return
    assert here.described.apart
    assert by_side["service"] > 0
    assert by_side["app"] == 0


@pytest.mark.bpf
def test_what_is_started_later_is_counted_however_short_it_lives(
    channel: Channel, tmp_path: Path
) -> None:
    body = (
        (
            "import threading\n"
            "for _ in range(53):\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        import mmap; m = mmap.mmap(-1, 4096 * 97)\n"
            "        for i in range(97): m[4096 * i] = 1\n"
            "        os._exit(0)\n"
            "    os.waitpid(pid, 0)\n"
            "def swim():\n"
            "    for _ in range(31): os.sched_yield()\n"
            "for _ in range(29):\n"
            "    t = threading.Thread(target=swim); t.start(); t.join()"
        )
        .replace("{", "{{")
        .replace("}", "}}")
    )
    with Workload(body) as work:
        before, children = kernel_says(work.pid), kernel_says(work.pid, children=True)
        found = counted(channel, tmp_path / "a.memsc", work)
        after, grown = kernel_says(work.pid), kernel_says(work.pid, children=True)
    mine: Any = found.drop(OTHERS).iloc[0]
    others: Any = found.loc[OTHERS]
    assert mine["context-switches"] == after["context-switches"] - before["context-switches"]
    forked = grown["minor-faults"] - children["minor-faults"]
    assert forked >= 53 * 97
    # Threads of the process itself fault, too; /proc adds those that have ended to its sum.
    both = forked + after["minor-faults"] - before["minor-faults"]
    assert mine["minor-faults"] + others["minor-faults"] == pytest.approx(both, abs=53)
    assert int(others["task-clock"]) > 0


@pytest.mark.bpf
def test_a_program_on_hold_is_counted_from_its_first_instruction(
    channel: Channel, tmp_path: Path
) -> None:
    folder = tmp_path / "a.memsc"
    reading, go = os.pipe()
    os.set_inheritable(reading, True)
    code = "import os, sys; os.read(int(sys.argv[1]), 1); os.execv('/bin/true', ['true'])"
    command = [sys.executable, "-c", code, str(reading)]
    with (
        subprocess.Popen(command, pass_fds=[reading]) as held,
        TraceWriter(prepare_output(folder)) as writer,
    ):
        here = Counting(writer, channel, os.sched_getaffinity(0), ())
        here.begin(held.pid, running=False)
        os.write(go, b"g")
        held.wait()
        here.finish(KEY)
    os.close(reading)
    os.close(go)
    mine = frame_of(folder).query("thread != @OTHERS").set_index("event")["value"]
    # Far less than the interpreter that it was before: that is not counted.
    assert 20 < mine["minor-faults"] < 500
    assert mine["task-clock"] > 0


@pytest.mark.bpf
def test_where_cpus_cannot_be_told_apart_the_sums_are_the_same(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Counting._ask  # pyright: ignore[reportPrivateUsage]

    def old_kernel(self: Any, pid: int, tid: int, cpu: int, **how: Any) -> Any:
        if cpu != perf_counters.EVERYWHERE and how["inherit"]:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(self, pid, tid, cpu, **how)

    monkeypatch.setattr(thread_counters.Counting, "_ask", old_kernel)
    found, kernel = counted_twice(channel, tmp_path / "a.memsc", SLEEPS)
    mine: Any = found.drop(OTHERS).iloc[0]
    assert {name: mine[name] for name in kernel} == kernel
    assert set(frame_of(tmp_path / "a.memsc")["side"]) == {"both"}


@pytest.mark.bpf
def test_the_helper_counts_no_process_of_another_user() -> None:
    observing = Observing(12_345)
    pid = os.getpid()
    wish = {"pid": pid, "tid": pid, "cpu": 0, "inherit": True, "on_exec": True}
    with pytest.raises(MemscError, match="does not belong to user 12345"):
        observing.operations["counters"](wish)
    for wrong, says in (
        ({"tid": 2}, "has none of that number"),
        ({"pid": 1 << 22, "tid": 1 << 22}, "no such process"),
        ({"cpu": "0"}, "not all of"),
        ({"pid": -1}, "not all of"),
    ):
        with pytest.raises(MemscError, match=says):
            Observing(0).operations["counters"](wish | wrong)


# ---- why not ----


@pytest.mark.parametrize(
    ("name", "code", "machine", "says"),
    [
        ("cycles", errno.ENOENT, "virtual", "no PMU: the hypervisor shows none"),
        ("cycles", errno.ENODEV, "", "no PMU: this machine has none"),
        ("dTLB-load-misses", errno.ENOENT, "pmu", "this processor's PMU does not count it"),
        ("cache-misses", errno.EOPNOTSUPP, "virtual pmu", "this processor's PMU does not count it"),
        ("cycles", errno.EACCES, "pmu", "perf_event_paranoid"),
        ("tsc", errno.ENODEV, "pmu", "no register tsc"),
        ("minor-faults", errno.ENOMEM, "pmu", "Cannot allocate memory"),
    ],
)
def test_what_cannot_be_counted_says_why(
    name: str, code: int, machine: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perf_counters, "_pmu", lambda: "pmu" in machine)
    monkeypatch.setattr(perf_counters, "_virtual", lambda: "virtual" in machine)
    (counter,) = (one for one in COUNTERS if one.name == name)
    assert says in perf_counters.reason(counter, OSError(code, os.strerror(code)))


# ---- turns at the PMU ----


@given(
    st.integers(0, 1 << 50),
    st.integers(1, 1 << 40),
    st.integers(1, 1 << 40),
    st.integers(0, 1 << 20),
)
def test_scaling_extends_a_count_to_all_of_the_time(
    value: int, enabled: int, running: int, more: int
) -> None:
    enabled = max(enabled, running)
    columns = [np.array([n]) for n in (value, enabled, running)]
    (found,), (share,) = scaled(*columns)
    assert found >= value * (1 - 1e-12)
    assert 0 < share <= 1
    assert found == pytest.approx(value * enabled / running)
    # What always had its turn is told as it was counted; more counts never tell less.
    assert scaled(columns[0], columns[1], columns[1])[0] == value
    assert scaled(columns[0] + more, *columns[1:])[0] >= found


def test_what_never_had_its_turn_is_not_known() -> None:
    value, enabled, running = (np.array(some) for some in ([0, 0, 7], [100, 0, 100], [0, 0, 50]))
    found, share = scaled(value, enabled, running)
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0, 14]
    assert share.tolist() == [0, 1, 0.5]


# ---- analysis ----


def event(unit: str = "events", reason: str | None = None) -> fmt.CounterEvent:
    return fmt.CounterEvent(unit, "for a test", reason is None, reason)


def fabricate(folder: Path, rounds: int = 4, turns: bool = False) -> Path:
    """Two arms, with cycles and instructions as a PMU would count them."""
    arms = ("direct", "memsc")
    traces.fabricate(folder, arms=arms, rounds=rounds, calls=1000)
    columns: dict[str, list[Any]] = {name: [] for name in COUNTERS_SCHEMA.names}
    for number in range(rounds):
        for arm in arms:
            sides = (("dd", 7, "app"), (OTHERS, 0, "app"), (OTHERS, 0, "service"))
            for thread, tid, side in sides[: 3 if arm == "memsc" else 2]:
                ran = 0 if (thread, side) == (OTHERS, "app") else 1_000_000 + number
                for name, each in (("task-clock", 1), ("cycles", 3), ("instructions", 6)):
                    running = ran // 2 if turns and name != "task-clock" else ran
                    row = (arm, "sync", number, 7, tid, thread, side, "thread", name)
                    row = (*row, each * running, ran, running)
                    for column, cell in zip(columns.values(), row, strict=True):
                        column.append(cell)
    table = pa.table(
        [pa.array(cells, COUNTERS_SCHEMA.field(n).type) for n, cells in columns.items()],
        schema=COUNTERS_SCHEMA,
    )
    session = fmt.open_trace(folder).session
    events = {"task-clock": event("ns"), "cycles": event("cycles"), "instructions": event()}
    events["cache-misses"] = event(reason="no PMU: the hypervisor shows none")
    probes = {"counters": fmt.ProbeStatus(attached=True, seen=table.num_rows, lost=0)}
    with TraceWriter(folder) as writer:
        writer.append("counters", table)
        found = fmt.Counters(events, apart=True)
        writer.session(msgspec.structs.replace(session, counters=found, probes=probes))
    return folder


def test_counts_become_figures_per_call(tmp_path: Path) -> None:
    t = ma.open(fabricate(tmp_path / "a.memsc"))
    frame = t.counters.df_counters().set_index(["arm", "side", "event"])
    assert frame.loc[("direct", "app", "task-clock"), "per_call"] == pytest.approx(1000.0015)
    assert frame.loc[("memsc", "all", "cycles"), "per_call"] == pytest.approx(6000.009)
    assert frame.loc[("memsc", "service", "cycles"), "per_call"] == pytest.approx(3000.0045)
    assert ("direct", "all", "cycles") not in frame.index
    row: Any = frame.loc[[("memsc", "all", "cycles")]].iloc[0]
    assert row["low"] < row["per_call"] < row["high"]
    assert row["interval"] == "rounds"
    assert set(frame["counted"]) == {1.0}
    ratios = t.counters.df_ratios().query("name == 'instructions per cycle'")
    assert ratios["ratio"].tolist() == pytest.approx([2.0] * len(ratios))
    assert t.counters.unavailable == {"cache-misses": "no PMU: the hypervisor shows none"}
    assert set(t.where(arm="direct").counters.df_threads()["arm"]) == {"direct"}


def test_turns_at_the_pmu_are_scaled_and_said(tmp_path: Path) -> None:
    plain = ma.open(fabricate(tmp_path / "a.memsc")).counters.df_counters()
    t = ma.open(fabricate(tmp_path / "b.memsc", turns=True))
    turned = t.counters.df_counters()
    assert turned["per_call"].to_list() == pytest.approx(plain["per_call"].to_list(), rel=1e-5)
    shares = turned.set_index("event")["counted"].groupby(level=0).min()
    assert shares["cycles"] == pytest.approx(0.5, rel=1e-5)
    said = to_string(summarise(t))
    assert "took turns at the PMU, scaled up: cycles, instructions (counted 50 %)" in said


def test_a_report_says_what_threads_did_and_what_is_not_known(tmp_path: Path) -> None:
    t = ma.open(fabricate(tmp_path / "a.memsc"))
    summary = summarise(t)
    assert summary.counters is not None
    said = to_string(summary)
    assert "What threads did: sync" in said
    assert "not counted: cache-misses: no PMU: the hypervisor shows none" in said
    assert "memsc service" in said
    assert "direct service" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert not summary.counters.events["cache-misses"].counted
    assert summary.counters.ratios
    figure = t.counters.plot_counters()
    assert len(figure.axes) == 3
    with pytest.raises(MemscError, match="it has no counters"):
        t.counters.plot_counters("nothing")


def test_a_trace_without_counters_says_what_brings_them(tmp_path: Path) -> None:
    t = ma.open(traces.fabricate(tmp_path / "a.memsc", rounds=1, calls=10))
    with pytest.raises(MemscError, match="record again with --probes counters"):
        t.counters.df_counters()
    assert t.counters.unavailable == {}
    summary = summarise(t)
    assert summary.counters is None
    assert "not asked for" in str(summary.counters_reason)
    assert "What threads did" not in to_string(summary)


def test_a_part_of_a_program_s_life_was_not_counted(tmp_path: Path) -> None:
    t = ma.open(fabricate(tmp_path / "a.memsc"))
    for part in (t[0:1], t.where(syscall="read"), t.where(tid=7), t.where(outcome="ok")):
        with pytest.raises(
            MemscError, match=r"cannot show what threads did of some calls: .*; select without "
        ):
            part.counters.df_counters()


def test_switches_are_placed_in_stages_and_as_many_as_were_counted() -> None:
    t = ma.open(Path(__file__).resolve().parents[2] / "notebooks" / "traces" / "counters.memsc")
    placed = t.where(arm="ipi").counters.df_stages()
    assert set(placed["arm"]) == {"ipi"}
    slept = placed.query("event == 'slept'").groupby("side")["per_call"].sum()
    assert slept["application"] == pytest.approx(1, rel=0.1)
    assert slept["service"] == pytest.approx(1, rel=0.1)
    stages = placed.query("event == 'slept' and side == 'service'").set_index("stage")["per_call"]
    assert stages["between"] == pytest.approx(1, rel=0.1)
    counted = t.counters.df_counters().query("arm == 'ipi' and event == 'context-switches'")
    by_side = counted.set_index("side")["per_call"]
    seen = placed[placed["event"].isin(["slept", "preempted"])].groupby("side")["per_call"].sum()
    assert seen["application"] == pytest.approx(by_side["app"], rel=0.1)
    assert seen["service"] == pytest.approx(by_side["service"], rel=0.1)
    with pytest.raises(MemscError, match="--probes"):
        ma.open(t.folder.path.parent / "thesis.memsc").counters.df_stages()
