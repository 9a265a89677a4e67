# SPDX-License-Identifier: MIT
"""Where users are: memsc does what it can there, and says of each lack in a line what would help.

Every lack is real: a filter, dropped capabilities, name spaces, another user, an affinity. The
benchmark in each place takes minutes: `make test-places`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import places
from tests.helpers.command import FRONT
from tests.live import test_sudo
from tests.live.test_sudo import User

from memsc.commands.__main__ import main
from memsc.runtime import topology
from memsc.runtime.errors import WITHHELD

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take things away")
needs_two_cpus = pytest.mark.skipif(len(topology.read().reachable) < 2, reason="needs two CPUs")
pytestmark = [needs_root, needs_two_cpus]

PROBES = {"BPF", "BCC", "uprobes"}
LACKS = {
    "without-bpf": PROBES | {"counters"},
    "without-capabilities": PROBES | {"isolation", "counters"},
    "container": PROBES | {"isolation", "tracefs", "counters"},
    "one-cpu": {"CPUs"},
    "without-counter": {"clock"},
}
"""What `memsc doctor` finds missing in each place."""
CARRIES = {"one-cpu": ["direct", "ipi"]}
"""Transports that work there; elsewhere all do."""
NOTED = {name: "no probes" for name, lacks in LACKS.items() if "BPF" in lacks}
SAID = {
    **dict.fromkeys(NOTED, r"\? not checked: .*IPIs to app CPU"),
    "one-cpu": "✓ stamps in order, every call within its round",
    "without-counter": "! the CPU's counter is not invariant",
}
"""What the report of a trace from there says."""
FAULT = re.compile(r"Traceback|fault of memsc|install headers")
REMEDIES = {
    "without-bpf": "seccomp filter.*--privileged",
    "without-capabilities": "lacks the capability sys_admin.*--privileged",
    "container": "this is a container.*--pid=host",
}


class There:
    """Runs memsc in a place, in a folder of its own."""

    def __init__(self, place: str, folder: Path) -> None:
        self.place, self.folder = place, folder

    def memsc(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """A command, which ends with that status and complains of no fault."""
        done = subprocess.run(
            [sys.executable, places.__file__, self.place, FRONT, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == status, done
        assert not FAULT.search(done.stdout + done.stderr), done
        return done


@pytest.fixture(params=LACKS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> There:
    return There(request.param, tmp_path)


def missing_in(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    listed = json.loads(done.stdout)["features"]
    for feature in listed:
        assert "\n" not in feature["detail"] + feature["remedy"]
        assert bool(feature["remedy"]) == (feature["state"] != "ok"), feature
    return {feature["name"]: feature for feature in listed if feature["state"] == "missing"}


def test_doctor_names_what_is_missing(there: There) -> None:
    done = there.memsc("doctor", "--json", status=int(there.place == "one-cpu"))
    here = subprocess.run([FRONT, "doctor", "--json"], capture_output=True, text=True, check=False)
    missing = missing_in(done)
    assert LACKS[there.place] <= set(missing)
    # What is there is not called missing.
    more = {name for name in set(missing) - set(missing_in(here)) if ":" not in name}
    assert more <= LACKS[there.place] | {"USDT", "fentry", "hardware counters", "rdpmc"}, more
    if "BPF" in missing:
        remedies = {missing[name]["remedy"] for name in ("BPF", "uprobes", "sched:sched_switch")}
        assert len(remedies) == 1
        assert "--privileged" in remedies.pop()


def test_a_program_runs_is_traced_and_reported(
    there: There, capsys: pytest.CaptureFixture[str]
) -> None:
    works = CARRIES.get(there.place, ["direct", "ipi", "memsc"])
    (there.folder / "a file").touch()
    if "memsc" in works:
        assert there.memsc("run", "--", "ls").stdout == "a file\n"
    else:
        said = there.memsc("run", "--", "ls", status=1).stderr
        assert re.fullmatch(r"memsc: .*--transport direct or --transport ipi\n", said)
        assert there.memsc("run", "--transport", "ipi", "--", "ls").stdout == "a file\n"
    done = there.memsc(
        *("trace", "-o", "t.memsc", "--no-calibrate", "--transport", ",".join(works)),
        *("--probes", "sched,ipi", "--", sys.executable, "-ISc"),
        "import os; [os.getppid() for _ in range(1009)]",
    )
    notes = [line for line in done.stderr.splitlines() if "note: no probes" in line]
    assert len(notes) == int(there.place in NOTED)
    if notes:
        assert re.search(REMEDIES[there.place], notes[0])
    assert main(["report", str(there.folder / "t.memsc")]) in (0, WITHHELD)
    said = re.sub(r"\n {4}", " ", capsys.readouterr().out)
    assert re.search(r"✓ [\d,]+ calls recorded, 0 lost, all that reached memsc accounted for", said)
    assert re.search(SAID[there.place], said), said
    shared = re.search(r"note: CPU \d+ is both sides'", done.stderr)
    assert bool(shared) == (there.place == "one-cpu")


def test_a_container_isolates_by_affinity(tmp_path: Path) -> None:
    """Only there: elsewhere this would move other programs of the machine, and lock nobody out."""
    ask = "import os; print(os.sched_getaffinity(1), os.sched_getaffinity(0))"
    words = ("run", "--isolate", "--", sys.executable, "-ISc", ask)
    done = There("container", tmp_path).memsc(*words)
    others, mine = done.stdout[:-2].split("} ")
    assert others != mine


user = test_sudo.user


def test_a_user_whom_sudo_lets_nothing(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even to attach probes: the rest works, and what would help is said."""
    done = user.memsc("doctor", "--json")
    assert done.returncode == 0, done
    listed: list[dict[str, Any]] = json.loads(done.stdout)["features"]
    state = {feature["name"]: feature for feature in listed}
    assert state["BPF"]["state"] == "unknown"
    assert state["BPF"]["remedy"] == "run it with sudo"
    assert state["libmemsc"]["state"] == state["C-library layer"]["state"] == "ok"
    code = "import os; [os.getppid() for _ in range(1009)]"
    arms = ("--transport", "direct,ipi,memsc")
    words = ("trace", "-o", "t.memsc", "--no-calibrate", *arms)
    done = user.memsc(*words, "--", "/usr/bin/python3", "-ISc", code)
    assert done.returncode == 0, done
    assert re.search(r"^memsc: note: no probes: .*sudo -v", done.stderr, re.MULTILINE)
    assert not FAULT.search(done.stderr), done
    assert main(["report", str(user.home / "t.memsc")]) in (0, WITHHELD)
    said = re.sub(r"\n {4}", " ", capsys.readouterr().out)
    assert "all that reached memsc accounted for" in said
    assert re.search(r"\? not checked: .*sudo -v", said)


