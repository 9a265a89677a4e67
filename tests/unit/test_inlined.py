# SPDX-License-Identifier: MIT
"""Inlined functions have their names, whoever compiled them; damaged debug information has none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsc.tracer.session.addresses import inlined
from memsc.tracer.session.addresses.inlined import Inlined

SOURCE = """
namespace deep {
struct Mixer {
    unsigned long state;
    inline __attribute__((always_inline)) void spin(unsigned long n) {
        for (unsigned long i = 0; i < n; i++)
            state = state * 6364136223846793005ul + (state >> 7);
    }
};
template <typename T> inline __attribute__((always_inline)) void twice(T &m, unsigned long n)
{
    m.spin(n);
    m.spin(n / 2);
}
}
extern "C" __attribute__((noinline)) unsigned long work(unsigned long n)
{
    deep::Mixer mixer{n};
    deep::twice(mixer, n);
    return mixer.state;
}
"""
SPIN, TWICE = "deep::Mixer::spin(unsigned long)", "deep::twice<deep::Mixer>(deep::Mixer&"
COMPILERS = {
    "gcc": ["g++", "-g"],
    "DWARF 4": ["g++", "-gdwarf-4"],
    "compressed": ["g++", "-g", "-gz=zlib"],
    "clang": ["clang++", "-g"],  # it writes no list of what code is of which unit
    "split up": ["g++", "-g", "-ffunction-sections"],
}


def compiled(folder: Path, *compiler: str) -> Path:
    if not shutil.which(compiler[0]):
        pytest.skip(f"needs {compiler[0]}; see requirements-debian-test.txt")
    source, library = folder / "some.cc", folder / "libsome.so"
    source.write_text(SOURCE)
    options = ["-O2", "-shared", "-fPIC", "-Wl,--build-id"]
    subprocess.run([*compiler, *options, "-o", str(library), str(source)], check=True)
    return library


def work_of(library: Path) -> range:
    """The addresses of the function that calls the inlined ones."""
    said = subprocess.run(["nm", "-S", library], check=True, capture_output=True, text=True).stdout
    at, size = next(line.split()[:2] for line in said.splitlines() if line.endswith(" work"))
    return range(int(at, 16), int(at, 16) + int(size, 16))


def learn(library: Path, addresses: range, into: Inlined | None = None) -> list[list[str]]:
    """The names at each address, the innermost first."""
    descriptor = os.open(library, os.O_RDONLY)
    try:
        found = (into or Inlined()).learn(str(library), descriptor, addresses)
    finally:
        os.close(descriptor)
    return [[name for name, _ in found.get(address, ())] for address in addresses]


def by_binutils(library: Path, addresses: range) -> list[list[str]]:
    """The same as addr2line has it."""
    command = ["addr2line", "-afiC", "-e", str(library), *map(hex, addresses)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    groups: list[list[str]] = []
    for line in said.splitlines():
        if line.startswith("0x"):
            groups.append([])
        else:
            groups[-1].append(line)
    return [group[:-2:2] for group in groups]  # names and lines of source in turn, outermost last


@pytest.mark.parametrize("how", COMPILERS)
def test_inlined_functions_are_those_that_binutils_finds(how: str, tmp_path: Path) -> None:
    library = compiled(tmp_path, *COMPILERS[how])
    work = work_of(library)
    found = learn(library, work)
    if how != "clang":  # of its ranges of code addr2line of binutils 2.40 misses some
        assert found == by_binutils(library, work)
    deepest = max(found, key=len)
    assert deepest[0] == SPIN
    assert TWICE in deepest[1]
    assert len(deepest) == 2


def test_debug_information_may_lie_in_another_file_and_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled(tmp_path, "g++", "-g")
    work, debug = work_of(library), tmp_path / "libsome.debug"
    whole = learn(library, work)
    subprocess.run(["objcopy", "--only-keep-debug", library, debug], check=True)
    subprocess.run(["strip", library], check=True)
    assert not any(learn(library, work))
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", library], check=True)
    into = Inlined()
    assert learn(library, work, into) == whole
    copy = tmp_path / "copy.so"
    shutil.copy(library, copy)
    shutil.copy(debug, tmp_path / "copy.debug")
    monkeypatch.setattr(inlined, "_ask", lambda *_: pytest.fail("it is known"))
    assert learn(copy, work, into) == whole


def test_debug_information_may_be_compressed_by_zstd(tmp_path: Path) -> None:
    library = compiled(tmp_path, "g++", "-g")
    work = work_of(library)
    whole = learn(library, work)
    command = ["objcopy", "--compress-debug-sections=zstd", library]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this objcopy has no zstd")
    assert learn(library, work) == whole
    assert any(whole)


def test_what_takes_too_long_is_told_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled(tmp_path, "g++", "-g")
    monkeypatch.setattr(inlined, "_OF_FILE_S", 0.001)
    into = Inlined()
    assert not any(learn(library, work_of(library), into))
    assert into.unread == {str(library)}
    monkeypatch.setattr(inlined, "_ask", lambda *_: pytest.fail("its time is over"))
    assert not any(learn(library, range(1, 9), into))


def test_a_file_without_debug_information_needs_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled(tmp_path, "g++")
    monkeypatch.setattr(inlined, "_ask", lambda *_: pytest.fail("there is nothing to read"))
    assert not any(learn(library, work_of(library)))


@settings(max_examples=8)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=20))
def test_damaged_debug_information_has_names_or_none(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = compiled(tmp_path_factory.mktemp("damaged"), "g++", "-g")
    work = work_of(library)
    data = bytearray(library.read_bytes())
    begin = data.find(b"\x7fELF") + 0x1000
    for place, value in changes:
        data[begin + place % (len(data) - begin)] = value
    library.write_bytes(data)
    learn(library, work)
