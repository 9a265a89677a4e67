# SPDX-License-Identifier: MIT
"""`memsc run --stats`: what was forwarded, what stayed on the caller and why, exactly counted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.command import FRONT
from tests.helpers.required import layered

from memsc.runtime.session_socket import Message
from memsc.runtime.tally import Tally, to_json
from memsc.runtime.tally_text import table

MEMSC = (str(FRONT), "run", "-q", "--transport", "ipi")
PYTHON = "/usr/bin/python3"

pytestmark = layered


def run(*command: str, options: tuple[str, ...] = ("--stats",)) -> Any:
    done = subprocess.run(
        [*MEMSC, *options, "--", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


def counted(code: str, folder: Path, *more: str) -> dict[str, Any]:
    """Statistics of a Python program, as JSON."""
    file = folder / "stats.json"
    done = run(PYTHON, "-I", "-S", "-c", code, options=(*more, "--stats-json", str(file)))
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(file.read_text())
    assert found["forwarded"] == sum(call["forwarded"] for call in found["calls"].values())
    assert found["local"] == sum(call["local"] for call in found["calls"].values())
    for kind in ("missed", "local"):
        sums = [n for calls in found[f"{kind}_by_reason"].values() for n in calls.values()]
        assert found[kind] == sum(sums)
    return found


def test_every_call_is_counted_once(tmp_path: Path) -> None:
    """Also over a change of credentials, which ends the service, and in forked children.

    From 3.12 on os.fork looks at the process's threads, which would end the service, too.
    """
    found = counted(
        "import ctypes, os\n"
        "fork = ctypes.PyDLL(None).fork\n"
        "for _ in range(300): os.getppid()\n"
        "os.setgid(os.getgid())\n"
        "for _ in range(200): os.getppid()\n"
        "for _ in range(2):\n"
        "    if fork() == 0:\n"
        "        for _ in range(100): os.getppid()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "for _ in range(50): os.getppid()\n",
        tmp_path,
    )
    assert found["calls"]["getppid"] == {"forwarded": 750, "missed": 0, "local": 0}
    assert found["calls"]["setgid"] == {"forwarded": 0, "missed": 0, "local": 1}
    assert sum(found["programs"].values()) == 3
    # Forked children have their parent's instructions, which are told of once.
    assert 400 < sum(found["instructions"]["rewritten"].values()) < 700
    assert found["share"] == 1
    assert (found["transport"], found["service"]) == ("ipi", "inline")


def test_a_failed_exec_counts_nothing_twice(tmp_path: Path) -> None:
    found = counted(
        "import os\n"
        "open('/tmp', opener=lambda *_: os.open('/dev/null', 0)).close()\n"
        "for _ in range(70): os.getppid()\n"
        f"file = {str(tmp_path / 'no-program')!r}\n"
        "open(file, 'w').close(); os.chmod(file, 0o755)\n"
        "try: os.execv(file, ['x'])\n"
        "except OSError: pass\n"
        "for _ in range(80): os.getppid()\n",
        tmp_path,
    )
    assert found["calls"]["getppid"]["forwarded"] == 150


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs a CPU for each side")
@pytest.mark.parametrize("service", ["inline", "scanner"])
def test_on_the_cpu_of_its_service_a_thread_calls_directly(service: str, tmp_path: Path) -> None:
    """There one would wait for the other's time slice, 500 to 4,000 times as long as the call."""
    found = counted(
        "import os\n"
        "mine, service = os.sched_getaffinity(0), {int(os.environ['MEMSC_SERVICE_CPUS'])}\n"
        "for _ in range(30): os.getppid()\n"
        "os.sched_setaffinity(0, service)\n"
        "for _ in range(2000): os.getppid()\n"
        "os.sched_setaffinity(0, mine)\n"
        "for _ in range(40): os.getppid()\n",
        tmp_path,
        "--transport=memsc",
        f"--service={service}",
    )
    assert found["calls"]["getppid"] == {"forwarded": 70, "missed": 2000, "local": 0}
    assert found["missed_by_reason"] == {"thread ran on the CPU of its service": {"getppid": 2000}}


def test_what_stays_has_the_tables_reason(tmp_path: Path) -> None:
    found = counted(
        "import os, resource, threading\n"
        "for _ in range(7): threading.get_native_id()\n"
        "for _ in range(30): resource.getrusage(resource.RUSAGE_THREAD)\n"
        "for _ in range(20): resource.getrusage(resource.RUSAGE_SELF)\n",
        tmp_path,
    )
    assert found["calls"]["getrusage"] == {"forwarded": 20, "missed": 0, "local": 30}
    reasons = found["local_by_reason"]
    assert reasons["clock or usage of the calling thread"] == {"getrusage": 30}
    assert "gettid" in reasons["names or changes the calling thread"]
    assert "not in memsc's table" not in reasons


