# SPDX-License-Identifier: MIT
"""What ran unrecorded is named and counted, and a trace that misses too much gives no verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus
from tests.helpers.toggled_probes import LIBRARIES, TYPE, functions, put

from memsc.runtime.carried import BY_ANOTHER, FILTERED, GAINS, TRACED
from memsc.tracer.format import open_trace

STATIC = "it is linked statically, and loads no library"


_PROGRAM = r"""
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words)
{
    for (int i = 0; i < 300; i++)
        if (write(1, "", 0) != 0)
            return 1;
    if (count > 1)
        execv(words[1], words + 1);
    return count > 1;
}
"""
_FILTER = """
import ctypes, os
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("at", ctypes.c_void_p)]
allow = (ctypes.c_ulonglong * 1)(0x7fff000000000006)
libc.prctl(38, 1, 0, 0, 0)
program = Program(1, ctypes.addressof(allow))
libc.prctl(22, 2, ctypes.byref(program))
for _ in range(300): os.write(1, b"")
"""
_OWN = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void call(void)
{
    long result = SYS_getppid;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}
int main(int count, char **arguments)
{
    int times = atoi(arguments[count - 1]);
    for (int i = 0; i < times; i++) {
        call();
        if (i % 10 == 0)
            getppid();
    }
    /* Children that make no other call; the first makes one of its own, too. */
    for (int i = 0; i < 10; i++) {
        int child = fork();
        if (child == 0 && times && i == 0)
            call();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    return 0;
}
"""
BREAKPOINTS = "others have put breakpoints into its C library, where calls are not seen"


@dataclass(frozen=True)
class Lost:
    """A way to lose what carries a program.

    Args:
        command: in the shell's words; @static@ and @setuid@ are programs, @plain@ one that is
            carried.
        by_layer: what programs say themselves: name and why, how often.
        by_kernel: what only the kernel knows, besides.
    """

    command: str
    by_layer: dict[tuple[str, str], int]
    by_kernel: dict[tuple[str, str], int]


WAYS = {
    "none": Lost("@plain@; @plain@", {}, {}),
    "static": Lost("@static@; @plain@", {("@static@", STATIC): 1}, {}),
    "static twice": Lost("@static@; @static@", {("@static@", STATIC): 2}, {}),
    "by a static one": Lost(
        "@static@ @static@; true", {("@static@", STATIC): 1}, {("static", BY_ANOTHER): 1}
    ),
    "carried again": Lost("@static@ @plain@; true", {("@static@", STATIC): 1}, {}),
    "set-uid": Lost(
        "setpriv --reuid=65534 --clear-groups @setuid@; true", {("@setuid@", GAINS): 1}, {}
    ),
    "filter": Lost("/usr/bin/python3 -ISc '@filter@'; true", {("python3.*", FILTERED): 1}, {}),
    # strace tries what the kernel can do on a child that asks to be traced.
    "traced": Lost(
        "strace -fo /dev/null sh -c '@plain@; true'; @plain@",
        {(name, TRACED): 1 for name in ("strace", Path("/bin/sh").resolve().name, "plain")},
        {},
    ),
    "its variables taken": Lost("env -u LD_PRELOAD -u MEMSC_TRANSPORT @plain@; @plain@", {}, {}),
    "nobody to be executed": Lost("/nonexistent/x; @plain@", {}, {}),
}


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, str]]:
    # Not below pytest's folder, which others may not enter.
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / "program.c").write_text(_PROGRAM)
    for name, how in (("plain", []), ("static", ["-static"]), ("setuid", [])):
        command = ["gcc", "-O1", "-o", folder / name, *how, folder / "program.c"]
        subprocess.run(command, check=True)
    (folder / "setuid").chmod(0o4755)
    yield {f"@{name}@": str(folder / name) for name in ("plain", "static", "setuid")}
    shutil.rmtree(folder)


