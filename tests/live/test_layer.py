# SPDX-License-Identifier: MIT
"""Unmodified programs behave with the layer preloaded as without it, whatever carries them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.helpers import features, listening, preloaded
from tests.helpers.preloaded import LIMIT_S, RECORDED, environment

ARMS = [("direct", "inline"), *preloaded.CARRIED]
CAP_SYS_RESOURCE = 24

pytestmark = preloaded.MARKS

arms = pytest.mark.parametrize(("transport", "service"), ARMS, ids=str)


@dataclass(frozen=True)
class Outcome:
    """All that a user of a program sees of it."""

    status: int
    output: str
    errors: str
    files: dict[str, bytes]


def _run(command: list[str], folder: Path, variables: dict[str, str]) -> Outcome:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    done = preloaded.run(command, variables, cwd=folder)
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return Outcome(done.returncode, done.stdout, done.stderr, files)


def _compare(command: list[str], folder: Path, transport: str, service: str) -> None:
    expected = _run(command, folder, environment(None))
    assert "not so:" not in expected.output
    carried = environment(transport, service, **RECORDED)
    assert _run(command, folder, carried) == expected
    if lacking := re.search(r"^needs .*", expected.output, re.MULTILINE):
        pytest.skip(lacking[0])


PROGRAMS = {
    "dd": "dd if=/dev/zero of=x bs=512 count=2000 status=none; dd if=x of=y bs=997 status=none",
    "ls": "ls -l /usr/bin; ls /nonexistent",
    "cp": "cp -r /etc/apt copy && diff -r /etc/apt copy",
    "tar": "tar cf - -C /usr/include/linux . | tar tf - | sort; tar xf /nonexistent",
    "gzip": "tar czf t -C /usr/include/linux . && tar tzf t; rm t",
    "find": "find /usr/share/doc -name copyright; find / -maxdepth 1 -newer /etc/passwd | wc -l",
    "grep": "grep -r include /usr/include/linux; grep nothing-like-this /etc/passwd",
    "sort": "seq 50000 | sort -r | sort -n | tail -3; sort --parallel=2 -S 1M /etc/services | wc",
    "python3": """/usr/bin/python3 -c '
import os, subprocess, threading
print(subprocess.run(["echo", "hi"], capture_output=True).stdout)
threads = [threading.Thread(target=os.listdir, args=("/",)) for _ in range(20)]
[t.start() for t in threads], [t.join() for t in threads]
print(len(os.listdir("/etc")), os.fork() and os.wait()[1])'""",
    "sqlite": """/usr/bin/python3 -c '
import sqlite3
base = sqlite3.connect("base")
base.execute("create table t(a)")
base.executemany("insert into t values(?)", [(i,) for i in range(2000)])
base.commit()
print(base.execute("select sum(a) from t").fetchone())'; rm base""",
    "perl": "perl -e 'print qq(x\\n), `echo y`; open F, q(</etc/passwd); print scalar <F>; exit 3'",
    "bash": """for i in 1 2 3 4 5 6; do echo $i | cat; (exit $i); echo $?; done
x=$(ls / | wc -l); echo $x; sleep 0.05 & wait; trap 'echo bye' EXIT; kill -TERM $$""",
    "git": "git init -q .; git status --short; git --version; rm -r .git",
    "gcc": "echo 'int main(){return 7;}' | gcc -x c - && ./a.out; s=$?; rm a.out; exit $s",
    "pipes": "yes | head -100000 | tail -1; seq 1 100000 | tee s | md5sum; timeout 0.2 sleep 9",
    "limits": "exec 2>&-; ulimit -f 10; dd if=/dev/zero of=big bs=1k count=99 status=none; echo $?",
    "signals": "kill -SEGV $$",
}


