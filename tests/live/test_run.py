# SPDX-License-Identifier: MIT
"""`memsc run`: programs do what they do without it, and what cannot be carried is said."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.command import FRONT, own
from tests.helpers.required import layered

from memsc.runtime import topology
from memsc.tracer.state import folders

COMMAND = (str(FRONT),) if FRONT.exists() else (sys.executable, "-m", "memsc.commands")
MEMSC = (*COMMAND, "run")
MACHINE = topology.read()
TRANSPORTS = ("direct", "ipi", "memsc", "adaptive")[: 4 if len(MACHINE.reachable) > 1 else 2]
ARMS = [(t, s) for t in TRANSPORTS for s in ("inline", "scanner")]
FORWARDING = [arm for arm in ARMS if arm[0] != "direct"]

pytestmark = layered


def run(*args: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*MEMSC, *args],
        capture_output=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
    )
    done.stderr = own(done.stderr.decode()).encode()
    return done


def plain(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, capture_output=True, check=False, timeout=300, cwd=cwd, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "input").write_bytes(os.urandom(100_003))
    for name in ("b", "a", "ä ö", "link"):
        (tmp_path / name).mkdir() if name == "b" else (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(("transport", "service"), ARMS)
@pytest.mark.parametrize("stats", [[], ["--stats"]])
def test_ls_says_the_same(folder: Path, transport: str, service: str, stats: list[str]) -> None:
    if transport == "direct" and stats:
        pytest.skip("direct counts nothing")
    for command in (["ls", "-la", "--full-time", "."], ["ls", "none"]):
        expected = plain(*command, cwd=folder)
        how = ["-q", "--transport", transport, "--service", service, *stats]
        found = run(*how, "--", *command, cwd=folder)
        assert found.returncode == expected.returncode
        assert found.stdout == expected.stdout
        if not stats:
            assert found.stderr == expected.stderr


@pytest.mark.parametrize(("transport", "service"), ARMS)
def test_dd_copies_the_same(folder: Path, transport: str, service: str) -> None:
    options = ["if=input", "bs=512", "status=noxfer"]
    plain("dd", *options, "of=expected", cwd=folder)
    how = ["-q", "--transport", transport, "--service", service]
    found = run(*how, "--", "dd", *options, "of=found", cwd=folder)
    assert found.returncode == 0
    assert found.stderr.splitlines() == [b"195+1 records in", b"195+1 records out"]
    assert (folder / "found").read_bytes() == (folder / "expected").read_bytes()
    assert (folder / "found").read_bytes() == (folder / "input").read_bytes()


@pytest.mark.parametrize(("transport", "service"), FORWARDING)
def test_calls_really_were_forwarded(folder: Path, transport: str, service: str) -> None:
    """A run that forwards nothing would say the same, too."""
    command = ["dd", "if=input", "of=/dev/null", "bs=512", "count=101", "status=none"]
    how = ["-q", "--stats", "--transport", transport, "--service", service]
    found = run(*how, "--", *command, cwd=folder)
    assert found.returncode == 0
    rows = [line.split() for line in found.stderr.decode().splitlines()]
    counts = {row[0]: row[1:] for row in rows if len(row) == 4}
    assert int(counts["read"][0]) >= 101
    assert int(counts["write"][0]) >= 101


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_programs(transport: str, status: int) -> None:
    assert run("--transport", transport, "--", "sh", "-c", f"exit {status}").returncode == status


def test_the_exit_status_is_the_programs_with_statistics() -> None:
    assert run("--stats", "--", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize("options", [["-q"], ["-q", "--stats"], ["-q", "--transport", "direct"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signals_reach_the_program(options: list[str], number: signal.Signals) -> None:
    """Once one that it handles, and then one that it dies of."""
    script = f"trap 'echo got it' {number.name[3:]}; echo; while :; do sleep 0.01; done"
    process = subprocess.Popen(
        [*MEMSC, *options, "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout as stream:
        assert stream.readline() == b"\n"
        process.send_signal(number)
        assert stream.readline() == b"got it\n"
        process.send_signal(signal.SIGALRM)
        assert process.wait(60) == -signal.SIGALRM


@pytest.mark.parametrize("options", [["-q"], ["-q", "--stats"]])
def test_who_was_started_ignoring_children_hears_of_them(options: list[str]) -> None:
    """Then the kernel tells nobody of a child's end; the program goes on ignoring its own."""
    begin = "import os, signal, sys; ignored = signal.SIG_IGN; "
    program = begin + "sys.exit(7 if signal.getsignal(17) == ignored else 8)"
    ignoring = begin + "signal.signal(17, ignored); os.execv(sys.argv[1], sys.argv[1:])"
    python = (sys.executable, "-ISc")
    done = plain(*python, ignoring, *MEMSC, *options, "--", *python, program)
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize("options", [["-q"], ["-q", "--stats"]])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_a_signal_that_ends_the_program_ends_memsc(
    options: list[str], number: signal.Signals
) -> None:
    done = run(*options, "--", "sh", "-c", f"ulimit -c 0; kill -{number.name[3:]} $$")
    assert done.returncode == -number


