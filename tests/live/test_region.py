# SPDX-License-Identifier: MIT
"""Regions seen from outside: drained calls against exact counts, switches, and hostile files."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memsc.runtime import topology
from memsc.runtime.errors import MemscError
from memsc.runtime.launch import TRANSPORTS, Launch
from memsc.runtime.layout import VERSION, layout
from memsc.runtime.library import WORK, syscall_number
from memsc.runtime.region import MOST, Region, regions

GETPPID = syscall_number("getppid")
WARM_UP = 2000  # of memsc-work
PLACED = topology.place(topology.read(), "ipi")
STAMPS = ("called", "posted", "picked", "executed", "completed")

ARMS = [(t, s) for t in TRANSPORTS for s in ("inline", "scanner")]
needs_two_cpus = pytest.mark.skipif(
    len(PLACED.app_cpus + PLACED.service_cpus) < 2 or PLACED.app_cpus == PLACED.service_cpus,
    reason="needs two CPUs",
)


def launch(folder: Path, **changes: Any) -> Launch:
    steered: dict[str, Any] = {
        "service_cpus": PLACED.service_cpus,
        "directory": folder,
        "recording": True,
        "ring_records": 1 << 14,
        "keep": True,
    }
    return Launch(**(steered | changes))


def start(how: Launch, *work: str) -> subprocess.Popen[bytes]:
    os.sched_setaffinity(0, PLACED.app_cpus)
    try:
        return subprocess.Popen([str(WORK), *work], env=os.environ | how.environment())
    finally:
        os.sched_setaffinity(0, topology.read().reachable)


def work(how: Launch, *arguments: str) -> Region:
    """Run the reference work to its end; its region."""
    assert start(how, *arguments).wait(300) == 0
    assert how.directory is not None
    (path,) = regions(how.directory)
    return Region(path)


@needs_two_cpus
@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_every_call_is_drained_once_and_its_stamps_lie_in_order(
    tmp_path: Path, transport: str, service: str
) -> None:
    how = launch(tmp_path, transport=transport, service=service)
    with work(how, "sync", "1009", str(tmp_path / "times")) as region:
        assert region.finished
        assert region.program == "memsc-work"
        assert region["transport"] == TRANSPORTS.index(transport)
        calls = region.drain()
        assert len(calls) == 1009 + WARM_UP
        assert len(region.drain()) == 0
        counts = region.counts()
        assert counts.made == len(calls)
        assert counts.dropped == 0
        assert region.forwarded()[GETPPID] == counts.made
        assert int(region.local().sum()) == counts.local
    assert set(calls["number"]) == {GETPPID}
    assert set(calls["result"]) == {os.getpid()}
    assert set(calls["app_cpu"]) <= set(PLACED.app_cpus)
    if transport != "direct":
        assert set(calls["service_cpu"]) <= set(PLACED.service_cpus)
    stamps = np.stack([calls[name].astype(np.int64) for name in STAMPS])
    stages = np.diff(stamps, axis=0)
    # Only stamps of one CPU lie in order whatever its counter's skew.
    assert (stages[0] >= 0).all()
    assert (stages[2] >= 0).all()
    assert (stamps[-1] >= stamps[0]).all()
    assert (stamps[0, 1:] >= stamps[-1, :-1]).all()


@needs_two_cpus
@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_what_does_not_fit_is_counted(tmp_path: Path, transport: str, service: str) -> None:
    how = launch(tmp_path, transport=transport, service=service, ring_records=64)
    with work(how, "batch", "7", "1009", str(tmp_path / "times")) as region:
        assert region.fill == 1.0
        calls = region.drain()
        assert len(calls) == 64
        counts = region.counts()
        assert counts.made == len(calls) + counts.dropped
        assert region.fill == 0.0


@pytest.fixture
def claimed(tmp_path: Path) -> Iterator[Path]:
    """A folder locked by who reads its regions: else nobody waits for that."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield tmp_path
    os.close(descriptor)


@needs_two_cpus
def test_a_ring_that_waits_loses_nothing(claimed: Path) -> None:
    how = launch(claimed, ring_records=64, ring_policy="wait")
    process = start(how, "sync", "5003", str(claimed / "times"))
    drained = 0
    with opened(claimed) as region:
        while process.poll() is None:
            drained += len(region.drain())
        drained += len(region.drain())
        assert region.counts().dropped == 0
        assert region.counts().made == drained == 5003 + WARM_UP
    assert process.returncode == 0


