# SPDX-License-Identifier: MIT
"""The probe `noise` on this kernel: known disturbances are counted, and named."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest
from tests.helpers.workload import Workload

from memsc.probes.declaration import find
from memsc.tracer.session.observe.event_ring import Events
from memsc.tracer.session.observe.probe_client import Helper

pytestmark = pytest.mark.bpf

FAULTS = """
import mmap
memory = mmap.mmap(-1, {n} * {page}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in range({n}):
    memory[page * {page}] = 1
"""

# A process of higher priority is woken n times on the CPU where its parent computes: it sleeps
# again before the parent can wake it once more, however slow the machine is.
PREEMPTED = """
os.sched_setaffinity(0, [{cpu}])
asleep, ready = os.pipe()
bell, ring = os.pipe()
child = os.fork()
if child == 0:
    with open("/proc/self/comm", "w") as file:
        file.write("disturber")
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    os.write(ready, b"r")
    for _ in range({n}):
        os.read(bell, 1)
    os._exit(0)
os.read(asleep, 1)
for _ in range({n}):
    os.write(ring, b"r")
os.waitpid(child, 0)
"""

# Unmapping on one CPU makes the other, which runs a thread of the same process, flush. That thread
# computes without the interpreter's lock; if its CPU is busy with others, the unmapping goes on
# until it has had its turns.
SHOT_DOWN = """
import hashlib, mmap, threading, time
spun, block, stop = 0, bytes(1 << 20), False
def spin():
    global spun
    os.sched_setaffinity(0, [{there}])
    while not stop:
        hashlib.sha256(block)
        spun += 1
os.sched_setaffinity(0, [{here}])
thread = threading.Thread(target=spin)
thread.start()
done = 0
while done < {n} or spun < 100:
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[0] = 1
    memory.close()
    done += 1
    if done > {n}:
        time.sleep(0.0002)
stop = True
thread.join()
"""


@pytest.fixture
def helper() -> Iterator[Helper]:
    with Helper() as helper:
        assert helper.load(["noise"])["noise"].usable
        helper.attach("noise")
        yield helper
        assert helper.losses()["noise"].dropped == 0


def record(helper: Helper, workload: Workload) -> Events:
    helper.drain("noise")
    helper.recording = True
    workload.run()
    helper.recording = False
    return helper.drain("noise")


def kind(events: Events, name: str) -> Events:
    selected: Events = events[events["kind"] == find("noise").kind_names.index(name)]
    return selected


def test_each_page_that_is_touched_first_is_a_fault(helper: Helper) -> None:
    n = 997
    with Workload(FAULTS.format(n=n, page=mmap.PAGESIZE)) as workload:
        helper.track(workload.pid)
        events = record(helper, workload)
    faults = kind(events, "fault_user")
    assert set(faults["tid"]) == {workload.pid}
    # The mapping's pages are the only ones that lie so close; the interpreter faults a little too.
    pages = faults["number"] // mmap.PAGESIZE
    lowest = max(set(pages.tolist()), key=lambda page: np.sum((pages >= page) & (pages < page + n)))
    inside = pages[(pages >= lowest) & (pages < lowest + n)]
    assert sorted(inside.tolist()) == list(range(lowest, lowest + n))


def test_a_thread_that_preempts_is_named_each_time(helper: Helper) -> None:
    n, cpu = 97, max(os.sched_getaffinity(0))
    with Workload(PREEMPTED.format(n=n, cpu=cpu)) as workload:
        helper.watch([cpu])
        events = record(helper, workload)
    turns = kind(events, "task")
    mine = turns[turns["name"] == b"disturber"]
    assert set(mine["cpu"]) == {cpu}
    assert len(set(mine["tid"].tolist())) == 1
    # One turn each time that it is woken, at most three until it had its name and slept first.
    assert n <= len(mine) <= n + 3
    # Turns of one CPU do not overlap, whichever thread has them.
    order = np.argsort(turns["time"])
    begins = turns["time"][order].astype(np.int64)
    ends = begins + turns["duration"][order].astype(np.int64)
    assert np.all(ends[:-1] <= begins[1:])


def test_interrupts_are_intervals_on_watched_cpus_alone(helper: Helper) -> None:
    cpu = max(os.sched_getaffinity(0))
    body = f"os.sched_setaffinity(0, [{cpu}])\nfor _ in range(3_000_000): pass"
    with Workload(body) as workload:
        helper.watch([cpu])
        events = record(helper, workload)
    ticks = kind(events, "timer")
    assert len(ticks) > 0
    assert set(ticks["cpu"]) == {cpu}
    assert np.all(ticks["duration"] > 0)
    assert np.all(ticks["number"] > 0)
    order = np.argsort(ticks["time"])
    begins, lasts = (ticks[name][order].astype(np.int64) for name in ("time", "duration"))
    assert np.all(begins[:-1] + lasts[:-1] <= begins[1:])
    for name in ("softirq", "irq"):
        assert np.all(kind(events, name)["duration"] > 0)


def test_shoot_downs_are_told_from_other_calls(helper: Helper) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    n, here, there = 499, cpus[0], cpus[-1]
    with Workload(SHOT_DOWN.format(n=n, here=here, there=there)) as workload:
        helper.watch([here, there])
        helper.track(workload.pid)
        events = record(helper, workload)
    asked = kind(events, "flush_others")
    asked = asked[asked["tid"] == workload.pid]
    if not len(asked):
        pytest.skip("this processor flushes other CPUs without interrupting them")
    # The other CPU may be idle, or run another program, and is then spared.
    flushed = kind(events, "shootdown")
    assert len(flushed[flushed["cpu"] == there]) <= len(kind(events, "flush_others"))
    assert len(asked) >= n // 2
    assert len(flushed) > 0
    assert np.all(flushed["number"] >= 1)


def test_nothing_is_seen_of_cpus_nobody_watches(helper: Helper) -> None:
    with Workload("for _ in range(100): os.sched_yield()") as workload:
        events = record(helper, workload)
    assert len(events) == 0