def test_what_runs_outside_of_a_container_is_left_alone_by_it(tmp_path: Path) -> None:
    """Both see the same memory, and each has process ids of its own."""
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
    trace = [FRONT, "trace", "-f", "-o", "t.memsc", "--no-calibrate", "--probes", "none", "--"]
    with subprocess.Popen(
        [*trace, sys.executable, "-ISc", wait], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as session:
        try:
            assert session.stderr is not None
            session.stderr.readline()  # it has made its folder by now
            names = ["unshare", "--pid", "--fork", "--mount-proc", "--mount"]
            for command in (["run", "--stats", "--", "true"], ["clean"]):
                subprocess.run([*names, FRONT, *command], check=True, capture_output=True)
        finally:
            go.touch()
        said = session.stderr.read()
    assert session.returncode == 0, said


@pytest.mark.long
def test_the_benchmark(there: There) -> None:
    done = there.memsc("bench", "sync", "--quick", "--no-calibrate", "--json", "-o", "b.memsc")
    content = json.loads(done.stdout)
    arms = {row["arm"] for row in content["rows"]}
    assert set(CARRIES.get(there.place, ["direct", "ipi", "memsc"])) <= arms
    lost = next(target for target in content["targets"] if target["name"].startswith("calls lost"))
    # Its bound is that of the transport memsc.
    assert lost["value"] == (0 if "memsc" in arms else None)
