# SPDX-License-Identifier: MIT
"""Real BPF on this kernel: known workloads are counted exactly, and nothing else is."""

from __future__ import annotations

import mmap
import os
import platform
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from tests.helpers.workload import GETPPID, Workload

from memsc.probes.declaration import find, names
from memsc.runtime.errors import MemscError
from memsc.tracer.session.observe.event_ring import Events
from memsc.tracer.session.observe.probe_client import Helper

pytestmark = pytest.mark.bpf

LOOP = "for _ in range({n}): os.getppid()"

# A wakes B and B wakes A; B begins, so that each finds the other asleep in every round.
PING_PONG = """
def pin(cpu):
    os.sched_setaffinity(0, [cpu])
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
a, b = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    pin({b})
    os.write(b[1], b"x")
    for _ in range({n}):
        os.read(a[0], 1)
        os.write(b[1], b"x")
    os._exit(0)
pin({a})
os.read(b[0], 1)
for _ in range({n}):
    {pause}
    os.write(a[1], b"x")
    os.read(b[0], 1)
os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def helper() -> Iterator[Helper]:
    with Helper() as helper:
        states = helper.load(["sched", "ipi", "syscalls"])
        assert all(state.usable for state in states.values()), states
        yield helper


@pytest.fixture(autouse=True)
def _fresh(helper: Helper) -> Iterator[None]:
    yield
    helper.recording = False
    helper.detach("sched", "ipi", "syscalls")
    helper.watch([])
    for probe in ("sched", "ipi", "syscalls"):
        helper.drain(probe)
    # Not the misses: what other programs on this machine trace may cause some.
    assert {losses.dropped for losses in helper.losses().values()} == {0}


def kind(probe: str, events: Events, name: str) -> Events:
    """The events of one kind."""
    selected: Events = events[events["kind"] == find(probe).kind_names.index(name)]
    return selected


def record(helper: Helper, probe: str, workload: Workload) -> Events:
    """Run a workload with a probe attached; its events."""
    assert helper.attach(probe)[probe].usable
    helper.drain(probe)
    helper.recording = True
    workload.run()
    helper.recording = False
    return helper.drain(probe)


def test_calls_of_a_tracked_process_are_counted_exactly(helper: Helper) -> None:
    with Workload(LOOP.format(n=9973)) as workload:
        assert helper.track(workload.pid) == 1
        events = record(helper, "syscalls", workload)
    for end in ("enter", "exit"):
        calls = kind("syscalls", events, end)
        calls = calls[calls["number"] == GETPPID]
        assert len(calls) == 9973
        assert set(calls["tid"]) == set(calls["pid"]) == {workload.pid}
        assert np.all(np.diff(calls["time"].astype(np.int64)) >= 0)
        if end == "exit":
            assert set(calls["result"]) == {os.getpid()}


def test_untracked_processes_are_not_seen(helper: Helper) -> None:
    with Workload(LOOP.format(n=997)) as other, Workload(LOOP.format(n=499)) as workload:
        helper.track(workload.pid)
        helper.attach("syscalls", "sched")
        helper.recording = True
        other.run()
        workload.run()
        helper.recording = False
        calls, switches = helper.drain("syscalls"), helper.drain("sched")
    assert set(calls["tid"]) == {workload.pid}
    assert np.count_nonzero(calls["number"] == GETPPID) == 2 * 499
    # Seen only as the one that a tracked task gave way to, or was woken by.
    about = switches[(switches["tid"] == other.pid) | (switches["target_tid"] == other.pid)]
    assert np.all((about["tid"] == workload.pid) | (about["target_tid"] == workload.pid))


def test_children_and_threads_inherit(helper: Helper) -> None:
    body = f"""
import threading
children = []
for n in (101, 211):
    child = os.fork()
    if child == 0:
        {LOOP.format(n="n")}
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
def loop():
    {LOOP.format(n=307)}
thread = threading.Thread(target=loop)
thread.start()
thread.join()
{LOOP.format(n=401)}
"""
    with Workload(body) as workload:
        helper.track(workload.pid)
        events = record(helper, "syscalls", workload)
    calls = kind("syscalls", events, "enter")
    calls = calls[calls["number"] == GETPPID]
    by_thread = Counter[int](calls["tid"].tolist())
    assert sorted(by_thread.values()) == [101, 211, 307, 401]
    assert by_thread[workload.pid] == 401
    by_process = Counter[int](calls["pid"].tolist())
    assert sorted(by_process.values()) == [101, 211, 307 + 401]


def test_a_thread_that_executes_stays_tracked_under_its_new_id(helper: Helper) -> None:
    body = f"""
