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
from tests.helpers.catalogue import Program
from tests.helpers.coverage import TARGET
from tests.helpers.required import two_cpus

TABLE = emulated.BUILD.parent / "coverage-arm.txt"

pytestmark = [emulated.emulated, two_cpus]

MAKE_FILE = """\
parts := $(patsubst %,part-%,1 2 3 4 5)
all: $(parts)
	cat $^ | sort >whole
	grep -c a whole
part-%: lines
	sed -n "$*~5p" $< >$@
"""

# Threads, and signals that interrupt what waits.
THREADED_JOB = r"""
import os, signal, threading
reading, writing = os.pipe()
thread = threading.Thread(target=lambda: [os.write(writing, b"0123456789") for _ in range(300)])
thread.start()
print(sum(len(os.read(reading, 10)) for _ in range(300)))
thread.join()
threads = [threading.Thread(target=os.listdir, args=("tree",)) for _ in range(40)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
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
"""

SPAWNING_JOB = r"""
import os, subprocess
for number in range(4):
    print(subprocess.run(["sh", "-c", f"cat lines | wc -l; exit {number}"], capture_output=True))
chain = "env -i A=b /bin/sh -c 'echo $A' | nice -n 1 timeout 9 cat; echo $?"
print(subprocess.check_output(chain, shell=True))
children = [subprocess.Popen(["sleep", "0.1"]) for _ in range(3)]
print([child.wait() for child in children])
child = os.posix_spawn("/bin/echo", ["echo", "spawned"], os.environ)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    subprocess.run(["/nonexistent"])
except FileNotFoundError as error:
    print(error)
"""

TAKEN = {
    *("dd", "ls", "cp", "tar", "untar", "find", "grep", "sort", "sqlite3", "python3", "perl"),
    *("bash", "git"),
}
PROGRAMS = [program for program in catalogue.PROGRAMS if program.name in TAKEN] + [
    Program("sha256sum", "sha256sum input lines"),
    Program("awk", "gawk '{ n += NF; print $1 | \"sort | tail -n 1\" } END { print NR, n }' lines"),
    Program("sed", "sed -i -e s/a/A/ lines"),
    Program("make", "make -j2 -s", (("Makefile", MAKE_FILE),)),
    Program("xargs", "sh -c 'find tree -type f -print0 | sort -z | xargs -0 -n 9 wc -c'"),
    Program("threads", "python3 -I job.py", (("job.py", THREADED_JOB),)),
    Program("subprocess", "python3 -I job.py", (("job.py", SPAWNING_JOB),)),
]


@pytest.fixture(autouse=True, scope="module")
def can_be_run() -> None:
    emulated.need_inside()


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines of the table, written at the end."""
    lines = [f"{'program':<12}{'forwarded':>10}{'missed':>8}{'local':>8}  of what can be, of all"]
    yield lines
    TABLE.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_does_the_same(program: Program, tmp_path: Path, table: list[str]) -> None:
    runs = []
    for carried in (False, True):
        folder = tmp_path / "work"  # the same name each time, as it may be said
        program.prepare(folder)
        run = emulated.run_inside(program.command, folder, carried=carried)
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