def trace(
    command: str, folder: Path, *options: str, programs: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    for word, path in {**programs, "@filter@": _FILTER}.items():
        command = command.replace(word, path)
    how = ("-f", "-o", "t.memsc", "--ring", "1024", *options)
    return memsc("trace", *how, "--", "sh", "-c", command, cwd=folder, limit_s=120)


def report(folder: Path, *options: str) -> tuple[int, str]:
    done = memsc("report", "t.memsc", *options, cwd=folder)
    return done.returncode, done.stdout


def _matches(found: Counter[tuple[str, str]], expected: dict[tuple[str, str], int]) -> bool:
    """Names that end in .* stand for all that begin so."""
    left = Counter(found)
    for (name, why), times in expected.items():
        head, wild, _ = name.partition(".*")
        for key in list(left):
            if key[1] == why and (key[0].startswith(head) if wild else key[0] == name):
                left[key] -= times
                break
        else:
            return False
    return not any(left.values())


@pytest.mark.parametrize("probes", ["none", "sched"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.skipif(os.geteuid() != 0, reason="another user is root's to become")
@two_cpus
@layered
def test_it_is_said(way: str, probes: str, programs: dict[str, str], tmp_path: Path) -> None:
    """Under each arm, by the kernel's word and without it."""
    lost = WAYS[way]
    if way == "traced" and shutil.which("strace") is None:
        pytest.skip("needs strace; see requirements-debian-test.txt")
    transports = "direct,ipi,memsc" if probes == "none" else "direct,memsc"
    arms = ("--transport", transports, "--service", "inline,scanner")
    done = trace(lost.command, tmp_path, "--probes", probes, *arms, programs=programs)
    found = open_trace(tmp_path / "t.memsc").session
    if probes != "none" and not found.probes[probes].attached:
        pytest.skip(str(found.probes[probes].reason))
    expected = dict(lost.by_layer) | (lost.by_kernel if probes != "none" else {})
    named = {(programs.get(name, name), why): times for (name, why), times in expected.items()}
    assert len(found.rounds) == len(found.arms)
    for one in found.rounds:
        cover = one.coverage
        assert cover is not None
        assert cover.by == ("layer" if probes == "none" else "kernel"), cover.by_reason
        said = Counter({(each.name, each.why): each.times for each in cover.unrecorded})
        assert _matches(said, named), (one.arm, said, done.stderr)
    status, text = report(tmp_path)
    assert status == (4 if expected else 0)
    assert ("ran unrecorded" in text) == bool(expected)
    assert ("accounted for" in text) == (not expected)
    assert "every one accounted for" not in text  # which nobody knows without probe syscalls


@pytest.mark.parametrize("arm", ["direct", "memsc"])
@two_cpus
@layered
def test_one_of_ten_makes_the_verdict_withheld(
    arm: str, programs: dict[str, str], tmp_path: Path
) -> None:
    how = ("--probes", "none", "--transport", arm)
    ten = ["@plain@"] * 9
    whole = trace("; ".join([*ten, "@plain@"]), tmp_path, *how, programs=programs)
    assert whole.returncode == 0
    status, text = report(tmp_path)
    assert status == 0
    assert "✓" in text.partition("accounted for")[0].splitlines()[-1]

    trace("; ".join([*ten, "@static@"]), tmp_path, *how, programs=programs)
    status, text = report(tmp_path)
    assert status == 4
    assert "accounted for" not in text
    line = next(line for line in text.splitlines() if "of the programs that are recorded" in line)
    assert "!" in line
    told = json.loads(report(tmp_path, "--json")[1])
    (cover,) = told["coverage"].values()
    assert cover["programs"] == 11
    (static,) = cover["unrecorded"]
    assert static == {"name": programs["@static@"], "why": STATIC, "times": 1}
    assert told["verdict"]["withheld"]
    page = report(tmp_path, "--html", "page.html")
    assert page[0] == 4
    assert "1 of 11 programs ran unrecorded" in (tmp_path / "page.html").read_text()

    status, text = report(tmp_path, "--allow-unrecorded")
    assert status == 0
    assert "! 1 of 11 programs ran unrecorded" in text
    trace("; ".join([*ten, "@static@"]), tmp_path, *how, "--allow-unrecorded", programs=programs)
    assert report(tmp_path)[0] == 0


@two_cpus
@layered
def test_a_comparison_says_it_too(programs: dict[str, str], tmp_path: Path) -> None:
    trace("@plain@; @static@", tmp_path, "--probes", "none", programs=programs)
    command = ("compare", "t.memsc", "t.memsc")
    done = memsc(*command, cwd=tmp_path)
    assert done.returncode == 4
    assert "BASE: memsc: 1 of 3 programs ran unrecorded" in " ".join(done.stdout.split())
    done = memsc(*command, "--allow-unrecorded", cwd=tmp_path)
    assert done.returncode == 4
    assert re.findall("verdict withheld: (...)", done.stdout) == ["one"]  # session a side
    assert "! BASE: memsc: 1 of 3 programs" in done.stdout


@two_cpus
@layered
def test_calls_that_nobody_saw_are_counted_by_the_kernel(
    programs: dict[str, str], tmp_path: Path
) -> None:
    """In a check round: 300 of the program that is not recorded, and those of its start."""
    trace("@static@; @plain@", tmp_path, "--probes", "syscalls", programs=programs)
    session = open_trace(tmp_path / "t.memsc").session
    if not session.probes["syscalls"].attached:
        pytest.skip(str(session.probes["syscalls"].reason))
    (check,) = [one for one in session.rounds if one.check]
    assert check.coverage is not None
    assert check.coverage.unseen is not None
    assert 300 <= check.coverage.unseen <= 600
    # Without any probe programs tell themselves: the kernel was not asked, and has not said none.
    (plain,) = [one for one in session.rounds if not one.check]
    assert plain.coverage is not None
    assert (plain.coverage.by, plain.coverage.programs) == ("layer", 3)
    assert [each.times for each in plain.coverage.unrecorded] == [1]
    status, text = report(tmp_path)
    assert status == 4
    assert "made by programs that ran unrecorded" in " ".join(text.split())


@pytest.mark.parametrize("arm", ["direct", "ipi", "memsc", "memsc-scanner"])
@two_cpus
@layered
def test_calls_of_its_own_instructions_are_counted_by_the_kernel(arm: str, tmp_path: Path) -> None:
    """No library makes them, so nobody records them; all others are, and are all there are."""
    (tmp_path / "own.c").write_text(_OWN)
    subprocess.run(["gcc", "-O1", "-o", tmp_path / "own", tmp_path / "own.c"], check=True)
    transport, _, service = arm.partition("-")
    how = ("--transport", transport, "--service", service or "inline", "--probes", "syscalls")
    for times, beyond in ((0, 0), (5000, 5001)):
        command = f"ls / | sort; {tmp_path}/own {times}; exec {tmp_path}/own 0"
        trace(command, tmp_path, *how, programs={})
        session = open_trace(tmp_path / "t.memsc").session
        if not session.probes["syscalls"].attached:
            pytest.skip(str(session.probes["syscalls"].reason))
        (check,) = [one for one in session.rounds if one.check]
        assert check.coverage is not None
        assert (check.coverage.unseen, check.coverage.elsewhere) == (0, beyond)
        _, text = report(tmp_path, "--allow-unrecorded")
        assert ("instructions that memsc does not reach" in " ".join(text.split())) == (beyond > 0)
        _, text = report(tmp_path)
        assert ("withheld" in text) == (beyond > 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace is root's to make")
@two_cpus
@layered
def test_children_of_another_pid_namespace_are_no_strangers(tmp_path: Path) -> None:
    """They have other numbers there; that they make few calls makes none of these unseen."""
    forks = "import os; [os.fork() and os.wait() or os._exit(0) for _ in range(20)]"
    elsewhere: list[int | None] = []
    for where in ("unshare -u", "unshare -pf"):
        command = f"{where} /usr/bin/python3 -ISc '{forks}'; true"
        trace(command, tmp_path, "--transport", "direct", "--probes", "syscalls", programs={})
        session = open_trace(tmp_path / "t.memsc").session
        if not session.probes["syscalls"].attached:
            pytest.skip(str(session.probes["syscalls"].reason))
        (check,) = [one for one in session.rounds if one.check]
        assert check.coverage is not None
        assert check.coverage.unseen == 0
        elsewhere.append(check.coverage.elsewhere)
    # Python's own random seed comes from the vDSO since glibc 2.41, which makes one call by itself.
    assert elsewhere[0] == elsewhere[1]
    assert elsewhere[0] in (0, 1)


@pytest.mark.parametrize("arm", ["direct", "memsc"])
@pytest.mark.skipif(not TYPE.exists(), reason="needs the kernel's user-space probes")
@pytest.mark.skipif(os.geteuid() != 0, reason="probes of user space are root's to put")
@two_cpus
@layered
def test_calls_where_others_have_breakpoints_are_said_to_be_unseen(
    arm: str, programs: dict[str, str], tmp_path: Path
) -> None:
    """The layer leaves such instructions as they are: what is called there is nobody's to see."""
    (library,) = {os.path.realpath(one) for one in LIBRARIES if "libc.so" in one}
    ((_, offset),) = functions(library, ("write",))
    call = b"\x0f\x05"
    # Behind the call, at what is moved to make room.
    offset += Path(library).read_bytes()[offset:].index(call) + len(call)
    how = ("--probes", "none", "--transport", arm)
    descriptor = put(library, offset)
    try:
        trace("@plain@", tmp_path, *how, programs=programs)
    finally:
        os.close(descriptor)
    (only,) = open_trace(tmp_path / "t.memsc").session.rounds
    assert only.coverage is not None
    found = {(each.name, each.why) for each in only.coverage.unrecorded}
    assert found == {(name, BREAKPOINTS) for name in (Path("/bin/sh").resolve().name, "plain")}
    status, text = report(tmp_path)
    assert status == 4
    assert "every one accounted for" not in text
