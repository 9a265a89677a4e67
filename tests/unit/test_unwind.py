# SPDX-License-Identifier: MIT
# pyelftools has no types.
"""Rules made of call frame information, the tables of them, and walks over copies of stacks."""

from __future__ import annotations

import platform
import struct
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from memsc.tracer.session.addresses.address_spaces import Space
from memsc.tracer.session.addresses.mapping_records import Mapped
from memsc.tracer.session.unwind import rules
from memsc.tracer.session.unwind.compressed import contents
from memsc.tracer.session.unwind.rules import Rules, constants
from memsc.tracer.session.unwind.stack_ring import Copied
from memsc.tracer.session.unwind.tables import Place, Tables

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="rules are of x86-64")

C = constants()
RBX, RBP, RSP = 3, 6, 7
OBJECTS = ("/bin/true", "/usr/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2")


def rule(kind: str, *, rbp: int = 0, more: int = 0, reg: int = 0, offset: int = 0) -> int:
    value = C[f"MEMSC_{kind}"] << 12 | rbp << 16 | more << 24 | reg << 32
    return value | (offset << 36) % (1 << 64)


def fields(value: int) -> tuple[int, int, int, int, int]:
    """Kind, rbp, more, register, offset."""
    offset = value >> 36
    return (
        value >> 12 & 15,
        value >> 16 & 255,
        value >> 24 & 255,
        value >> 32 & 15,
        offset - (1 << 28) if offset >> 27 else offset,
    )


def at(found: Rules, address: int) -> int:
    return int(found.rules[int(np.searchsorted(found.addresses, address, "right")) - 1])