@needs_two_cpus
def test_a_ring_that_waits_may_be_emptied_for_nothing(claimed: Path) -> None:
    how = launch(claimed, ring_records=64, ring_policy="wait")
    process = start(how, "sync", "5003", str(claimed / "times"))
    with opened(claimed) as region:
        while process.poll() is None:
            region.skip()
        assert region.counts().made == 5003 + WARM_UP
        assert region.counts().dropped == 0
    assert process.returncode == 0


@needs_two_cpus
@pytest.mark.parametrize("transport", ["direct", "ipi", "memsc"])
def test_recording_is_switched_from_outside(tmp_path: Path, transport: str) -> None:
    """Off it records nothing more, and on it goes on, while the program makes its calls."""
    how = launch(tmp_path, transport=transport)
    process = start(how, "sync", "100000000", str(tmp_path / "times"))
    try:
        with opened(tmp_path) as region:
            until(lambda: len(region.drain()) > 0)
            region.recording = False
            made = region.counts().made
            until(lambda: region.counts().made > made + 64)  # whatever was in flight is over
            region.drain()
            made = region.counts().made
            until(lambda: region.counts().made > made + 1000)
            assert len(region.drain()) == 0
            assert not region.recording
            region.recording = True
            until(lambda: len(region.drain()) > 0)
            assert region.recording
            assert not region.finished
    finally:
        process.kill()
        process.wait()


@needs_two_cpus
def test_a_killed_programs_calls_are_readable(tmp_path: Path) -> None:
    process = start(launch(tmp_path), "sync", "100000000", str(tmp_path / "times"))
    with opened(tmp_path) as region:
        until(lambda: region.counts().made > 100)
        process.kill()
        process.wait()
        calls = region.drain()
        counts = region.counts()
        assert not region.finished
        # The kill may fall between a call's count and its record.
        assert 0 <= counts.made - counts.dropped - len(calls) <= 1


def opened(folder: Path) -> Region:
    """The region of a program that is about to make it."""
    found: list[Region] = []

    def look() -> bool:
        for path in regions(folder):
            try:
                found.append(Region(path))
            except MemscError:  # its maker is not done
                continue
        return bool(found)

    until(look)
    return found[0]


def until(holds: Any) -> None:
    """Wait for something that will come; that it never does is what the limit is for."""
    limit = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < limit, "it never came"


# ---- hostile files ----

