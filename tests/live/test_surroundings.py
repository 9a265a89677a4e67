# SPDX-License-Identifier: MIT
"""Rough places: in each surrounding each command does its work, or says in a line what would help.

Whatever the surrounding, there is no traceback, and nothing half-written stays.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.helpers import traces
from tests.helpers.command import FRONT, own

from memsc.runtime import topology
from memsc.runtime.errors import WITHHELD

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take things away")
pytestmark = [
    needs_root,
    pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs"),
]

TRACEBACK = re.compile(
    r"Traceback|fault of memsc|Exception ignored|Fatal Python|\w+Error\b|terminated by signal"
)

COMMANDS = {
    "help": "--help",
    "doctor": "doctor",
    "doctor --json": "doctor --json",
    "run": "run -q -- true",
    "run --stats": "run -q --stats --stats-json stats.json -- true",
    "trace": "trace -f -o new.memsc --no-calibrate -- true",
    "report": "report a.memsc",
    "report --json": "report a.memsc --json",
    "report --html": "report a.memsc --html page.html --figure figure.svg",
    "compare": "compare a.memsc b.memsc -- a.memsc b.memsc",
    "export": "export a.memsc -f --format csv -o table.csv",
    "flamegraph": "export a.memsc -f --format flamegraph -o flame.svg",
    "clean": "clean",
}
PRINTS = {
    "help",
    "doctor",
    "doctor --json",
    "report",
    "report --json",
    "report --html",
    "compare",
    "clean",
}
WORKS = {
    **{name: {0, WITHHELD} for name in ("report", "report --json", "report --html")},
    "compare": {WITHHELD},  # two a side tell nothing
}
"""How a command ends that did its work; the others end with 0."""
WRITES = {"run --stats", "trace", "report --html", "export", "flamegraph"}


@dataclass(frozen=True)
class Surrounding:
    """A shell's line around the command `$MEMSC …`, and what comes of it.

    Args:
        shell: the line; `{}` is the command.
        fails: commands that cannot do their work there.
        says: what their one line has in it.
        status: how they end.
        variables: of the environment.
        may_fail: commands that may, with that line and status, or do their work.
    """

    shell: str
    fails: frozenset[str] = frozenset()
    says: str = ""
    status: int = 1
    variables: tuple[str, ...] = ()
    may_fail: frozenset[str] = frozenset()


def few(number: int, *fails: str) -> Surrounding:
    return Surrounding(
        f"ulimit -n {number}; {{}}",
        frozenset(fails),
        "Too many open files; raise",
        may_fail=frozenset({"doctor", "doctor --json"}),  # whose threads take from each other
    )


_IN_MOUNTS = "unshare --mount bash -ec 'mount {}; exec \"$@\"' - {{}}"


def without(folder: str, *fails: str, says: str = "") -> Surrounding:
    """Where nothing is in that folder, and nothing can be put there."""
    shell = _IN_MOUNTS.format(f"-t tmpfs -o ro none {folder}")
    return Surrounding(shell, frozenset(fails), says)


_PLAIN = ("LC_ALL=POSIX", "PYTHONCOERCECLOCALE=0", "PYTHONUTF8=0")
_WITHOUT = "setpriv --bounding-set=-dac_override,-dac_read_search -- {}"
ABSENT = {
    "no /sys": without("/sys"),
    "no /proc": without("/proc", *COMMANDS, says="mount /proc"),
    "processes alone": Surrounding(_IN_MOUNTS.format("-t proc -o subset=pid none /proc")),
    "no /dev/shm": without("/dev/shm", "trace", says="mount a tmpfs there"),
    "no cgroups": without("/sys/fs/cgroup"),
    "no tracefs": without("/sys/kernel/tracing"),
}
"""Where memsc looks at the machine."""
SURROUNDINGS = {
    "none": Surrounding("{}"),
    "closed stdin": Surrounding("{} <&-"),
    "closed stdout": Surrounding("{} >&-", frozenset(PRINTS), "standard output: it is closed; "),
    "closed stderr": Surrounding("{} 2>&-"),
    "full stdout": Surrounding("{} >/dev/full", frozenset(PRINTS), "No space left"),
    "full stderr": Surrounding("{} 2>/dev/full"),
    "left stdout": Surrounding("{} | :; exit ${PIPESTATUS[0]}", frozenset(PRINTS), status=141),
    "left stderr": Surrounding("{ {}; } 2>&1 >/dev/null | :; exit ${PIPESTATUS[0]}"),
    "ASCII": Surrounding("{}", variables=("PYTHONIOENCODING=ascii",)),
    "strict Latin-1": Surrounding("{}", variables=("PYTHONIOENCODING=latin-1:strict",)),
    "no UTF-8": Surrounding("{}", variables=_PLAIN),
    "Latin-1": Surrounding("{}", variables=("LC_ALL=de_DE.ISO-8859-1", "LOCPATH=locales")),
    "no file": few(4, *COMMANDS),
    "few files": few(9, "trace"),
    "no room": Surrounding("ulimit -f 0; {}", frozenset(WRITES), "File too large|temporary"),
    "no DAC": Surrounding(_WITHOUT),
    "user name space": Surrounding("unshare -Ur {}"),
    **ABSENT,
}
QUICK = {
    *(
        (name, command)
        for name in SURROUNDINGS
        if name not in ABSENT
        for command in ("run --stats", "report", "clean")
    ),
    *((name, "report --html") for name in ("closed stdout", "no UTF-8", "no room")),
    *((name, "doctor") for name in ("no /sys", "processes alone")),
    *((name, "trace") for name in ("no /sys", "no /dev/shm")),
}
"""The others take minutes: `make test-places`."""


Results = dict[tuple[str, str], tuple[int, str]]


@pytest.fixture(scope="module")
def results() -> Generator[Results]:
    """Statuses and last complaints, of which `make places` makes its table, those of before too."""
    kept = Path("build/surroundings.json")
    found: Results = {}
    if kept.exists():
        found |= {
            (row, column): (status, line)
            for row, column, status, line in json.loads(kept.read_text())
        }
    yield found
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps([(*key, *value) for key, value in found.items()]))
    keys = {command: chr(ord("a") + i) for i, command in enumerate(COMMANDS)}
    lines = [f"{key}: memsc {COMMANDS[command]}" for command, key in keys.items()]
    lines += ["", f"{'':<16}" + "".join(f"{key:>4}" for key in keys.values())]
    for name in SURROUNDINGS:
        row = [found.get((name, command), ("–", ""))[0] for command in COMMANDS]
        lines.append(f"{name:<16}" + "".join(f"{status:>4}" for status in row))
    lines.append("")
    lines += sorted({line for _, line in found.values() if line})
    Path("build/surroundings.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surroundings")
    for seed, name in enumerate("ab"):
        traces.fabricate(folder / f"{name}.memsc", rounds=2, calls=300, seed=seed)
    return folder


def tidy(place: Path) -> None:
    for path in place.iterdir():
        if path.name not in ("a.memsc", "b.memsc", "locales"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def anothers() -> Path:
    """Where another user keeps what dead sessions of his left."""
    folder = Path("/dev/shm/memsc-65533")
    (folder / "session-1-1").mkdir(parents=True, exist_ok=True)
    for path in (folder, folder / "session-1-1"):
        os.chown(path, 65533, 65533)
        path.chmod(0o700)
    return folder


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param(name, command, marks=() if (name, command) in QUICK else pytest.mark.long)
        for name in SURROUNDINGS
        for command in COMMANDS
    ],
)
def test_it_works_or_says_in_a_line_what_would_help(
    name: str, command: str, place: Path, results: Results, request: pytest.FixtureRequest
) -> None:
    there = SURROUNDINGS[name]
    if name == "Latin-1":
        latin_1(place / "locales")
    if name in ("no DAC", "user name space"):
        request.getfixturevalue("anothers")
    before = {path.name for path in place.iterdir()}
    done = subprocess.run(
        ["bash", "-c", there.shell.replace("{}", f"{FRONT} {COMMANDS[command]}")],
        cwd=place,
        env=os.environ | dict(word.split("=", 1) for word in there.variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    said = own(done.stderr.decode("latin-1"))
    assert not TRACEBACK.search(said + done.stdout.decode("latin-1")), said
    assert not list(place.rglob("*.partial"))
    complaints = [line for line in said.splitlines() if re.match(r"memsc: (?!note).*: .*; ", line)]
    results[name, command] = done.returncode, complaints[-1] if complaints else ""
    if command in there.fails or (done.returncode == there.status and command in there.may_fail):
        assert done.returncode == there.status, said
        assert not there.says or re.search(there.says, complaints[-1]), said
    else:
        assert done.returncode in WORKS.get(command, {0}), said
        made = {path.name for path in place.iterdir()} - before
        assert bool(made) == (command in WRITES)
    tidy(place)


def within(limit: str, command: str, place: Path, says: str) -> None:
    """Under a limit of the shell's a command works, or says in its last line what would help."""
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; {FRONT} {COMMANDS[command]}"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not TRACEBACK.search(done.stderr + done.stdout), done
    assert done.returncode in {1, *WORKS.get(command, {0})}, done
    if done.returncode == 1:
        assert says in done.stderr.splitlines()[-1], done
    assert not list(place.rglob("*.partial"))
    tidy(place)