import sys, threading
if os.fork() == 0:
    code = "import os\\n{LOOP.format(n=997)}"
    run = lambda: os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
    threading.Thread(target=run).start()
    threading.Event().wait()
os.wait()
"""
    with Workload(body) as workload:
        helper.track(workload.pid)
        events = record(helper, "syscalls", workload)
    calls = kind("syscalls", events, "enter")
    calls = calls[calls["number"] == GETPPID]
    assert len(calls) == 997
    assert set(calls["tid"]) == set(calls["pid"])


def test_each_wake_up_of_a_ping_pong_is_seen(helper: Helper) -> None:
    cpu = min(os.sched_getaffinity(0))
    with Workload(PING_PONG.format(a=cpu, b=cpu, n=997, pause="pass")) as workload:
        helper.track(workload.pid)
        before = workload.switches()
        events = record(helper, "sched", workload)
        after = workload.switches()
    (child,) = set(kind("sched", events, "wakeup_new")["target_tid"].tolist())
    for name in ("waking", "wakeup"):
        woken = kind("sched", events, name)
        # By the parent: being moved to another CPU at its start wakes the child too.
        woken = woken[(woken["tid"] == workload.pid) & (woken["target_tid"] == child)]
        assert len(woken) == 997
        assert set(woken["target_cpu"]) == {cpu}
    switches = kind("sched", events, "switch")
    out = switches[switches["tid"] == child]
    assert np.count_nonzero(out["state"] == 1) == 997

    # The kernel's own count of the main thread's switches, both sorts.
    out = switches[switches["tid"] == workload.pid]
    runnable = np.isin(out["state"], (0, 256))
    counted = (np.count_nonzero(~runnable), np.count_nonzero(runnable))
    assert counted == (after[0] - before[0], after[1] - before[1])


def test_other_tasks_on_a_watched_cpu_are_seen(helper: Helper) -> None:
    cpu = max(os.sched_getaffinity(0))
    body = f"os.sched_setaffinity(0, [{cpu}])\nimport time\nfor _ in range(97): time.sleep(1e-4)"
    with Workload(body) as workload:
        helper.watch([cpu])
        before = workload.switches()
        events = record(helper, "sched", workload)
        after = workload.switches()
    switches = kind("sched", events, "switch")
    out = switches[(switches["tid"] == workload.pid) & (switches["cpu"] == cpu)]
    assert 97 <= np.count_nonzero(out["state"] == 1) <= after[0] - before[0]
    assert set(switches["cpu"]) == {cpu}
    # Who comes in is who goes out next; and all others are seen around it.
    comes = np.flatnonzero(switches["target_tid"] == workload.pid)
    assert set(switches["tid"][comes[:-1] + 1]) == {workload.pid}
    assert workload.pid not in switches["target_tid"][comes[:-1] + 1]


def test_waking_across_cpus_sends_or_spares_an_interrupt(helper: Helper) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    here, there = cpus[0], cpus[-1]
    pause = "os.sched_yield()\n    for _ in range(3000): pass"
    with Workload(PING_PONG.format(a=here, b=there, n=499, pause=pause)) as workload:
        helper.track(workload.pid)
        helper.watch([here, there])
        helper.attach("sched")
        events = record(helper, "ipi", workload)
        sched = helper.drain("sched")
    forked = kind("sched", sched, "wakeup_new")
    (child,) = set(forked["target_tid"][forked["tid"] == workload.pid].tolist())
    waking = kind("sched", sched, "waking")
    switches = kind("sched", sched, "switch")
    slept = np.count_nonzero((switches["tid"] == child) & (switches["state"] == 1))
    # Who finds something to read has no need to sleep: across CPUs that happens in some rounds.
    assert 450 <= slept <= np.count_nonzero(waking["target_tid"] == child)

    by_parent = events[(events["tid"] == workload.pid) & (events["target_cpu"] == there)]
    sent = len(kind("ipi", by_parent, "send"))
    spared = len(kind("ipi", by_parent, "wake_idle"))
    # Nine of ten: a wake-up joins an interrupt that is on its way already, whoever sent it.
    assert sent + spared >= 450
    if platform.machine() != "x86_64":
        return  # elsewhere no probe sees them arrive
    arrived = {
        vector: len(kind("ipi", events, f"{vector}_entry"))
        for vector in ("reschedule", "call_function_single")
    }
    if sent:
        assert sum(arrived.values()) > 0
    for vector, entries in arrived.items():
        exits = kind("ipi", events, f"{vector}_exit")
        assert abs(len(exits) - entries) <= 2
        assert np.all(exits["cpu"] == exits["target_cpu"])
        assert np.all(exits["vector"] > 0)


def test_a_detached_probe_sees_nothing_and_comes_back(helper: Helper) -> None:
    for attached in (True, False, True):
        with Workload(LOOP.format(n=101)) as workload:
            helper.track(workload.pid)
            if attached:
                helper.attach("syscalls")
            else:
                helper.detach("syscalls")
            helper.recording = True
            workload.run()
            helper.recording = False
            calls = helper.drain("syscalls")
        assert np.count_nonzero(calls["number"] == GETPPID) == (202 if attached else 0)


def test_what_is_dropped_is_counted_exactly() -> None:
    seen: dict[int, tuple[int, int]] = {}
    for size in (mmap.PAGESIZE, 1 << 20):
        with Helper() as helper, Workload(LOOP.format(n=997)) as workload:
            helper.load(["syscalls"], {"syscalls": size})
            helper.track(workload.pid)
            helper.attach("syscalls")
            helper.recording = True
            workload.run()
            helper.recording = False
            losses = helper.losses()["syscalls"]
            assert losses.dropped == helper.dropped("syscalls")
            seen[size] = (len(helper.drain("syscalls")), losses.total)
    whole, none = seen[1 << 20]
    few, lost = seen[mmap.PAGESIZE]
    assert none == 0
    assert few == (mmap.PAGESIZE - 1) // (8 + find("syscalls").event_size)
    assert few + lost == whole == 2 * 997 + 4


def test_draining_while_events_arrive_loses_none_uncounted() -> None:
    n = 30011
    parts: list[Events] = []
    with Helper() as helper, Workload(LOOP.format(n=n)) as workload:
        helper.load(["syscalls"], {"syscalls": 1 << 16})
        helper.track(workload.pid)
        helper.attach("syscalls")
        helper.recording = True
        thread = threading.Thread(target=workload.run)
        thread.start()
        while thread.is_alive():
            parts.append(helper.drain("syscalls", limit=500))
        thread.join()
        helper.recording = False
        parts.append(helper.drain("syscalls"))
        losses = helper.losses()["syscalls"]
    events = np.concatenate(parts)
    assert np.all(np.diff(events["time"].astype(np.int64)) >= 0)
    # The loop's, the end of the read before it, the write after it, the begin of the last read.
    assert len(events) + losses.total == 2 * n + 4


def test_a_probe_this_kernel_lacks_is_refused_with_reason_and_remedy() -> None:
    with Helper() as helper, pytest.raises(MemscError, match=r"choose of .*sched"):
        helper.load(["sched", "nonsense"])


def test_all_probes_go_together_also_where_they_share_tracepoints() -> None:
    naps = "import time\nfor _ in range(13): time.sleep(0.02)"
    with Helper() as helper, Workload(naps) as workload:
        loaded = helper.load(names())
        assert not [state.reason for state in loaded.values() if "compile" in str(state.reason)]
        helper.attach("sched", "offcpu")
        helper.track(workload.pid)
        helper.recording = True
        workload.run()
        helper.recording = False
        off, switches = helper.drain("offcpu"), helper.drain("sched")
    back = off[(off["tid"] == workload.pid) & (off["kind"] == 0)]
    assert len(back) >= 13 and (back["duration"] > 0).all()
    # Both saw each return: the switch to the thread at the time when it runs again.
    kinds = find("sched").kind_names
    returns = switches[
        (switches["kind"] == kinds.index("switch")) & (switches["target_tid"] == workload.pid)
    ]
    assert len(returns) >= len(back)
