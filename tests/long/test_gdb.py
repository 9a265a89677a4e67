# SPDX-License-Identifier: MIT
"""Stacks are as gdb has them, at the same stop: of Debian's programs, none with frame pointers."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from memsc.tracer.session.addresses import symbols
from memsc.tracer.session.addresses.address_spaces import Space, Spaces, module_of
from memsc.tracer.session.unwind import rules
from memsc.tracer.session.unwind.rules import constants
from memsc.tracer.session.unwind.stack_ring import Copied
from memsc.tracer.session.unwind.tables import Place, Tables

STOPS, AGREE = 200, 0.99
SCRIPT = Path(__file__).resolve().parents[1] / "helpers" / "gdb_stops.py"
PERL = (
    "my %h; for(my $i=0;;$i++){ $h{$i%1000}.='x' if $i<1e5;"
    " my @a=sort {$a <=> $b} map {$_*7%13} 1..50; }"
)
PYTHON = """
import json, sqlite3
c = sqlite3.connect(":memory:")
c.execute("create table t(a)")
while True:
    c.executemany("insert into t values(?)", ((i,) for i in range(1000)))
    c.execute("select sum(a*7%13) from t").fetchone()
    json.loads(json.dumps([{"a": list(range(100))} for i in range(20)]))
    sorted(str(i * 7 % 1000) for i in range(3000))
"""
SQL = "with recursive c(x) as (select 1 union all select x+1 from c) select count(*) from c;"
PROGRAMS = {
    "perl": ["perl", "-e", PERL],
    "python3": ["/usr/bin/python3", "-c", PYTHON],
    "sqlite3": ["sqlite3", ":memory:", SQL],
    "git": ["sh", "-c", "exec git hash-object --stdin </dev/zero"],
    "openssl": ["openssl", "speed", "-seconds", "60", "sha256"],
    "xz": ["sh", "-c", "exec xz -c </dev/urandom >/dev/null"],
}

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="rules are of x86-64"),
    pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb"),
]


def described(pid: int) -> tuple[Tables, Space]:
    spaces = Spaces()
    spaces.look(pid)
    return Tables(), spaces.newest(pid)


def places(tables: Tables, space: Space) -> list[Place]:
    found: list[Place] = []
    for start, end, mapped in space.visible:
        module = module_of(mapped)
        place = Place(start, end)
        its = None
        if module.name == "[vdso]":
            its = rules.of_bytes(symbols.vdso_image())
        elif module.name.startswith("/"):
            with open(module.name, "rb") as file:  # noqa: PTH123
                its = rules.of_file(file)
        base = tables.add(its) if its is not None else None
        address = its.address(mapped.offset) if its is not None else None
        if its is not None and base is not None and address is not None:
            place = Place(start, end, mapped.start - (address + base), its.callers)
        found.append(place)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_stack_is_as_gdb_has_it(name: str, tmp_path: Path) -> None:
    if not shutil.which(PROGRAMS[name][0]):
        pytest.skip(f"needs {name}")
    program = subprocess.Popen(
        PROGRAMS[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    output = tmp_path / "stops"
    try:
        time.sleep(1)
        tables, space = described(program.pid)
        encoded = tables.encode(places(tables, space))
        environment = {"PROGRAM": str(program.pid), "OUTPUT": str(output), "STOPS": str(STOPS)}
        subprocess.run(
            ["gdb", "-nx", "-batch", "-x", str(SCRIPT)],
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
            timeout=300,
        )
    finally:
        program.kill()
        program.wait()
    stops = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(stops) >= STOPS / 2
    differing: list[str] = []
    for stop in stops:
        stack = bytes.fromhex(stop["stack"])
        copy = Copied(1, 0, program.pid, stop["rip"], tuple(stop["registers"]), stack)
        walked = copy.walk(tables, encoded, lambda _: 0)
        # A caller's frame is told by the call, gdb's by where it returns to.
        theirs = [pc if depth == 0 else pc - 1 for depth, pc in enumerate(stop["frames"])]
        if walked.end != constants()["MEMSC_WALK_DONE"] or walked.frames != theirs:
            differing.append(f"{walked.end} {[*map(hex, walked.frames)]} {[*map(hex, theirs)]}")
    assert len(differing) <= (1 - AGREE) * len(stops), differing[:3]