@pytest.mark.long
@pytest.mark.parametrize("command", ["doctor", "run", "trace", "report", "clean"])
@pytest.mark.parametrize("files", range(4, 33))
def test_any_number_of_files(files: int, command: str, place: Path) -> None:
    """Where each one of a command's files is the one too many."""
    within(f"-n {files}", command, place, "Too many open files; raise `ulimit -n`")


@pytest.mark.long
@pytest.mark.parametrize("command", sorted(WRITES))
@pytest.mark.parametrize("blocks", [1, 2, 4, 8, 16, 64, 256])
def test_any_length_of_files(blocks: int, command: str, place: Path) -> None:
    """Where each file that a command writes is the one too long, at its begin or later."""
    within(f"-f {blocks}", command, place, "raise `ulimit -f`")


@pytest.mark.long
@pytest.mark.parametrize("command", sorted(PRINTS))
def test_a_reader_may_leave_after_a_line(command: str, place: Path) -> None:
    line = f"{FRONT} {COMMANDS[command]} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=place, capture_output=True, text=True, check=False, timeout=120
    )
    # It may have written all before.
    assert done.returncode in {141, *WORKS.get(command, {0})}, done
    assert done.stdout.count("\n") == 1
    assert not own(done.stderr)
    tidy(place)


MOMENTS_MS = (0, 5, 20, 50, 100, 200)
LASTS = COMMANDS | {
    "run": "run -q -- sleep 9",
    "trace": COMMANDS["trace"].replace("true", "sleep 9"),
}


