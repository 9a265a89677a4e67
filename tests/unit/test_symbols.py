# SPDX-License-Identifier: MIT
"""Names of functions, from wherever they are kept; and what is mapped where and when."""

from __future__ import annotations

import lzma
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from memsc.tracer.session.addresses import perf_maps, symbols
from memsc.tracer.session.addresses.address_spaces import ANON, UNKNOWN, Module, Space, Spaces
from memsc.tracer.session.addresses.mapping_records import Executed, Forked, Lost, Mapped, parse
from memsc.tracer.session.addresses.nameless import Nameless
from memsc.tracer.session.addresses.naming import Naming
from memsc.tracer.session.unwind import rules

SOURCE = """
__attribute__((noinline)) static int hidden(int a) { return a * 3; }
__attribute__((visibility("default"), noinline)) int shown(int a) { return hidden(a) + 1; }
"""


def compiled(folder: Path, *options: str) -> Path:
    source, library = folder / "some.c", folder / "libsome.so"
    source.write_text(SOURCE)
    command = ["gcc", "-O1", "-g", "-shared", "-fPIC", "-Wl,--build-id", *options]
    subprocess.run([*command, "-o", str(library), str(source)], check=True)
    return library


def place(library: Path, name: str) -> int:
    """The function's place in the file, as nm and readelf have it."""
    text = subprocess.run(["nm", library], check=True, capture_output=True, text=True).stdout
    address = next(int(line.split()[0], 16) for line in text.splitlines() if line.endswith(name))
    headers = subprocess.run(
        ["readelf", "-lW", library], check=True, capture_output=True, text=True
    )
    for line in headers.stdout.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            offset, start, _, size = (int(word, 16) for word in words[1:5])
            if start <= address < start + size:
                return address - start + offset
    raise AssertionError(name)


def of(path: Path) -> symbols.Symbols:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return symbols.of_file(descriptor)
    finally:
        os.close(descriptor)


def strip(library: Path, *options: str) -> None:
    subprocess.run(["strip", *options, str(library)], check=True)


def test_all_functions_of_a_file_with_symbols_are_known(tmp_path: Path) -> None:
    library = compiled(tmp_path, "-Wl,-z,separate-code")
    found = of(library)
    for name in ("hidden", "shown"):
        assert found.name(place(library, name) + 2) == (name, 2)
    assert found.name(1 << 40) is None


