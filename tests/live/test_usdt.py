# SPDX-License-Identifier: MIT
"""Static probes: found where the compiler put them, counted exactly, and without a trace after."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.command import MEMSC
from tests.helpers.required import layered, two_cpus
from tests.helpers.workload import GETPPID, gone, wait_until

from memsc.analysis.domains.agreement import Agreement
from memsc.probes.declaration import find
from memsc.probes.stages import EVERY
from memsc.runtime.errors import MemscError
from memsc.runtime.files import LAYER, LIBRARY, WORK
from memsc.tracer.format import open_trace
from memsc.tracer.helper.loading import usdt
from memsc.tracer.session.observe.probe_client import Helper

LIBRARIES = [path for path in (LIBRARY, LAYER) if path.exists()]
STAGES = ("posted", "picked", "executed", "completed", "calibrate")
PROBES = ("called", *STAGES)
CALLS = 1009
WARM_UP = 2000  # memsc-work's


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name)
def test_our_decoder_finds_what_readelf_finds(library: Path) -> None:
    text = subprocess.run(["readelf", "-n", library], check=True, capture_output=True, text=True)
    expected = re.findall(
        r"Provider: (\S+)\s+Name: (\S+)\s+Location: (\S+), .*?Semaphore: (\S+)\s+Arguments: (.*)",
        text.stdout,
    )
    found = usdt.sites(library)
    assert {site.name for site in found} == set(PROBES)
    # The code lies in the file where it lies in memory, the data does not.
    assert [(s.provider, s.name, s.offset, s.arguments) for s in found] == [
        (provider, name, int(place, 16), arguments)
        for provider, name, place, _, arguments in expected
    ]
    shown = subprocess.run(["readelf", "-SW", library], check=True, capture_output=True, text=True)
    section = re.search(r"\.probes\s+PROGBITS\s+(\w+) (\w+)", shown.stdout)
    assert section is not None
    assert {int(semaphore, 16) for *_, semaphore, _ in expected} == {int(section[1], 16)}
    assert {site.semaphore for site in found} == {int(section[2], 16)}


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name)
def test_each_site_is_as_the_kernel_and_the_programs_need_it(library: Path) -> None:
    for name in PROBES:
        assert usdt.own_sites(library, name)


def note(pc: int, base: int, semaphore: int, name: bytes = b"posted") -> bytes:
    descriptor = struct.pack("<3Q", pc, base, semaphore) + b"memsc\0" + name + b"\0a\0"
    padded = descriptor + b"\0" * (-len(descriptor) % 4)
    return struct.pack("<3I", 8, len(descriptor), 3) + b"stapsdt\0" + padded


def test_a_library_that_was_moved_after_it_was_linked_is_read_right(tmp_path: Path) -> None:
    data = bytearray(LIBRARY.read_bytes())
    before = usdt.sites(LIBRARY)
    for found in re.finditer(rb"stapsdt\0(.{24})memsc\0", bytes(data), re.DOTALL):
        words = struct.unpack("<3Q", found[1])
        struct.pack_into("<3Q", data, found.start(1), *(word + 0x1000 for word in words))
    moved = tmp_path / "moved.so"
    moved.write_bytes(data)
    assert usdt.sites(moved) == before


def test_a_probe_that_is_not_as_needed_is_refused(tmp_path: Path) -> None:
    site = usdt.own_sites(LIBRARY, "picked")[0]
    data = bytearray(LIBRARY.read_bytes())
    data[site.offset] = 0xCC
    changed = tmp_path / "changed.so"
    changed.write_bytes(data)
    with pytest.raises(MemscError, match="not on a 1-byte nop"):
        usdt.own_sites(changed, "picked")
    with pytest.raises(MemscError, match="no probe memsc:nonsense"):
        usdt.own_sites(LIBRARY, "nonsense")
    with pytest.raises(MemscError, match="no probe"):
        usdt.own_sites(Path(shutil.which("true") or "/bin/true"), "posted")


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=40))
def test_a_damaged_library_is_an_error_and_no_crash(changes: list[tuple[int, int]]) -> None:
    data = bytearray(LIBRARY.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    with memory_file(bytes(data)) as path:
        try:
            usdt.sites(path)
        except MemscError as error:
            assert error.remedy


class memory_file:  # noqa: N801 - used as a function
    """A file in memory, under the name it has in /proc."""

    def __init__(self, data: bytes) -> None:
        self._descriptor = os.memfd_create("damaged")
        os.write(self._descriptor, data)

    def __enter__(self) -> Path:
        return Path(f"/proc/self/fd/{self._descriptor}")

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def work(*arguments: str, transport: str = "memsc", every: int = 1) -> subprocess.Popen[bytes]:
    environment = {
        "MEMSC_TRANSPORT": transport,
        "MEMSC_SERVICE_CPUS": "0",
        "MEMSC_PROBE_EVERY": str(every),
    }
    return subprocess.Popen(
        ["taskset", "-c", "1", str(WORK), *arguments], env={**os.environ, **environment}
    )


@pytest.mark.bpf
@two_cpus
@pytest.mark.parametrize(("transport", "every"), [("memsc", 7), ("ipi", 1)])
def test_each_probed_call_passes_each_probe_once(
    transport: str, every: int, tmp_path: Path
) -> None:
    with Helper() as helper:
        assert helper.load(["stages"])["stages"].ways == ["usdt"]
        helper.attach("stages")
        helper.track(os.getpid())
        helper.recording = True
        process = work("sync", str(CALLS), str(tmp_path / "t"), transport=transport, every=every)
        assert process.wait() == 0
        helper.recording = False
        events = helper.drain("stages")
        losses = helper.losses()["stages"]
    probed = -(-(CALLS + WARM_UP) // every)
    assert losses.total == 0
    assert Counter(events["kind"].tolist()) == dict.fromkeys(range(4), probed)
    assert set(events["number"]) == {GETPPID}
    assert set(events["caller"]) == {process.pid}
    parent = os.getpid()
    finished = events["kind"] >= 2
    assert set(events["result"][finished]) == {parent}
    assert set(events["result"][~finished]) == {0}
    # The caller passes the first and the last, a service thread the others.
    assert (events["service"] == ((events["kind"] == 1) | (events["kind"] == 2))).all()


def semaphore(pid: int) -> int:
    """The semaphore in the memory of a process that has the library mapped."""
    site = usdt.own_sites(LIBRARY, "posted")[0]
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        places, permissions, offset, _, _, *name = line.split(maxsplit=5)
        low, high = (int(part, 16) for part in places.split("-"))
        within = site.semaphore - int(offset, 16)
        if name and name[0] == str(LIBRARY) and "w" in permissions and 0 <= within < high - low:
            with Path(f"/proc/{pid}/mem").open("rb") as memory:
                memory.seek(low + within)
                return int.from_bytes(memory.read(2), sys.byteorder)
    return -1


@pytest.mark.bpf
def test_the_kernel_keeps_the_semaphore_also_when_the_tracer_is_killed() -> None:
    script = (
        "import sys, time\n"
        "from memsc.tracer.session.observe.probe_client import Helper\n"
        "helper = Helper()\n"
        "helper.load(['stages'])\n"
        "helper.attach('stages')\n"
        "print(helper.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    waiting = subprocess.Popen([str(WORK), "hits", "1"], stdin=subprocess.PIPE)
    tracer = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: semaphore(waiting.pid) == 0, "the work to start, unobserved")
        assert tracer.stdout is not None
        helper = int(tracer.stdout.readline())
        attached = [hook.place.partition(":")[2] for hook in find("stages").hooks]
        places = sum(len(usdt.own_sites(LIBRARY, name)) for name in attached)
        assert semaphore(waiting.pid) == places
        os.kill(helper, signal.SIGKILL)
        tracer.kill()
        wait_until(lambda: gone(helper) and semaphore(waiting.pid) == 0, "the kernel to detach")
    finally:
        tracer.kill()
        tracer.communicate()
        waiting.communicate()


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it prints once it has been interrupted; bpftrace overhears that while it begins."""
    for _ in range(60):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