@pytest.mark.parametrize(
    ("command", "after_ms"),
    [
        pytest.param(
            *(command, after_ms),
            marks=() if command in ("report", "clean", "run") else pytest.mark.long,
        )
        for command in COMMANDS
        for after_ms in MOMENTS_MS
    ],
)
def test_ctrl_c_at_any_moment_is_no_traceback(command: str, after_ms: int, place: Path) -> None:
    with subprocess.Popen(
        [FRONT, *LASTS[command].split()],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(after_ms / 1000)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert not TRACEBACK.search(said), said
    if command not in ("trace", "run --stats"):  # which say what they do
        assert not own(said)
    # It may have been done already.
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT, *WORKS.get(command, {0}))
    tidy(place)


def test_ctrl_c_that_a_library_makes_an_import_error_of(tmp_path: Path) -> None:
    """As NumPy does while it is imported."""
    script = (
        "import os, signal\n"
        "from memsc.commands import __main__ as command\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise ImportError('cannot import') from None\n"
        "command.main = main\n"
        "command.start()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_while_the_module_is_imported() -> None:
    """As `python -m memsc.commands`, which has no front that would hold it."""
    script = (
        "import os, runpy, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'memsc.commands.streams':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "runpy.run_module('memsc.commands', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def latin_1(folder: Path) -> None:
    """A locale that is not of UTF-8, made if the machine has what it is made of."""
    folder.mkdir(exist_ok=True)
    made = ["localedef", "-f", "ISO-8859-1", "-i", "de_DE", str(folder / "de_DE.ISO-8859-1")]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the package locales")