def test_a_stripped_library_has_the_names_that_it_exports(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    places = {name: place(library, name) for name in ("hidden", "shown")}
    strip(library)
    found = of(library)
    assert found.name(places["shown"]) == ("shown", 0)
    assert found.name(places["hidden"]) is None


def test_a_function_without_a_name_is_known_by_where_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = compiled(tmp_path)
    places = {name: place(library, name) for name in ("hidden", "shown")}
    strip(library)
    spaces, told = Spaces(), list[str]()
    status = library.stat()
    inode = (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    size = -(-status.st_size // 4096) * 4096
    spaces.add([Mapped(0, 7, 1 << 30, size, 0, inode, str(library))])
    with library.open("rb") as file:
        found = rules.of_file(file)
    naming = Naming(spaces, lambda _: found, told.append)
    inside = [(1 << 30) + places["hidden"] + 2, (1 << 30) + places["shown"] + 1]
    hidden, shown = naming.frames((7, 0), inside)
    assert hidden == ("", str(library), 2, places["hidden"])
    assert shown == ("shown", str(library), 1, places["shown"])

    nameless = Nameless()
    nameless.learn(0, [hidden, shown])
    nameless.learn(1, [shown])
    nameless.see([(0, 1), (1, 98)])
    assert nameless.told(spaces) is None  # one of a hundred frames
    nameless.see([(0, 20)])
    monkeypatch.setenv("PATH", str(tmp_path))  # no package manager
    said = nameless.told(spaces)
    assert said is not None
    assert said.startswith(f"15 % of frames lie in {library}, in functions without names")
    with library.open("rb") as file:
        assert f"its debug file (build-id {symbols.build_id(ELFFile(file))})" in said
    spaces.close()


def test_a_name_without_a_size_ends_where_the_next_function_begins() -> None:
    starts = np.array([100, 200], np.uint64)
    found = symbols.Symbols(starts, starts, ["label", "last"])
    assert found.name(130) == ("label", 30)
    assert found.name(130, 100) == ("label", 30)
    assert found.name(130, 90) == ("label", 30)  # a label within a function
    assert found.name(130, 120) is None


@pytest.mark.parametrize("how", ["build-id", "link", "link in .debug", "fetched"])
def test_a_stripped_library_has_the_names_of_its_debug_file(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_identity = how in ("build-id", "fetched")
    library = compiled(tmp_path, *([] if by_identity else ["-Wl,--build-id=none"]))
    places = {name: place(library, name) for name in ("hidden", "shown")}
    monkeypatch.setattr(symbols, "DEBUG", tmp_path / "debug")
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "fetched"))
    if by_identity:
        notes = subprocess.run(
            ["readelf", "-n", library], check=True, capture_output=True, text=True
        )
        identity = notes.stdout.split("Build ID: ")[1].split()[0]
        debug = tmp_path / "debug" / ".build-id" / identity[:2] / f"{identity[2:]}.debug"
        if how == "fetched":
            debug = tmp_path / "fetched" / identity / "debuginfo"
    else:
        debug = tmp_path / (".debug" if how.endswith("debug") else "") / "libsome.debug"
    debug.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["objcopy", "--only-keep-debug", library, debug], check=True)
    strip(library)
    if not by_identity:
        subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", library], check=True)
    assert {name: of(library).name(at) for name, at in places.items()} == {
        "hidden": ("hidden", 0),
        "shown": ("shown", 0),
    }
    # A debug file of another build says nothing of this one.
    debug.write_bytes(debug.read_bytes()[:-1] + b"x" if not by_identity else b"\x7fELF")
    assert of(library).name(places["hidden"]) is None


def test_the_vdso_has_names() -> None:
    found = symbols.of_vdso()
    assert any("clock_gettime" in name for name in found.names)


def test_the_kernels_names_are_none_where_it_hides_them(tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    shown.write_text(
        "ffffffff81000010 T second\nffffffff81000000 t first\nffffffff82000000 D data\n"
    )
    hidden.write_text("0000000000000000 T second\n0000000000000000 t first\n")
    found = symbols.of_kernel(shown)
    assert found.name(0xFFFFFFFF8100000F) == ("first", 15)
    assert found.name(0xFFFFFFFF81000010) == ("second", 0)
    assert found.name(0x1000) is None
    assert not symbols.of_kernel(hidden).names
    assert not symbols.of_kernel(tmp_path / "none").names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_ZN3foo3barEi", "foo::bar(int)"),
        ("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "core::fmt::Formatter::write_str"),
        ("_RNvNtC7mycrate3foo3bar", "mycrate::foo::bar"),
        ("_RINvNtC3std3mem8align_ofjE", "std::mem::align_of::<usize>"),
        ("_D4test3fooFiZv", "test.foo(int)"),
        ("_Znonsense", "_Znonsense"),
        ("_Dynamic", "_Dynamic"),
        ("plain", "plain"),
    ],
)
def test_mangled_names_are_shown_as_they_were_written(name: str, shown: str) -> None:
    assert symbols.demangle(name) == shown


@given(st.text(max_size=200), st.sampled_from(["_Z", "_R", "_D"]))
def test_any_name_can_be_shown(text: str, prefix: str) -> None:
    assert isinstance(symbols.demangle(prefix + text), str)


def test_a_minidebuginfo_has_the_names_that_were_stripped_off(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    places = {name: place(library, name) for name in ("hidden", "shown")}
    mini = tmp_path / "mini"
    subprocess.run(
        ["objcopy", "--only-keep-debug", "-S", "-K", "hidden", library, mini], check=True
    )
    strip(library)
    packed = tmp_path / "mini.xz"
    packed.write_bytes(lzma.compress(mini.read_bytes()))
    subprocess.run(["objcopy", f"--add-section=.gnu_debugdata={packed}", library], check=True)
    assert {name: of(library).name(at) for name, at in places.items()} == {
        "hidden": ("hidden", 0),
        "shown": ("shown", 0),
    }
    packed.write_bytes(b"no archive")
    subprocess.run(["objcopy", f"--update-section=.gnu_debugdata={packed}", library], check=True)
    assert of(library).name(places["hidden"]) is None


def test_a_debug_file_compressed_by_zstd_has_its_names(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    at = place(library, "hidden")
    packed = subprocess.run(
        ["objcopy", "--compress-debug-sections=zstd", library], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip("this objcopy has no zstd")
    assert of(library).name(at) == ("hidden", 0)


# ---- code made at run time ----


def test_a_perf_map_names_what_was_made_at_run_time() -> None:
    found = perf_maps.parse(
        "1000 20 first\nno line\n2000 zz bad\n3000 10 py::f:/a b.py\n1000 30 second\n\n7f"
    )
    assert found.name(0x1000) == ("second", 0)
    assert found.name(0x102F) == ("second", 0x2F)
    assert found.name(0x1030) is None
    assert found.name(0x3001) == ("py::f:/a b.py", 1)
    assert found.name(0xFFF) is None


@given(st.text(max_size=300))
def test_any_perf_map_is_read(text: str) -> None:
    perf_maps.parse(text).name(0x1000)


def test_a_perf_map_is_its_owners_and_no_link() -> None:
    pid = 4_000_000 + os.getpid() % 100_000  # no process has it
    path, other = Path(f"/tmp/perf-{pid}.map"), Path(f"/tmp/other-{pid}.map")
    try:
        other.write_text("1000 20 function\n")
        path.symlink_to(other)
        assert perf_maps.of_process(pid).name(0x1000) is None
        path.unlink()
        path.write_text("1000 20 function\n")
        assert perf_maps.of_process(pid).name(0x1000) == ("function", 0)
        if os.getuid() == 0:
            os.chown(path, 12345, -1)
            assert perf_maps.of_process(pid).name(0x1000) is None
    finally:
        path.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255))))