@pytest.mark.parametrize("options", [["-q"], ["-q", "--stats"], ["-q", "--transport", "direct"]])
def test_a_closed_pipe_ends_the_program_as_ever(options: list[str]) -> None:
    """Python ignores SIGPIPE, and a program that inherits that writes for ever."""
    process = subprocess.Popen(
        [*MEMSC, *options, "--", "yes"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == -signal.SIGPIPE


def test_without_statistics_memsc_becomes_the_program() -> None:
    process = subprocess.Popen(
        [*MEMSC, "-q", "--", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True
    )
    out, _ = process.communicate(timeout=60)
    assert int(out) == process.pid


def test_standard_input_and_arguments_pass_through() -> None:
    done = subprocess.run(
        [*MEMSC, "-q", "sh", "-c", 'cat; printf "<%s>" "$@"', "sh", "--", "-q", "", "a b"],
        input=b"in\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == b"in\n<--><-q><><a b>"


def test_the_environment_is_the_users() -> None:
    mine = {"PATH": os.environ["PATH"], "MEMSC_RECORD": "1", "A": "b"}
    done = subprocess.run(
        [*MEMSC, "-q", "--transport", "direct", "--", "env", "-0"],
        env=mine,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert found == {name: mine[name] for name in ("PATH", "A")}


def test_it_says_which_cpus_were_chosen() -> None:
    placed = topology.place(MACHINE, "ipi")
    apps, services = map(topology.format_cpus, (placed.app_cpus, placed.service_cpus))
    first = run("--transport", "ipi", "--", "true").stderr.decode().splitlines()[0]
    assert first == f"memsc: ipi inline, application CPU {apps}, service CPU {services}"
    assert run("-q", "--transport", "ipi", "--", "true").stderr == b""
    direct = run("--transport", "direct", "--", "true").stderr.decode()
    assert direct == f"memsc: direct, application CPU {apps}\n"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_program_runs_where_it_was_told_to(transport: str) -> None:
    show = "import os; print(*os.sched_getaffinity(0))"
    for cpu in sorted(MACHINE.reachable)[:2] if len(MACHINE.reachable) > 1 else ():
        how = ["-q", "--transport", transport, "--app-cpus", str(cpu)]
        done = run(*how, "--", sys.executable, "-c", show)
        assert done.stdout.split() == [str(cpu).encode()]


def test_spin_and_idle_reach_the_program() -> None:
    def steered(*options: str) -> dict[str, str]:
        done = run("-q", "--transport", "ipi", *options, "--", "env", "-0")
        assert done.returncode == 0
        return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)

    assert "MEMSC_IDLE_US" not in steered()
    assert steered("--idle", "5")["MEMSC_IDLE_US"] == "5"
    assert steered("--idle", "never")["MEMSC_IDLE_US"] == "never"
    spinning = steered("--spin")
    assert (spinning["MEMSC_IDLE_US"], spinning["MEMSC_SPIN_US"]) == ("never", "never")


BAD: list[tuple[list[str], int, str]] = [
    ([], 2, "no program is named"),
    (["--"], 2, "no program is named"),
    (["--", "no-such-program"], 1, "no-such-program: there is no such program on PATH"),
    (["--", "/etc"], 1, "/etc: it is a folder"),
    (["--", "/etc/passwd"], 1, "may not be executed"),
    (["--transport", "fast", "--", "true"], 2, "--transport fast: there is none"),
    (["--transport", "--", "true"], 2, "expected one argument"),
    (["--service", "fast", "--", "true"], 2, "--service fast: there is none"),
    (["--app-cpus", "0", "--service-cpus", "0", "--", "true"], 1, "a CPU of its own"),
    (["--app-cpus", "8000", "--", "true"], 1, "no CPU 8000"),
    (["--service-cpus", "8000", "--", "true"], 1, "no CPU 8000"),
    (["--app-cpus", "x", "--", "true"], 2, "neither a CPU nor a range"),
    (["--app-cpus", "", "--", "true"], 2, "neither a CPU nor a range"),
    (["--idle", "x", "--", "true"], 2, "--idle x"),
    (["--idle", "99999999999", "--", "true"], 2, "no number of microseconds"),
    (["--spin", "--idle", "5", "--", "true"], 2, "give one of them"),
    (["--stats", "--transport", "direct", "--", "true"], 2, "counts nothing"),
    (["--attachable", "--transport", "direct", "--", "true"], 2, "choose another transport"),
]


@pytest.mark.parametrize(("args", "status", "says"), BAD)
def test_bad_input_is_one_line(args: list[str], status: int, says: str) -> None:
    if "a CPU of its own" in says and len(MACHINE.reachable) < 2:
        pytest.skip("needs two CPUs")
    done = run(*args)
    text = done.stderr.decode()
    assert done.returncode == status
    assert done.stdout == b""
    assert text.startswith("memsc: ")
    assert text.count("\n") == 1
    assert says in text


def test_a_static_program_is_refused_and_runs_directly(tmp_path: Path) -> None:
    source, program = tmp_path / "static.c", tmp_path / "static"
    source.write_text("int main(void) { return 3; }\n")
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    refused = run("--", str(program))
    assert refused.returncode == 1
    assert b"linked statically" in refused.stderr
    assert run("-q", "--transport", "direct", "--", str(program)).returncode == 3


def test_the_loader_may_be_the_program() -> None:
    """It loads the layer beside the program that it is given; it was called static."""
    named = re.search(rb"/lib[\w/]*/ld-linux[\w.-]+", Path("/bin/sh").resolve().read_bytes())
    assert named is not None
    done = run("--stats", "--transport", "ipi", "--", named[0].decode(), "/bin/echo", "here")
    assert (done.returncode, done.stdout) == (0, b"here\n")
    assert b"rewritten" in done.stderr


def test_nothing_is_left_behind() -> None:
    base = folders.base()
    before = set(base.glob("*")) if base.exists() else set[Path]()
    process = subprocess.Popen([*MEMSC, "-q", "--stats", "--", "true"], stderr=subprocess.DEVNULL)
    assert process.wait(60) == 0
    after = set(base.glob(f"session-{process.pid}-*"))
    assert not after - before