def test_what_was_missed_has_a_reason(tmp_path: Path) -> None:
    found = counted(
        "import subprocess; subprocess.run(['true'], close_fds=True, cwd='/')", tmp_path
    )
    (calls,) = found["missed_by_reason"].values()
    assert list(found["missed_by_reason"]) == ["vfork child, in its parent's memory"]
    assert calls["chdir"] == 1
    assert found["calls"]["chdir"]["missed"] == 1
    assert 0 < found["share"] < 1


def test_threads_on_their_own_are_counted_to_the_end(tmp_path: Path) -> None:
    """One that takes other credentials alone calls by itself from then on, and says so."""
    found = counted(
        "import ctypes, os, threading\n"
        "done = threading.Event()\n"
        "threading.Thread(target=done.wait).start()\n"
        "ctypes.CDLL(None).unshare(0)\n"
        "for _ in range(60): os.getppid()\n"
        "done.set()\n",
        tmp_path,
    )
    assert found["calls"]["getppid"]["missed"] == 60
    why = "thread has credentials or files of its own"
    assert found["missed_by_reason"][why]["getppid"] == 60
    assert found["programs"] == {Path(PYTHON).resolve().name: 1}


def test_several_programs_are_summed_up() -> None:
    text = run("sh", "-c", "ls / >&2; ls / >&2; true").stderr
    assert "ls ×2" in text
    assert "of what can be" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_killed_programs_counts_are_not_invented() -> None:
    text = run("sh", "-c", "kill -KILL $$").stderr
    assert text.splitlines()[-1] == "not counted: dash: ended by a signal"
    text = run("sh", "-c", "yes | head -n 1; true").stderr
    assert "not counted: yes: ended by a signal" in text
    assert "head" in text.splitlines()[0]


def test_a_file_that_cannot_be_written_is_said_before_the_program_runs(tmp_path: Path) -> None:
    done = run("touch", str(tmp_path / "ran"), options=("--stats-json", str(tmp_path / "no" / "x")))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No such file" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_what_is_none_of_it_is_passed_over() -> None:
    tally = Tally()
    (first,) = table(tally, "ipi inline")
    assert first.startswith("no statistics")
    good: dict[str, Any] = {"program": "x\x1b[2J", "end": "exit", "sites": {}, "unpatched": {}}
    good |= {"forwarded": {"read": 2}, "local": {"futex": 1}, "missed": {"why": {"close": 1}}}
    bad: list[dict[str, Any]] = [{}, {"sites": 1}, good | {"forwarded": {"read": "a"}}]
    bad += [{"executes": None}, {"starts": 1}, {"leaves": []}, {"program": 7}]
    bad += [good | {"missed": {"why": 1}}]
    for said in (good, *bad, good):
        tally.add(Message(1, said))
    assert tally.programs == ["x\\x1b[2J"] * 2
    assert tally.rows() == [("read", 4, 0, 0), ("close", 0, 2, 0), ("futex", 0, 0, 2)]
    assert tally.share == 4 / 6


def test_the_table_keeps_to_80_columns() -> None:
    tally = Tally()
    many = {f"a_rather_long_name_of_a_call_{n}": 10**7 + n for n in range(90)}
    line = {"program": "p" * 70, "sites": {"after": 3}, "unpatched": {"jump": 1}}
    line |= {"forwarded": many, "local": many, "missed": {"w" * 60: many}}
    tally.add(Message(1, line))
    lines = list(table(tally, "memsc scanner"))
    assert max(map(len, lines)) == 80
    assert "75 others" in "\n".join(lines)
    assert to_json(Tally())["share"] is None


def test_a_program_whose_text_may_not_be_changed_goes_on_directly() -> None:
    """Refused before any place was planned in the objects behind the first."""
    code = (
        "import ctypes, os\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):\n"  # PR_SET_MDWE, which exec inherits
        "    os._exit(77)\n"
        "os.execv('/bin/echo', ['echo', 'said'])"
    )
    done = run(PYTHON, "-I", "-S", "-c", code)
    if done.returncode == 77:
        pytest.skip("needs PR_SET_MDWE, Linux 6.3")
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr
    assert "echo: the system lets no program change its text" in done.stderr
