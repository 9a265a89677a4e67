# SPDX-License-Identifier: MIT
"""Declarations: consistent in themselves, with their C, and light enough for the helper."""

from __future__ import annotations

import argparse
import ctypes
import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memsc.probes.declaration import (
    FOLDER,
    Column,
    Hook,
    Kind,
    Probe,
    at_one_place,
    find,
    names,
    offered,
)
from memsc.probes.source import compose
from memsc.tracer.helper.kernel.tracefs import absence, stale

CTYPES = {
    "u8": ctypes.c_uint8,
    "s32": ctypes.c_int32,
    "u32": ctypes.c_uint32,
    "s64": ctypes.c_int64,
    "u64": ctypes.c_uint64,
    "char": ctypes.c_char * 16,
}


def probe(columns: tuple[Column, ...] = (), hooks: tuple[Hook, ...] = ()) -> Probe:
    return Probe("some", "some", (Kind("a", ""), Kind("b", "")), columns, hooks)


def test_the_probes_there_are() -> None:
    assert {"ipi", "noise", "sched", "syscalls"} <= set(names())
    assert "tracking" not in names()


def test_what_disturbs_says_so_and_no_two_sit_at_one_static_probe() -> None:
    assert {p.name for p in offered() if p.disturbs} == {"stages", "stage_counters", "syscalls"}
    for one, other in itertools.combinations(offered(), 2):
        both = at_one_place((one.name, other.name))
        assert (both is None) == (not one.static_places & other.static_places)
    assert at_one_place(("sched", "stages", "noise", "stage_counters")) == (
        "stages", "stage_counters",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["trace", "bench"])
def test_the_help_and_the_default_are_what_the_probes_declare(command: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"memsc.commands.{command}").Command().configure(parser)
    (action,) = (one for one in parser._actions if "--probes" in one.option_strings)
    words = re.findall(r"\w+", str(action.help))
    assert {p.name for p in offered()} <= set(words)
    default = {p.name for p in offered() if p.by_default}
    more = {"syscalls"} if command == "bench" else set[str]()
    assert set(str(action.default).split(",")) == default | more
    named = str(action.help).partition(" (these by default)")[0]
    assert named.replace(", ", ",") == action.default
    apart = str(action.help).partition(";")[2]
    assert {p.name for p in offered() if p.name in re.findall(r"\w+", apart)} == {
        p.name for p in offered() if p.disturbs
    }


def test_an_unknown_probe_is_not_imported() -> None:
    for name in ("declaration", "os", "../sched", ""):
        with pytest.raises(KeyError):
            find(name)


@pytest.mark.parametrize("name", names())
def test_c_structure_and_dtype_agree(name: str) -> None:
    declared = find(name)
    body = declared.c_declarations().split("};")[0]
    fields = re.findall(r"^    (\w+) (\w+)(?:\[16\])?;$", body, re.MULTILINE)

    class Event(ctypes.Structure):
        _fields_ = [(field, CTYPES[kind]) for kind, field in fields]

    dtype = np.dtype(declared.layout())
    assert ctypes.sizeof(Event) == dtype.itemsize == declared.event_size
    assert [field for _, field in fields] == list(dtype.names or ())
    offsets = {name: place[1] for name, place in (dtype.fields or {}).items()}
    assert {field: getattr(Event, field).offset for _, field in fields} == offsets


def composed(name: str) -> str:
    """A probe's C, as BCC gets it."""
    return compose([find(name)], {name: 1}, 2)


@pytest.mark.parametrize("name", [*names(), "tracking"])
def test_each_program_is_declared_and_each_declared_program_is_there(name: str) -> None:
    text = composed(name)
    programs = re.findall(r"^int (\w+)\(", text, re.MULTILINE)
    declared = frozenset[str]().union(*(hook.programs for hook in find(name).hooks))
    assert len(set(programs)) == len(programs)
    assert set(programs) == declared


@pytest.mark.parametrize("name", names())
def test_each_kind_is_made_by_a_hook_and_written_in_c(name: str) -> None:
    declared = find(name)
    made = {kind for hook in declared.hooks for kind in hook.kinds}
    assert made == set(declared.kind_names)
    text = composed(name).replace(declared.c_declarations(), "")
    for kind in declared.kind_names:
        assert re.search(rf"\b{f'MEMSC_{name}_{kind}'.upper()}\b", text)


def test_no_program_reads_kernel_memory_but_what_walks_stacks() -> None:
    for path in FOLDER.glob("*.[ch]"):
        if path.name != "stacks.h":  # registers, and whose program it is, by the kernel's own types
            assert "probe_read" not in path.read_text(), path


def test_a_column_that_c_would_pad_is_refused() -> None:
    with pytest.raises(ValueError, match="aligned"):
        probe((Column("a", "u32", "", ""), Column("b", "u64", "", "")))
    with pytest.raises(ValueError, match="multiple of 8"):
        probe((Column("a", "u32", "", ""),))


def test_a_hook_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        probe(hooks=(Hook("a:b", "some_on_b", kinds=("c",)),))


def test_a_tracepoint_that_programs_share_is_a_parameter_once() -> None:
    text = compose([find("sched"), find("offcpu")], {"sched": 1, "offcpu": 1}, 2)
    assert text.count("(struct tracepoint__sched__sched_switch *") == 1
    cast = "    struct tracepoint__sched__sched_switch *args = context;\n"
    assert f"int offcpu_on_switch(void *context)\n{{\n{cast}" in text


def test_absent_programs_are_left_out_whole() -> None:
    declared = find("ipi")
    text = compose([declared], {"ipi": 1}, 2, absent={"ipi_on_send"})
    assert "int ipi_on_send(" not in text
    assert "int ipi_on_send_many(" in text
    assert text.count("{") == text.count("}")


def test_a_tracepoint_is_judged_by_its_fields(tmp_path: Path) -> None:
    place = tmp_path / "events/sched/sched_switch"
    place.mkdir(parents=True)
    (place / "format").write_text(
        "\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
        "\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n"
    )
    switch = "sched:sched_switch"
    assert absence(tmp_path, switch, ("prev_comm", "prev_pid")) is None
    assert "has no next_pid" in str(absence(tmp_path, switch, ("prev_pid", "next_pid")))
    assert "no tracepoint sched:other" in str(absence(tmp_path, "sched:other", ()))


def test_only_entries_of_dead_bcc_processes_are_stale() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    mine = f"p:uprobes/p__bin_x_0x10_bcc_{gone.pid} /bin/x:0x0000000000000010"
    lines = [
        mine,
        f"r:uprobes/r__bin_x_0x10_bcc_{gone.pid} /bin/x:0x10",
        "p:uprobes/p__bin_x_0x10_bcc_1 /bin/x:0x10",
        "p:uprobes/somebody_elses /bin/x:0x10",
        f"p:kprobes/p_x_bcc_{gone.pid} x",
    ]
    assert stale(lines) == [
        f"uprobes/p__bin_x_0x10_bcc_{gone.pid}",
        f"uprobes/r__bin_x_0x10_bcc_{gone.pid}",
    ]


def test_the_helper_imports_nothing_heavy() -> None:
    code = (
        "import sys, memsc.tracer.helper.server\n"
        "bad = {'numpy', 'pandas', 'pyarrow', 'bcc'} & set(sys.modules)\n"
        "sys.exit(f'imports {bad}' if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