def of_path(path: str) -> Rules:
    with Path(path).open("rb") as file:
        found = rules.of_file(file)
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["none", "zlib-gabi", "zstd"])
def test_compressed_sections_have_the_rules_of_plain_ones(how: str, tmp_path: Path) -> None:
    source, plain, packed = (tmp_path / name for name in ("a.c", "plain", "packed"))
    functions = (f"int f{i}(int n) {{ return n ? f{i}(n - 1) + 1 : 0; }}" for i in range(200))
    source.write_text("\n".join([*functions, "int main(void) { return f9(9); }", ""]))
    no_eh_frame = ("-g", "-O1", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
    subprocess.run(["gcc", *no_eh_frame, "-o", plain, source], check=True)
    with plain.open("rb") as file:
        names = {section.name for section in ELFFile(file).iter_sections()}
    assert ".debug_frame" in names
    command = ["objcopy", f"--compress-debug-sections={how}", plain, packed]
    subprocess.run(command, check=True)
    found, expected = of_path(str(packed)), of_path(str(plain))
    assert found.addresses.tolist() == expected.addresses.tolist()
    assert found.rules.tolist() == expected.rules.tolist()
    with packed.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".debug_frame")
        assert section is not None
        assert bool(section["sh_flags"] & 0x800) == (how != "none")
    data = bytes(range(256)) * 64
    ways = {"none": (0, data), "zlib-gabi": (1, zlib.compress(data)), "zstd": (2, zstd(data))}
    kind, body = ways[how]
    body = struct.pack("<IIQQ", kind, 0, len(data), 1) + body if kind else body
    section = {"sh_size": len(body), "sh_offset": 3, "sh_flags": 0x800 if kind else 0}
    assert contents(section, BytesIO(b"..." + body), 1 << 20) == data
    assert contents(section, BytesIO(b"..." + body), len(data) - 1) is None
    if kind:
        wrong = body[:24] + bytes(len(body) - 24)
        assert contents(section, BytesIO(b"..." + wrong), 1 << 20) is None


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("path", OBJECTS)
def test_rules_are_as_pyelftools_reads_the_same_file(path: str) -> None:
    found = of_path(path)
    seen = 0
    with Path(path).open("rb") as file:
        for entry in ELFFile(file).get_dwarf_info().EH_CFI_entries():
            if not isinstance(entry, FDE) or entry.cie is None:
                continue
            if "S" in str(entry.cie.augmentation_dict):
                continue
            end = entry["initial_location"] + entry["address_range"]
            lines = [line for line in entry.get_decoded().table if line["pc"] < end]
            # Of several lines for one address the last holds.
            for line in {line["pc"]: line for line in lines}.values():
                cfa, caller = line["cfa"], line.get(16)
                if cfa.expr or cfa.reg not in (RBX, RBP, RSP) or not caller:
                    continue
                if (caller.type, caller.arg) != ("OFFSET", -8):
                    continue
                saved = [
                    -(r.arg // 8) if (r := line.get(reg)) and r.type == "OFFSET" else 0
                    for reg in (RBP, RBX)
                ]
                expected = (C["MEMSC_PLAIN"], *saved, cfa.reg, cfa.offset)
                assert fields(at(found, line["pc"])) == expected, hex(line["pc"])
                seen += 1
            assert at(found, end - 1) == at(found, lines[-1]["pc"])
            for address in (entry["initial_location"], end - 1):
                assert found.function(address) == entry["initial_location"]
            if at(found, end) >> 12 & 15 == C["MEMSC_UNKNOWN"]:
                assert found.function(end) is None
    assert seen > 100


def test_the_c_library_says_where_threads_begin_and_signals_return() -> None:
    found = of_path("/usr/lib/x86_64-linux-gnu/libc.so.6")
    kinds = {fields(int(one))[0] for one in np.unique(found.rules)}
    assert {C["MEMSC_OUTERMOST"], C["MEMSC_SIGNAL"], C["MEMSC_RETURN_IN"]} <= kinds
    (signal,) = (
        int(one) for one in np.unique(found.rules) if fields(int(one))[0] == C["MEMSC_SIGNAL"]
    )
    assert fields(signal) == (C["MEMSC_SIGNAL"], 0, 0, RSP, 0)
    assert not found.callers


@settings(max_examples=300)
@given(st.data())
def test_a_hostile_section_makes_no_more_than_rows(data: st.DataObject) -> None:
    with Path("/bin/true").open("rb") as file:
        section = ELFFile(file).get_section_by_name(".eh_frame")
        assert section is not None
        image, address = bytearray(section.data()), int(section["sh_addr"])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(image) - 1), st.integers(0, 255)), max_size=40)
    ):
        image[place] = value
    cut = bytes(image[: data.draw(st.integers(0, len(image)))])
    for kind in (0, 1):
        rows = np.zeros(64, [("address", "<u8"), ("rule", "<u8")])
        count = rules.library().memsc_unwind_rows(
            cut, len(cut), address, kind, rows.ctypes.data, 64
        )
        assert count <= len(cut)


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255))))
def test_a_damaged_file_has_rules_or_none(extra: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(Path("/bin/true").read_bytes()[:8192] + extra)
    for place, value in changes:
        data[place] = value
    rules.of_file(BytesIO(bytes(data)))


# ---- tables ----


def of(*pairs: tuple[int, int], callers: bool = False, begin: int | None = None) -> Rules:
    addresses, found = zip(*pairs, strict=True)
    first = addresses[0] if begin is None else begin
    segments = ((0, addresses[-1] - first, first),)
    return Rules(
        np.array(addresses, np.uint64),
        np.array(found, np.uint64),
        segments,
        callers,
        np.zeros(0, np.uint64),
    )


def walked(
    tables: Tables, places: list[Place], rip: int, stack: dict[int, int], **registers: int
) -> tuple[int, list[int]]:
    """End and frames of a walk; the stack is words by address, from 0x10000 on."""
    image = bytearray(2 * 4096)
    for address, word in stack.items():
        struct.pack_into("<Q", image, address - 0x10000, word)
    known = {"rbx": RBX, "rbp": RBP, "rsp": RSP}
    values = [0] * 16
    for name, value in {"rsp": 0x10000, **registers}.items():
        values[known.get(name, int(name[1:]) if name[1:].isdigit() else 0)] = value
    begin = values[RSP] // 4096 * 4096 - 0x10000
    copy = Copied(1, 0, 7, rip, tuple(values), bytes(image[begin:]))
    result = copy.walk(tables, tables.encode(places), lambda _: 0)
    return result.end, result.frames


PLAIN = rule("PLAIN", reg=RSP, offset=16)
LAST = rule("OUTERMOST")
NONE = rule("UNKNOWN")


def test_each_kind_of_rule_leads_to_the_caller() -> None:
    kinds = {
        0x1000: rule("PLAIN", reg=RSP, offset=16),
        0x1100: rule("PLAIN", reg=RBP, offset=16, rbp=2),
        0x1200: rule("PLAIN", reg=RBX, offset=8),
        0x1300: rule("INDIRECT", reg=RSP, offset=8, more=1),
        0x1400: rule("INNERMOST", reg=10, offset=8),
        0x1500: rule("LINKAGE", reg=RSP, offset=11),
        0x1600: rule("RETURN_IN", reg=RSP, offset=8, more=5),
        0x1700: rule("SIGNAL", reg=RSP, offset=0),
        0x1800: LAST,
        0x2000: NONE,
    }
    tables = Tables()
    base = tables.add(of(*kinds.items()))
    assert base is not None
    places = [Place(0x400000, 0x401000, 0x400000 - (0x1000 + base))]
    last = 0x400800
    frames = {
        0x000: ({0x10008: last + 1}, {}),
        0x100: ({0x10020: 0, 0x10028: last + 1}, {"rbp": 0x10020}),
        0x200: ({0x10030: last + 1}, {"rbx": 0x10030}),
        0x300: ({0x10008: 0x10040, 0x10040: last + 1}, {}),
        0x400: ({0x10050: last + 1}, {"r10": 0x10050}),
        0x50A: ({0x10000: last + 1}, {}),
        0x50B: ({0x10008: last + 1}, {}),
        0x600: ({}, {"r5": last + 1}),
    }
    for place, (stack, registers) in frames.items():
        end, found = walked(tables, places, 0x400000 + place, stack, **registers)
        assert (end, found) == (C["MEMSC_WALK_DONE"], [0x400000 + place, last]), hex(place)
    # The frame that a signal has interrupted is one that runs, as the innermost: not before a call.
    saved = {0x10000 + 168: last, 0x10000 + 160: 0x11000, 0x10000 + 120: 5, 0x10000 + 128: 6}
    end, found = walked(tables, places, 0x400700, saved)
    assert (end, found) == (C["MEMSC_WALK_DONE"], [0x400700, last])


def test_a_walk_says_why_it_ended() -> None:
    tables = Tables()
    base = tables.add(of((0x1000, PLAIN), (0x1800, rule("UNTOLD")), (0x1900, NONE)))
    assert base is not None
    places = [Place(0x400000, 0x401000, 0x400000 - (0x1000 + base)), Place(0x500000, 0x501000)]
    ends = {
        "NOWHERE": {0x10008: 0x7000},
        "NO_RULE": {0x10008: 0x400A00},
        "UNTOLD": {0x10008: 0x400801},
    }
    for end, stack in ends.items():
        assert walked(tables, places, 0x400000, stack)[0] == C[f"MEMSC_WALK_{end}"]
    end, frames = walked(
        tables, places, 0x400000, dict.fromkeys(range(0x10008, 0x12000, 16), 0x400001)
    )
    assert end == C["MEMSC_WALK_DEEP"]
    assert len(frames) == C["MEMSC_WALK_FRAMES"]
    tight = {0x11FF0: 0, 0x11FF8: 0x400001}
    assert walked(tables, places, 0x400000, tight, rsp=0x11FF0)[0] == C["MEMSC_WALK_UNREADABLE"]
    # Without rules by frame pointers, upwards, to where there is none.
    chain = {0x10010: 0x10020, 0x10018: 0x500001, 0x10020: 0, 0x10028: 0x500002}
    end, frames = walked(tables, places, 0x500000, chain, rbp=0x10010)
    assert (end, frames) == (C["MEMSC_WALK_DONE"], [0x500000, 0x500000, 0x500001])
    down = {0x10010: 0x10008, 0x10018: 0x500001, 0x10008: 0x10000, 0x10000: 0x500001}
    assert walked(tables, places, 0x500000, down, rbp=0x10010)[0] == C["MEMSC_WALK_ASTRAY"]


@given(
    st.lists(st.integers(0, 60000), min_size=1, max_size=200, unique=True).map(sorted),
    st.lists(st.integers(0, 61000), max_size=50),
)
def test_the_table_has_the_rule_that_holds_at_each_address(
    begins: list[int], addresses: list[int]
) -> None:
    tables = Tables()
    tables.add(of((0x1000, PLAIN), (0x1FFF, NONE)))
    pairs = [
        (0x8000 + begin, rule("PLAIN", reg=RSP, offset=8 * i + 8)) for i, begin in enumerate(begins)
    ]
    base = tables.add(of(*pairs, (0x8000 + 61001, NONE), begin=0x8000))
    assert base is not None
    for address in addresses:
        place = 0x8000 + address + base
        page = place >> 12
        rows = tables.rows[tables.pages[page] : tables.pages[page + 1]]
        held = [int(row) for row in rows if int(row) & 4095 <= place & 4095]
        known = [value for begin, value in pairs if begin <= 0x8000 + address]
        expected = known[-1] if known else 0
        assert (held[-1] >> 12 if held else 0) == expected >> 12


def test_rows_of_a_page_lie_in_one_chunk() -> None:
    tables = Tables()
    chunk = C["MEMSC_WALK_CHUNK"]
    each = [
        (0x1000 + i * 4, rule("PLAIN", reg=RSP, offset=8 * (i % 100 + 1))) for i in range(chunk)
    ]
    assert tables.add(of(*each)) is not None
    assert tables.add(of(*each)) is not None
    used = tables.pages[: np.flatnonzero(tables.pages)[-1] + 1].astype(np.int64)
    counts = np.diff(used)
    filled = counts > 0
    first, last = used[:-1][filled], used[:-1][filled] + np.minimum(counts[filled], 1024) - 1
    assert (first // chunk == last // chunk).all()


def test_what_finds_no_room_is_counted() -> None:
    tables = Tables()
    huge = of((0x1000, PLAIN), (0x1000 + (C["MEMSC_WALK_PAGES"] << 12), NONE))
    assert tables.add(huge) is None
    assert tables.full == 1


def test_processes_that_have_the_same_share_a_space() -> None:
    tables = Tables()
    places = tables.encode([Place(0x1000, 0x2000)])
    for pid in (7, 7 + C["MEMSC_WALK_PROCESSES"], 9):
        tables.tell(pid, places, 5)
    told = {int(one["pid"]): int(one["space"]) for one in tables.processes if one["pid"]}
    assert len(told) == 3
    assert len(set(told.values())) == 1
    tables.tell(9, tables.encode([Place(0x1000, 0x3000)]), 6)
    tables.forget(7)
    told = {int(one["pid"]): int(one["space"]) for one in tables.processes if one["pid"]}
    assert set(told) == {7 + C["MEMSC_WALK_PROCESSES"], 9}
    assert len(set(told.values())) == 2


# ---- what is mapped ----


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=30))
def test_the_newest_mapping_is_what_is_seen(mappings: list[tuple[int, int]]) -> None:
    space, expected = Space(0), dict[int, int]()
    for number, (start, size) in enumerate(mappings):
        space.add(Mapped(number, 7, start, size, 0, (0, 0, number + 1), f"/{number}"))
        expected |= dict.fromkeys(range(start, start + size), number)
    seen = {address: one.time for low, high, one in space.visible for address in range(low, high)}
    assert seen == expected
    assert space.visible == sorted(space.visible, key=lambda one: one[0])
    ends = [high for _, high, _ in space.visible]
    assert all(end <= low for end, (low, _, _) in zip(ends, space.visible[1:], strict=False))
