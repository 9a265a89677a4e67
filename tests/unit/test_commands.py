# SPDX-License-Identifier: MIT
"""The command line's manners: help, bad input, and how errors end."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.command import MEMSC, own

from memsc.commands import __main__ as command_line
from memsc.runtime.errors import WITHHELD, MemscError


def memsc(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MEMSC, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def behaviour(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], int]:
    """Runs main with one sub-command, `doctor`, that does what it is given."""

    def run(work: Callable[[], int]) -> int:
        class Fake:
            """Do something."""

            def configure(self, parser: argparse.ArgumentParser) -> None:
                pass

            def run(self, args: argparse.Namespace) -> int:
                return work()

        def load(_: str) -> Fake:
            return Fake()

        monkeypatch.setattr(command_line, "load", load)
        return command_line.main(["doctor"])

    return run


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def test_no_command_prints_the_help_and_fails() -> None:
    done = memsc()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: memsc" in done.stderr
    assert "exit status:" in done.stderr


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in command_line.NAMES)])
def test_help_is_a_result(args: list[str]) -> None:
    done = memsc(*args)
    assert done.returncode == 0
    assert "usage: memsc" in done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_version() -> None:
    done = memsc("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("memsc 0.")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nonsense"], "there is no command 'nonsense'"),
        ([""], "there is no command ''"),
        (["Doctor"], "there is no command 'Doctor'"),
        (["--nonsense"], "--nonsense"),
        (["--ver"], "--ver"),
        (["doctor", "--nonsense"], "--nonsense"),
        (["doctor", "--js"], "--js"),
        (["doctor", "surplus"], "surplus"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(args: list[str], says: str) -> None:
    done = memsc(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("memsc: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "--help" in done.stderr


def test_every_listed_command_is_there_and_explains_itself() -> None:
    names = command_line.available()
    assert "doctor" in names
    for name in names:
        command = command_line.load(name)
        assert command.__doc__, name
        command.configure(argparse.ArgumentParser())


def test_a_command_is_found_without_importing_the_others_or_what_is_heavy() -> None:
    script = (
        "import sys\n"
        "from memsc.commands.__main__ import parse\n"
        "parse(['doctor'])\n"
        "print(*sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "memsc.commands.doctor" in loaded
    assert not loaded & {"numpy", "pandas", "pyarrow", "rich", "matplotlib", "bcc"}
    others = {f"memsc.commands.{name}" for name in command_line.NAMES} - {"memsc.commands.doctor"}
    assert not loaded & others


HEAVY = (
    *("scipy", "seaborn", "matplotlib", "pandas", "pyarrow", "numpy", "rich", "jinja2", "dask"),
    *("fsspec", "upath", "distributed", "IPython", "elftools", "multi_demangle", "bcc", "asyncio"),
)
"""Libraries that take more than 10 ms to import, and those that bring them."""
CALLS = Path(__file__).resolve().parents[2] / "notebooks" / "traces" / "calls.memsc"


@pytest.mark.parametrize(
    ("words", "may"),
    [
        ("export {calls} --format hgrm -o {out}", {"numpy", "pyarrow"}),
        ("export {calls} --format hlog -o {out}", {"numpy", "pyarrow"}),
        ("export {calls} --format folded -o {out}", {"numpy", "pyarrow", "pandas"}),
        ("report {calls}", {"numpy", "pyarrow", "pandas", "rich"}),
        ("report {calls} --json", {"numpy", "pyarrow", "pandas", "rich"}),
    ],
)
def test_a_command_imports_what_it_uses(words: str, may: set[str], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from memsc.commands import __main__ as command_line\n"
        "command_line.tidy = lambda argv: None\n"  # what others left here is not its own
        "command_line.main(sys.argv[1:])\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    argv = words.format(calls=CALLS, out=tmp_path / "out").split()
    done = subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True
    )
    assert {name for name in HEAVY if name in done.stderr.split()} <= may


def test_an_error_is_one_line_with_its_remedy_and_status(
    behaviour: Callable[[Callable[[], int]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    error = MemscError("a trace", "line one\n  line two", "do this", WITHHELD)
    assert behaviour(raising(error)) == 4
    said = capsys.readouterr()
    assert said.err == "memsc: a trace: line one line two; do this\n"
    assert said.out == ""


def test_an_interrupt_is_quiet(
    behaviour: Callable[[Callable[[], int]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert behaviour(raising(KeyboardInterrupt())) == 130
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_a_fault_of_ours_is_not_dressed_up(
    behaviour: Callable[[Callable[[], int]], int],
) -> None:
    with pytest.raises(ZeroDivisionError):
        behaviour(raising(ZeroDivisionError()))


def test_the_status_of_the_command_is_passed_on(
    behaviour: Callable[[Callable[[], int]], int],
) -> None:
    assert behaviour(lambda: 3) == 3


def test_a_reader_that_leaves_causes_no_traceback() -> None:
    script = f"{sys.executable} -m memsc.commands doctor --json | head -c 0"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert own(done.stderr) == ""


IN_A_FINALISER = """
import signal, time
from memsc.commands import __main__ as command_line

class Ended:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def main():
    Ended()
    time.sleep(30)
    print("nobody heard of it")
    return 0

command_line.main = main
command_line.start()
"""


def test_ctrl_c_where_python_ignores_errors_is_not_lost() -> None:
    command = [sys.executable, "-c", IN_A_FINALISER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")


def test_a_full_disk_is_reported() -> None:
    script = f"{sys.executable} -m memsc.commands doctor --json > /dev/full"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("memsc: the output is incomplete: No space left")
    assert done.stderr.count("\n") == 1
