# SPDX-License-Identifier: MIT
"""Requests to io_uring: each of a known number is seen, on its whole way, and no other."""

from __future__ import annotations

import errno
import subprocess
import sys

import numpy as np
import pytest
from tests.helpers.workload import Workload

from memsc.probes.declaration import find
from memsc.tracer.session.observe.event_ring import Events
from memsc.tracer.session.observe.probe_client import Helper

pytestmark = pytest.mark.bpf

NOPS, ASYNC, READS = 997, 13, 7
SETUP, ENTER, SQPOLL, ASYNCHRONOUS = 425, 426, 2, 16
ENOSYS, EPERM = errno.ENOSYS, errno.EPERM

# Asks for the ring before it says that it is ready: whether there may be one is seen then.
RING = f"""
import ctypes, mmap, struct
libc = ctypes.CDLL(None, use_errno=True)
class Ring:
    def __init__(self, flags=0):
        params = bytearray(120)
        struct.pack_into("<5I", params, 0, 0, 0, flags, 0, 1000)
        self.fd = libc.syscall({SETUP}, 64, (ctypes.c_char * 120).from_buffer(params))
        if self.fd < 0:
            raise SystemExit(ctypes.get_errno())
        entries, completions = struct.unpack_from("<2I", params)
        self.sq = struct.unpack_from("<7I", params, 40)
        self.cq = struct.unpack_from("<6I", params, 80)
        size = max(self.sq[6] + 4 * entries, self.cq[5] + 16 * completions)
        self.ring = mmap.mmap(self.fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.sqes = mmap.mmap(
            self.fd, 64 * entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0x10000000
        )
        self.mask = entries - 1
        self.polled = bool(flags & {SQPOLL})
    def word(self, offset):
        return ctypes.c_uint32.from_buffer(self.ring, offset)
    def submit(self, opcode, user_data, flags=0, fd=-1, address=0, size=0):
        tail = self.word(self.sq[1])
        slot = tail.value & self.mask
        self.sqes[64 * slot : 64 * slot + 64] = struct.pack(
            "<BBHiQQIIQ24x", opcode, flags, 0, fd, 0, address, size, 0, user_data
        )
        self.word(self.sq[6] + 4 * slot).value = slot
        tail.value += 1
        wake = self.polled and self.word(self.sq[4]).value & 1
        if not self.polled or wake:
            libc.syscall({ENTER}, self.fd, 1, 0, 2 if wake else 0, None, 0)
    def wait(self):
        head = self.word(self.cq[0])
        while head.value == self.word(self.cq[1]).value:
            libc.syscall({ENTER}, self.fd, 0, 1, 1, None, 0)
        head.value += 1
"""


def seen(body: str, *, flags: int = 0) -> tuple[int, dict[str, Events]]:
    """The process and its events by kind, of a body that has a `ring`."""
    # Made before the workload says that it waits.
    ring = f"exec({RING!r})\nring = Ring({flags})\n"
    with Helper() as helper:
        state = helper.load(["uring"])["uring"]
        if not state.usable:
            pytest.skip(f"{state.reason}")
        with Workload(body, before=ring) as workload:
            helper.attach("uring")
            helper.track(workload.pid)
            helper.recording = True
            workload.run()
            helper.recording = False
            assert helper.losses()["uring"].dropped == 0
            events = helper.drain("uring")
            assert set(events["pid"]) == {workload.pid}
            kinds = enumerate(find("uring").kind_names)
            return workload.pid, {name: events[events["kind"] == k] for k, name in kinds}


@pytest.fixture(autouse=True)
def _allowed() -> None:
    code = f"{RING}\nRing()"
    command = [sys.executable, "-I", "-S", "-c", code]
    status = subprocess.run(command, check=False).returncode
    if status in (ENOSYS, EPERM):
        pytest.skip("io_uring is switched off here (sysctl kernel.io_uring_disabled)")
    assert status == 0


def test_each_request_is_seen_from_submission_to_completion() -> None:
    pid, events = seen(f"for n in range({NOPS}):\n    ring.submit(0, 7000 + n); ring.wait()")
    for kind in ("submit", "complete"):
        assert events[kind]["user_data"].tolist() == list(range(7000, 7000 + NOPS))
        assert set(events[kind]["tid"]) == {pid}
    assert set(events["submit"]["opcode"]) == {0} and not events["submit"]["polled"].any()
    assert np.all(events["submit"]["took"] == -1)
    # What it took counts from the submission: that is after the one before was complete.
    ended = events["complete"]["time"].astype(np.int64)
    took = events["complete"]["took"]
    assert np.all(took >= 0) and np.all(took[1:] < np.diff(ended))
    assert not any(len(events[kind]) for kind in ("async", "poll", "fail", "overflow"))


def test_the_kernels_polling_thread_is_the_programs_own() -> None:
    body = f"for n in range({NOPS}):\n    ring.submit(0, n)\n    ring.wait()"
    pid, events = seen(body, flags=SQPOLL)
    assert len(events["submit"]) == len(events["complete"]) == NOPS
    assert np.all(events["submit"]["polled"] == 1)
    (poller,) = set(events["submit"]["tid"].tolist())
    assert poller != pid


def test_what_would_block_is_followed_to_its_worker() -> None:
    body = f"""
for n in range({ASYNC}):
    ring.submit(0, n, flags={ASYNCHRONOUS})
    ring.wait()
"""
    _, events = seen(body)
    assert len(events["submit"]) == len(events["async"]) == len(events["complete"]) == ASYNC
    assert np.all(events["async"]["took"] >= 0)
    assert np.all(events["complete"]["took"] >= events["async"]["took"])


def test_what_waits_for_a_file_is_seen_to_wait() -> None:
    body = f"""
a, b = os.pipe()
block = ctypes.create_string_buffer(8)
for n in range({READS}):
    ring.submit(22, n, fd=a, address=ctypes.addressof(block), size=8)
    os.write(b, b"12345")
    ring.wait()
"""
    _, events = seen(body)
    for kind in ("submit", "poll", "complete"):
        assert events[kind]["user_data"].tolist() == list(range(READS)), kind
    assert set(range(READS)) <= set(events["ready"]["user_data"].tolist())
    assert set(events["complete"]["result"]) == {5}
    assert set(events["poll"]["opcode"]) == {22}


def test_what_is_refused_says_why() -> None:
    _, events = seen(f"for n in range({READS}):\n    ring.submit(255, n)\n    ring.wait()")
    for kind in ("fail", "complete"):
        assert events[kind]["result"].tolist() == [-errno.EINVAL] * READS