SLOTS, RECORDS, SLOTS_AT = 4, 64, 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small region, made up: whole, and with a record in it."""
    shapes = layout()
    slots_at = SLOTS_AT
    rings_at = slots_at + SLOTS * shapes.slot.itemsize
    image = bytearray(rings_at + SLOTS * RECORDS * shapes.call.itemsize)
    header = np.frombuffer(image, shapes.region, 1)
    for name, value in {
        "magic": 0x3130637333656D6D,
        "version": VERSION,
        "pid": os.getpid(),
        "slots": SLOTS,
        "ring_records": RECORDS,
        "slots_offset": slots_at,
        "rings_offset": rings_at,
        "slots_used": 1,
    }.items():
        header[name] = value
    slots = np.frombuffer(image, shapes.slot, SLOTS, slots_at)
    slots["written"][0] = 3
    path = tmp_path_factory.mktemp("sound") / "1-2-0.region"
    path.write_bytes(image)
    return path


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    path = tmp_path / sound.name
    path.write_bytes(sound.read_bytes())
    return path


def test_the_made_up_region_is_sound(copy: Path) -> None:
    with Region(copy) as region:
        assert region.pid == os.getpid()
        assert len(region.drain()) == 3


def patched(path: Path, **fields: int) -> None:
    shape = {str(name): found for name, found in (layout().region.fields or {}).items()}
    with path.open("r+b") as file:
        for name, value in fields.items():
            kind, offset = shape[name][:2]
            file.seek(offset)
            file.write(struct.pack("<Q" if kind.itemsize == 8 else "<I", value))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"magic": 0}, "not a region"),
        ({"version": 0}, "layout 0"),
        ({"version": VERSION + 1}, f"layout {VERSION + 1}"),
        ({"ring_records": 0}, "contradicts"),
        ({"ring_records": 63}, "contradicts"),
        ({"ring_records": 1 << 63}, "contradicts"),
        ({"slots": 0xFFFFFFFF}, "contradicts"),
        ({"slots": 513}, "contradicts"),
        ({"slots_offset": 4097}, "contradicts"),
        ({"slots_offset": (1 << 64) - 8}, "contradicts"),
        ({"slots_offset": 0}, "contradicts"),
        ({"rings_offset": 0}, "contradicts"),
        ({"rings_offset": (1 << 64) - 64}, "contradicts"),
        ({"slots": 0, "slots_offset": 1 << 40, "rings_offset": 1 << 40}, "contradicts"),
    ],
)
def test_a_hostile_header_is_refused(copy: Path, fields: dict[str, int], says: str) -> None:
    patched(copy, **fields)
    with pytest.raises(MemscError, match=says):
        Region(copy)


@pytest.mark.parametrize("size", [0, 1, 8, 4095, 4096, 60_000])
def test_a_truncated_file_is_refused(copy: Path, size: int) -> None:
    os.truncate(copy, size)
    with pytest.raises(MemscError, match=r"not a region|contradicts"):
        Region(copy)


@pytest.mark.parametrize("size", [0, 1, 4096, 4096 + 4096, 60_000])
def test_one_that_is_cut_short_while_it_is_open_is_read_as_zeros(copy: Path, size: int) -> None:
    with Region(copy) as region:
        os.truncate(copy, size)
        assert len(region.drain()) == (0 if size <= SLOTS_AT else 3)
        for _ in everything(region):
            pass


def test_a_thin_file_with_enormous_counts_is_taken_piece_by_piece(copy: Path) -> None:
    records = 1 << 30
    os.truncate(copy, 1 << 37)
    patched(copy, slots=1, ring_records=records)
    with copy.open("r+b") as file:
        file.seek(SLOTS_AT + (layout().slot.fields or {})["written"][1])
        file.write(struct.pack("<Q", records))
    with Region(copy) as region:
        assert len(region.drain()) == MOST
        assert region.drains == records // MOST


def test_a_link_a_folder_a_pipe_and_nothing_are_refused(copy: Path, tmp_path: Path) -> None:
    link, folder, pipe = (tmp_path / f"{name}.region" for name in ("link", "folder", "pipe"))
    link.symlink_to(copy)
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (link, folder, pipe, tmp_path / "none.region"):
        with pytest.raises(MemscError, match=path.name):
            Region(path)


def test_regions_passes_over_what_goes_away_meanwhile(copy: Path) -> None:
    (copy.parent / "gone.region").symlink_to("nowhere")
    assert copy in regions(copy.parent)


def everything(region: Region) -> Iterator[object]:
    """All that the tracer asks of a region."""
    yield region.pid, region.finished, region.program, region.recording, region.fill
    yield region.counts(), region.forwarded(), region.local(), region.slots
    yield region.drain(), region.drain()


HEAD_AND_SLOT = 4096 + 4096


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, HEAD_AND_SLOT - 8), st.integers(0, (1 << 64) - 1)), max_size=12
    )
)
def test_scribbles_never_crash_the_reader(copy: Path, scribbles: list[tuple[int, int]]) -> None:
    image = bytearray(copy.read_bytes())
    for offset, value in scribbles:
        struct.pack_into("<Q", image, offset, value)
    scribbled = copy.with_name("scribbled.region")
    scribbled.write_bytes(image)
    try:
        with Region(scribbled) as region:
            assert 0 <= region.fill <= 1
            for _ in everything(region):
                pass
    except MemscError:
        pass


FIELDS = ("slots", "ring_records", "slots_offset", "rings_offset", "slots_used")
SIZES = st.one_of(
    st.integers(0, 1 << 20), st.integers(0, 63).map(lambda bit: 1 << bit), st.just((1 << 64) - 64)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(FIELDS), SIZES, min_size=1), st.integers(0, 1 << 17))
def test_scribbles_while_it_is_open_never_crash_the_reader(
    copy: Path, fields: dict[str, int], written: int
) -> None:
    with Region(copy) as region:
        patched(copy, **{name: value & 0xFFFFFFFF for name, value in fields.items()})
        with copy.open("r+b") as file:
            offset = (layout().slot.fields or {})["written"][1]
            file.seek(SLOTS_AT + offset)
            file.write(struct.pack("<Q", written))
        for _ in everything(region):
            pass
    patched(copy, slots=SLOTS, ring_records=RECORDS, slots_offset=4096, slots_used=1)
    patched(copy, rings_offset=4096 + SLOTS * layout().slot.itemsize)
