# SPDX-License-Identifier: MIT
"""Debian's programs for 64-bit Arm do under memsc what they do without, by forwarded calls.

Counts go to build/coverage-arm.txt.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers import catalogue, emulated
from tests.helpers.catalogue import PYTHON_DATABASE, PYTHON_FILES, Program
from tests.helpers.coverage import TARGET
from tests.helpers.required import two_cpus

TABLE = emulated.BUILD.parent / "coverage-arm.txt"

pytestmark = [
    emulated.emulated,
    two_cpus,
    pytest.mark.skipif(not emulated.DEBIAN.exists(), reason="needs a Debian, `make test-arm`"),
]

PYTHON_JOB = f"""\
import concurrent.futures, json, os, pathlib, signal, sqlite3, threading, zipfile
{PYTHON_FILES}\
reading, writing = os.pipe()
thread = threading.Thread(target=lambda: [os.write(writing, b"0123456789") for _ in range(300)])
thread.start()
print(sum(sizes), sum(len(os.read(reading, 10)) for _ in range(300)))
thread.join()
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while len(hits) < 10:
    signal.pause() if len(hits) % 2 else os.read(os.open("/dev/zero", os.O_RDONLY), 10)
signal.setitimer(signal.ITIMER_REAL, 0)
os.close(reading)
try:
    os.write(writing, b"x")
except BrokenPipeError as error:
    print(error)
{PYTHON_DATABASE}"""

PERL_JOB = r"""
use strict; use warnings;
my %count; open(my $in, '<', 'lines') or die; while (<$in>) { $count{$_}++ for split } close $in;
open(my $out, '>', 'counts') or die;
print $out "$_ $count{$_}\n" for sort keys %count; close $out;
my $caught = 0; $SIG{USR1} = sub { $caught++ }; kill 'USR1', $$ for 1 .. 5; print "$caught\n";
rename 'counts', 'counted' or die; print join(' ', sort glob 'html/*'), "\n";
"""

ALONE = {"dd", "ls", "cp", "grep", "sort", "sqlite3"}
PROGRAMS = [program for program in catalogue.PROGRAMS if program.name in ALONE] + [
    Program("tar", "tar --sort=name -cvf tree.tar tree html"),
    Program("find", "find tree -size +4k -printf '%p %s %m\\n'", sorted=True),
    Program("sha256sum", "sha256sum input lines"),
    Program("awk", "gawk '{ n += NF } END { print NR, n }' lines"),
    Program("sed", "sed -i -e s/a/A/ lines"),
    Program(
        "python3",
        "python3 -I job.py",
        (("job.py", PYTHON_JOB),),
        leaves_out=("d.sqlite", "tree.zip"),
    ),
    Program("perl", "perl job.pl", (("job.pl", PERL_JOB),)),
]


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines of the table, written at the end."""
    lines = [f"{'program':<12}{'forwarded':>10}{'missed':>8}{'local':>8}  of what can be, of all"]
    yield lines
    TABLE.write_text("\n".join(lines) + "\n")


def _file(name: str) -> Path:
    found = [emulated.DEBIAN / place / name for place in ("usr/bin", "bin")]
    return next(path for path in found if path.exists())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_does_the_same(program: Program, tmp_path: Path, table: list[str]) -> None:
    command = [_file(program.command[0]), *program.command[1:]]
    runs = []
    for carried in (False, True):
        folder = tmp_path / "work"  # the same name each time, as it may be said
        program.prepare(folder)
        run = emulated.run(emulated.DEBIAN, command, folder, carried=carried)
        runs.append((run.status, program.heard(run.output.encode()), program.left(folder)))
        shutil.rmtree(folder)
    assert runs[1] == runs[0]
    assert runs[0][0] == 0
    tally = run.tally
    forwarded, missed, local = (
        counts.total() for counts in (tally.forwarded, tally.missed, tally.local)
    )
    share = tally.share or 0.0
    made = forwarded + missed + local
    table.append(
        f"{program.name:<12}{forwarded:>10}{missed:>8}{local:>8}  {share:.2%}, "
        f"{forwarded / made if made else 0:.2%}"
    )
    assert share >= TARGET
    assert not tally.groups["unpatched"]
