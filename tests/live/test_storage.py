# SPDX-License-Identifier: MIT
"""Calls that reach storage: each transfer and each page is counted, and nothing else is."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.workload import Workload

from memsc.tracer.session.observe.event_ring import Events
from memsc.tracer.session.observe.probe_client import Helper

pytestmark = pytest.mark.bpf
WRITES, PAGES = 17, 13

DIRECT = """
import mmap
file = os.open({path!r}, os.O_WRONLY | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
for number in range({n}):
    os.pwrite(file, block, number * 8192)
"""
READ = "open({path!r}, 'rb', buffering=0).read()"


def events_of(probe: str, body: str, before: Callable[[], None] = lambda: None) -> Events:
    with Helper() as helper, Workload(body) as workload:
        state = helper.load([probe])[probe]
        if not state.usable:
            pytest.skip(f"{state.reason}")
        helper.attach(probe)
        helper.track(workload.pid)
        before()
        helper.recording = True
        workload.run()
        helper.recording = False
        assert helper.losses()[probe].dropped == 0
        return helper.drain(probe)


def stored(path: Path, size: int) -> Path:
    """A file that is on its device, and not in the page cache."""
    path.write_bytes(os.urandom(size))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    return path


def on_a_device(path: Path) -> bool:
    command = ["stat", "-f", "-c", "%T", path]
    kind = subprocess.run(command, capture_output=True, text=True, check=True)
    return kind.stdout.startswith(("ext", "xfs"))


def test_each_direct_write_is_one_request(tmp_path: Path) -> None:
    if not on_a_device(tmp_path):
        pytest.skip("the temporary folder is on no block device")
    path = stored(tmp_path / "file", WRITES * 8192)
    events = events_of("blockio", DIRECT.format(path=str(path), n=WRITES))
    mine = events[(events["operation"] == ord("W")) & (events["bytes"] == 4096)]
    kinds = {kind: mine[mine["kind"] == kind] for kind in range(3)}
    assert [len(kinds[kind]) for kind in range(3)] == [WRITES] * 3
    # Apart by what lies between them, or they would be merged.
    assert len(set(kinds[0]["sector"])) == WRITES
    assert set(kinds[0]["sector"]) == set(kinds[2]["sector"])
    assert (kinds[0]["took"] == -1).all()
    assert (kinds[1]["took"] >= 0).all() and (kinds[2]["took"] > 0).all()
    assert (kinds[2]["error"] == 0).all()


def test_each_page_that_is_read_from_storage_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = PAGES * mmap.PAGESIZE
    if not on_a_device(tmp_path):
        pytest.skip("the temporary folder is on no block device")
    stored(path, size)
    inode = path.stat().st_ino
    events = events_of("pagecache", READ.format(path=str(path)))
    mine = events[(events["inode"] == inode) & (events["kind"] == 0)]
    assert mine["pages"].sum() >= PAGES
    covered = {
        int(i) + k for i, n in zip(mine["index"], mine["pages"], strict=True) for k in range(n)
    }
    assert set(range(PAGES)) <= covered
    # Once it is there, nothing enters any more.
    again = events_of("pagecache", READ.format(path=str(path)))
    assert not (again["inode"] == inode).any()


SPREAD = """
file = os.open({path!r}, os.O_WRONLY)
for number in range({n}):
    os.pwrite(file, b"x", number << 20)
"""
DEVICE = "/sys/class/bdi/{}/{}"


def named(device: int) -> bytes:
    return f"{os.major(device)}:{os.minor(device)}".encode()


def test_each_page_that_is_changed_is_counted_and_its_writing_is_seen(tmp_path: Path) -> None:
    if not on_a_device(tmp_path):
        pytest.skip("the temporary folder is on no block device")
    path = tmp_path / "file"
    path.touch()
    body = SPREAD.format(path=str(path), n=WRITES) + "os.sync()"
    events = events_of("writeback", body)
    mine = events[events["inode"] == path.stat().st_ino]
    mine = mine[mine["device"] == named(path.stat().st_dev)]
    dirty, written = mine[mine["kind"] == 0], mine[mine["kind"] == 2]
    assert sorted(dirty["index"].tolist()) == [number << 8 for number in range(WRITES)]
    assert written["pages"].sum() == WRITES
    assert (written["took"] >= 0).all()
    # The same page again, before it is written, is changed already.
    body = SPREAD.format(path=str(path), n=1) + "os.pwrite(file, b'y', 1)"
    events = events_of("writeback", body)
    assert ((events["inode"] == path.stat().st_ino) & (events["kind"] == 0)).sum() == 1


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    """A file system whose device bears few changed pages."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mount = ["mount", "-o", "loop", image, folder]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no loop devices here: {mounted.stderr.strip()}")
    device = named(folder.stat().st_dev).decode()
    settings = [Path(DEVICE.format(device, name)) for name in ("strict_limit", "max_ratio_fine")]
    try:
        if not all(setting.exists() for setting in settings):
            pytest.skip("this kernel cannot limit one device's changed pages")
        # The loop device outlives its file.
        before = [setting.read_text() for setting in settings]
        for setting, value in zip(settings, ("1", "250"), strict=True):
            setting.write_text(value)
        yield folder
        for setting, value in zip(settings, before, strict=True):
            setting.write_text(value)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_who_changes_too_much_is_seen_to_be_held_back(small_device: Path) -> None:
    path = small_device / "file"
    path.touch()
    body = f"open({str(path)!r}, 'wb', buffering=0).write(bytes(64 << 20))"
    events = events_of("writeback", body)
    mine = events[events["device"] == named(path.stat().st_dev)]
    held = mine[mine["kind"] == 3]
    assert len(held) and (held["took"] > 0).all() and (held["pages"] > 0).all()
    assert set(held["inode"]) == {0}