def test_a_damaged_file_has_no_names_and_is_no_crash(
    extra: bytes, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(Path("/bin/true").read_bytes()[:4096] + extra)
    for at, value in changes:
        data[at] = value
    descriptor = os.memfd_create("damaged")
    try:
        os.write(descriptor, data)
        symbols.of_file(descriptor)
    finally:
        os.close(descriptor)


# ---- address spaces ----


def mapped(time: int, pid: int, start: int, name: str = "/f", offset: int = 0) -> Mapped:
    return Mapped(time, pid, start, 0x1000, offset, (0, 0, 0), name)


def space(spaces: Spaces, pid: int, time: int) -> tuple[int, int]:
    return pid, int(spaces.places(pid, np.array([time]))[0])


def test_an_address_belongs_to_what_was_mapped_there_at_the_time() -> None:
    spaces = Spaces()
    spaces.add(
        [
            mapped(1, 7, 0x1000, "/old"),
            Forked(2, 8, 7),
            Executed(3, 7),
            mapped(4, 7, 0x1000, "/new", 0x500),
            mapped(5, 7, 0x3000, "//anon"),
        ]
    )
    assert spaces.find(space(spaces, 7, 1), 0x1004) == (Module("/old"), 4)
    assert spaces.find(space(spaces, 7, 9), 0x1004) == (Module("/new"), 0x504)
    assert spaces.find(space(spaces, 7, 9), 0x3004)[0] == ANON
    assert spaces.find(space(spaces, 7, 9), 0x9000)[0] == UNKNOWN
    # The child has what its parent had when it forked, whatever that became.
    assert spaces.find(space(spaces, 8, 9), 0x1004) == (Module("/old"), 4)
    spaces.add([Lost(6, 3)])
    assert spaces.lost == 3


def test_the_newest_mapping_hides_what_lay_there() -> None:
    space = Space(0, [mapped(1, 7, 0x1000, "/below"), mapped(2, 7, 0x1000, "/above (deleted)")])
    assert space.find(0x1001) == (Module("/above"), 1)


def test_a_file_that_was_replaced_is_not_taken_for_the_one_that_was_mapped(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(b"first")
    inode = (0, 0, file.stat().st_ino)
    kept, other = Spaces(), Spaces()
    record = Mapped(1, os.getpid(), 0x1000, 0x1000, 0, inode, str(file))
    kept.add([record])
    replacement = tmp_path / "new"
    replacement.write_bytes(b"second")
    replacement.rename(file)
    other.add([record])
    module = Module(str(file), inode)
    descriptor = kept.file(module)
    assert descriptor is not None and os.read(descriptor, 9) == b"first"
    assert other.file(module) is None
    kept.close()
    other.close()


def test_records_are_read_as_the_kernel_writes_them() -> None:
    time = (99).to_bytes(8, "little")
    words = (7, 8, 0x1000, 0x2000, 0x3000)
    body = b"".join(w.to_bytes(4 if i < 2 else 8, "little") for i, w in enumerate(words))
    body += (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (77).to_bytes(8, "little")
    body += bytes(8) + bytes(8) + b"/lib/some.so\0\0\0\0" + time
    assert list(parse(10, 0, body)) == [
        Mapped(99, 7, 0x1000, 0x2000, 0x3000, (8, 1, 77), "/lib/some.so")
    ]
    comm = (7).to_bytes(4, "little") * 2 + b"name\0\0\0\0" + time
    assert list(parse(3, 1 << 13, comm)) == [Executed(99, 7)]
    assert list(parse(3, 0, comm)) == []
    fork = b"".join(w.to_bytes(4, "little") for w in (9, 7, 9, 7)) + time + time
    assert list(parse(7, 0, fork)) == [Forked(99, 9, 7)]
    thread = b"".join(w.to_bytes(4, "little") for w in (7, 7, 9, 7)) + time + time
    assert list(parse(7, 0, thread)) == []