@arms
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, transport: str, service: str, tmp_path: Path) -> None:
    """Same output, files and exit status as without Memsc."""
    name = {"sqlite": "/usr/bin/python3"}.get(program, program)
    if name not in {"pipes", "limits", "signals"} and shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    _compare(["bash", "-c", PROGRAMS[program]], tmp_path / "folder", transport, service)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the feature programs."""
    folder = tmp_path_factory.mktemp("programs")
    for source in {s for s, _ in features.FEATURES}:
        subprocess.run(
            [
                *("gcc", "-O1", "-rdynamic", "-pthread", "-Wno-unused-result"),
                *("-o", folder / source, features.PROGRAMS / f"{source}.c"),
            ],
            check=True,
        )
    return folder


@arms
@pytest.mark.parametrize("case", features.FEATURES, ids=[f for _, f in features.FEATURES])
def test_feature(
    case: tuple[str, str], transport: str, service: str, built: Path, tmp_path: Path
) -> None:
    """Where such layers break: each case prints the same, and finds nothing that is not so."""
    source, feature = case
    _compare([str(built / source), feature], tmp_path / "folder", transport, service)


@pytest.mark.parametrize(
    "case", [c for c in features.FEATURES if c[0] in ("tasks", "endings", "waits")], ids=str
)
def test_feature_of_processes_that_have_just_started(
    case: tuple[str, str], built: Path, tmp_path: Path
) -> None:
    """Where nobody records them, they make their first calls themselves."""
    folder, command = tmp_path / "folder", [str(built / case[0]), case[1]]
    assert _run(command, folder, environment("memsc")) == _run(command, folder, environment(None))


CHILD = r"""
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **arguments)
{
    int up[2], down[2], threads = 0;
    char byte, path[64];
    if (count < 2 || pipe(up) || pipe(down))
        return 1;
    pid_t child = fork();
    if (child == 0) {
        for (int i = atoi(arguments[1]); i > 0; i--)
            getppid();
        return write(up[1], "x", 1) != 1 || read(down[0], &byte, 1) != 1;
    }
    sprintf(path, "/proc/%d/task", child);
    if (read(up[0], &byte, 1) != 1)
        return 1;
    DIR *folder = opendir(path);
    for (struct dirent *entry; (entry = readdir(folder));)
        threads += entry->d_name[0] != '.';
    printf("%d\n", threads);
    return write(down[1], "x", 1) != 1 || wait(NULL) != child;
}
"""


def test_a_short_child_starts_no_service(tmp_path: Path) -> None:
    """It would take longer than the child's calls; a recorded one has it from the first call on."""
    child = tmp_path / "child"
    gcc = ["gcc", "-O1", "-x", "c", "-", "-o", str(child)]
    subprocess.run(gcc, input=CHILD, text=True, check=True)

    def threads(calls: int, **variables: str) -> int:
        done = preloaded.run([str(child), str(calls)], environment("memsc", **variables))
        assert done.returncode == 0
        return int(done.stdout)

    assert threads(8) == 1
    assert threads(1000) > 1
    assert threads(8, **RECORDED) > 1


def test_statistics_tell_what_was_forwarded(tmp_path: Path) -> None:
    """All that dd does to its files after start-up goes through Memsc, and nothing is missed."""
    variables = environment("memsc", MEMSC_STATS="1", **RECORDED)
    command = ["dd", "if=/dev/zero", "of=x", "bs=512", "count=1009", "status=none"]
    done, messages = listening.run(command, variables, cwd=tmp_path, preexec_fn=preloaded.away)
    assert done.returncode == 0
    started, region, line = listening.said(messages, "starts", "region", "program")
    begin, end = started["text"]
    assert 0 < begin < end
    assert started == {"pid": line["pid"], "starts": "dd", "text": [begin, end]}
    assert region == {"region": True, "text": [begin, end]}
    assert line["program"] == "dd"
    assert line["end"] == "exit"
    assert line["forwarded"]["write"] == 1009
    assert line["forwarded"]["read"] >= 1009
    assert line["local"]["exit_group"] == 1
    assert line["missed"] == {}
    assert set(line["unpatched"]) <= {"no room", "function entry"}
    # From 2.41 on a `syscall` is a function's first instruction (__syscall_cancel_arch_start).
    assert "function entry" not in line["unpatched"] or preloaded.GLIBC >= (2, 41)


def test_a_low_limit_for_files_ends_no_program(built: Path, tmp_path: Path) -> None:
    """A region is larger; where the limit cannot be raised for it, the session is told."""
    variables = environment("memsc", **RECORDED)
    capabilities = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    assert capabilities
    may_raise = bool(int(capabilities[1], 16) >> CAP_SYS_RESOURCE & 1)
    for limit, left in (("-S -f 8", False), ("-f 8", not may_raise)):
        command = f"ulimit {limit}; exec {built}/shortages no-descriptors-for-a-while"
        done, messages = listening.run(
            ["bash", "-c", command], variables, cwd=tmp_path, stdout=subprocess.PIPE
        )
        assert (done.returncode, done.stdout) == (0, "done\n")
        whys = [said["why"] for said in listening.said(messages, "leaves")]
        assert bool(whys) == left
        assert set(whys) <= {"its limit for files (ulimit -f) is below a region's size"}