@pytest.mark.bpf
@two_cpus
@pytest.mark.skipif(shutil.which("bpftrace") is None, reason="bpftrace is not installed")
def test_bpftrace_reads_the_probes(tmp_path: Path) -> None:
    program = f"usdt:{LIBRARY}:memsc:executed /arg2 == {GETPPID}/ {{ @calls[arg3] = count(); }}"
    waiting = subprocess.Popen([str(WORK), "hits", "1"], stdin=subprocess.PIPE)
    observer = subprocess.Popen(["bpftrace", "-e", program], stdout=subprocess.PIPE, text=True)
    try:
        places = len(usdt.own_sites(LIBRARY, "executed"))
        wait_until(lambda: semaphore(waiting.pid) == places, "bpftrace to attach")
        assert work("sync", str(CALLS), str(tmp_path / "t")).wait() == 0
        said = interrupted(observer)
    finally:
        observer.kill()
        observer.communicate()
        waiting.communicate()
    assert f"@calls[{os.getpid()}]: {CALLS + WARM_UP}" in said


@pytest.mark.bpf
@two_cpus
@layered
def test_a_traced_program_has_its_stamps_checked_by_the_probes(tmp_path: Path) -> None:
    folder = tmp_path / "dd.memsc"
    program = ("dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=5003", "status=none")
    command = [*MEMSC, "trace", "-o", str(folder)]
    command += ["--transport", "direct,memsc", "--probes", "stages", "--", *program]
    subprocess.run(command, check=True, capture_output=True)
    found = open_trace(folder)
    status = found.session.probes["stages"]
    assert status.attached and status.lost == 0
    agreement = Agreement(found)
    hit, frame = agreement.hit(), agreement.df_agreement()
    assert hit is not None and 0 < hit.entry_ns < hit.cost_ns <= hit.cost_p95_ns
    counts = {(row.arm, row.stamp): (row.n, row.unmatched) for row in frame.itertuples()}
    made = {r.arm: r.made for r in found.session.rounds if r.check}
    expected = {
        (arm, stamp): (-(-(made[arm] or 0) // EVERY), 0)
        for arm, stamps in (("direct", STAGES[1:3]), ("memsc", STAGES[:4]))
        for stamp in stamps
    }
    assert counts == expected
    # How late an observation comes depends on the machine's load; that it comes late does not.
    assert (frame["p50_ns"] > -hit.error_ns).all()
