# SPDX-License-Identifier: MIT
"""Which kernel headers are chosen, on fabricated machines."""

from __future__ import annotations

import platform
import tarfile
from pathlib import Path

import pytest

from memsc.runtime.errors import MemscError
from memsc.tracer.helper.loading.headers import Headers, find_headers

MARK = "include/generated/autoconf.h"
SHARED = "include/linux/kconfig.h"


class Machine:
    """A machine's folders, all empty at first."""

    def __init__(self, root: Path) -> None:
        self.modules = root / "modules"
        self.archive = root / "kheaders.tar.xz"
        self.sources = root / "src"
        self.unpacked = root / "lib" / "src"  # mostly not there
        self.cache = root / "cache"
        for folder in (self.modules, self.sources, self.cache):
            folder.mkdir()

    def put(self, path: Path, text: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def debian(self, release: str, sources: Path | None = None) -> None:
        """Debian's two halves."""
        stem, sources = release.rpartition("-")[0], sources or self.sources
        own, common = (sources / f"linux-headers-{r}" for r in (release, f"{stem}-common"))
        self.put(own / MARK, release)
        self.put(own / "arch/x86/include/generated/asm/a.h", "own")
        self.put(common / SHARED, release)
        self.put(common / "arch/x86/include/asm/b.h", "common")
        self.put(common / "kernel/not-a-header.c")

    def find(self) -> Headers:
        places = (self.sources, self.unpacked)
        return find_headers(self.modules, self.archive, places, self.cache)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_running_kernels_build_folder_comes_first(machine: Machine) -> None:
    machine.put(machine.modules / platform.release() / "build" / MARK)
    machine.debian("6.1.0-56-amd64")
    assert machine.find() == Headers(None, platform.release(), None)


def test_the_archive_comes_next_and_is_unpacked_once(machine: Machine, tmp_path: Path) -> None:
    for name in (MARK, SHARED):
        machine.put(tmp_path / "tree" / name, "archived")
    with tarfile.open(machine.archive, "w:xz") as file:
        file.add(tmp_path / "tree", ".")
    machine.debian("6.1.0-56-amd64")
    found = machine.find()
    assert found.folder is not None
    assert (found.folder / MARK).read_text() == "archived"
    assert found.warning is None
    machine.archive.write_bytes(b"no archive any more")
    assert machine.find() == found


def test_else_the_newest_installed_are_merged_with_a_warning(machine: Machine) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "5.10.0-99-amd64"):
        machine.debian(release)
    found = machine.find()
    assert found.release == "6.1.0-56-amd64"
    assert found.warning is not None
    assert platform.release() in found.warning
    assert found.folder is not None
    assert (found.folder / MARK).read_text() == "6.1.0-56-amd64"
    assert (found.folder / "arch/x86/include/generated/asm/a.h").read_text() == "own"
    assert (found.folder / "arch/x86/include/asm/b.h").read_text() == "common"
    assert not (found.folder / "kernel").exists()
    assert [path.name for path in machine.cache.iterdir()] == [found.folder.name]


def test_what_setup_unpacked_counts_as_well(machine: Machine) -> None:
    machine.debian("6.1.0-56-amd64")
    machine.debian("6.12.118+deb13-amd64", machine.unpacked)
    assert machine.find().release == "6.12.118+deb13-amd64"


def test_a_complete_folder_is_used_as_it_is(machine: Machine) -> None:
    folder = machine.sources / "kernels/6.9.1-fc40.x86_64"
    machine.put(folder / MARK)
    machine.put(folder / SHARED)
    assert machine.find().folder == folder


def test_a_merge_whose_headers_have_gone_is_made_again(machine: Machine) -> None:
    machine.debian("6.1.0-56-amd64")
    tree = machine.find().folder
    assert tree is not None
    (tree / MARK).unlink()
    assert machine.find().folder == tree
    assert (tree / MARK).exists()


def test_half_of_debians_headers_are_none(machine: Machine) -> None:
    machine.put(machine.sources / "linux-headers-6.1.0-56-amd64" / MARK)
    with pytest.raises(MemscError) as caught:
        machine.find()
    processor = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert caught.value.remedy == f"apt install linux-headers-{processor}"