OUT_OF_REACH = {
    "missing": "MEMSC_DIRECTORY=/nonexistent/folder",
    "a file": "MEMSC_DIRECTORY=/etc/passwd",
    "a circle": "ln -s circle circle; MEMSC_DIRECTORY=$PWD/circle",
    "a gone process's": "sleep 0.2 & cd /proc/$!/fdinfo; wait; MEMSC_DIRECTORY=folder",
}


@pytest.mark.parametrize("beginning", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_a_folder_out_of_reach_costs_no_descriptor(beginning: str, tmp_path: Path) -> None:
    """The program is carried all the same, and reads and writes what it did."""
    command = ("bash", "-c", f"{beginning} exec cat")
    variables = environment("memsc")
    with preloaded.answering(*command, variables=variables, folder=tmp_path) as process:
        assert process.stdin
        tasks = Path(f"/proc/{process.pid}/task").glob("*/comm")
        assert "memsc-service\n" in [task.read_text() for task in tasks]
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("transport", [None, "direct"])
def test_layer_is_inert(transport: str | None) -> None:
    """Unset, or direct without recording: no page of the C library's text is changed."""
    variables = environment("direct", MEMSC_STATS="1", MEMSC_RING="1024")
    if transport is None:
        del variables["MEMSC_TRANSPORT"]
    command = ["cat", "/proc/self/smaps"]
    done, messages = listening.run(command, variables, stdout=subprocess.PIPE)
    assert messages == []
    assert _changed_text(done.stdout) == 0


def test_no_page_is_writable_and_executable(tmp_path: Path) -> None:
    """At rest, in a program whose C library was rewritten."""
    variables = environment("memsc", **RECORDED)
    output = _run(["cat", "/proc/self/smaps"], tmp_path / "folder", variables).output
    assert " rwx" not in output
    assert _changed_text(output) > 0


@arms
def test_no_page_is_asked_to_be_both(
    transport: str, service: str, built: Path, tmp_path: Path
) -> None:
    """Not for a moment: by all that the kernel is asked from the first instruction to the last.

    Under a tracer programs are carried only if somebody asks for it.
    """
    if shutil.which("strace") is None:
        pytest.skip("needs strace; see requirements-debian-test.txt")
    variables = environment(transport, service, MEMSC_TRACED="1", **RECORDED)
    preload = variables.pop("LD_PRELOAD")
    calls = "trace=mmap,mprotect,pkey_mprotect,mremap,shmat,remap_file_pages,execve"
    how = ["strace", "-f", "-qq", "-e", calls, "-o", "../trace", "-E", f"LD_PRELOAD={preload}"]
    done = _run([*how, str(built / "mechanics"), "pages"], tmp_path / "folder", variables)
    assert done.output.splitlines()[-1] == "0"
    asked = (tmp_path / "trace").read_text().splitlines()
    assert sum("execve(" in line for line in asked) == 2
    text = [line for line in asked if "mprotect(" in line and "PROT_READ|PROT_EXEC" in line]
    # Of both programs, all slots at once; their own text is written by the kernel.
    assert len(text) >= 2
    assert [line for line in asked if "PROT_WRITE|PROT_EXEC" in line or "SHM_EXEC" in line] == []


def test_clocks_are_read_without_a_call(built: Path, tmp_path: Path) -> None:
    """What the kernel lets programs read by themselves is not made a call by being carried."""
    variables = environment("memsc", MEMSC_STATS="1", **RECORDED)
    command = [str(built / "mechanics"), "clocks"]
    done, messages = listening.run(command, variables, cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.stdout == "done\n"
    (line,) = listening.said(messages, "program")
    seen = line["forwarded"].keys() | line["local"].keys()
    assert not seen & {"clock_gettime", "gettimeofday", "time", "getcpu"}


def _changed_text(smaps: str) -> int:
    """KiB of the C library's executable pages that are no longer the file's."""
    changed, inside = 0, False
    for line in smaps.splitlines():
        if "-" in line.split(" ")[0]:
            inside = " r-xp " in line and "/libc.so" in line
        elif inside and line.startswith("Private_Dirty:"):
            changed += int(line.split()[1])
    return changed
