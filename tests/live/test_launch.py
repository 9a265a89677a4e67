# SPDX-License-Identifier: MIT
"""How programs are started: environment, CPUs, signals, and the wait on hold."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.required import layered

from memsc.runtime import topology
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.launch import (
    NEVER,
    TRANSPORTS,
    Launch,
    parse_arm,
)
from memsc.runtime.library import LAUNCH, LAYER
from memsc.runtime.session_socket import End
from memsc.runtime.starting import (
    Target,
    clean_environment,
    execute,
    running_on,
    spawn,
    spawn_held,
)

DESIGN = Path(__file__).resolve().parents[2] / "docs" / "design.md"
CPU = max(topology.read().reachable)
PLACED = topology.place(topology.read(), "ipi")

EVERYTHING = Launch(
    transport="ipi",
    service="scanner",
    app_cpus=PLACED.app_cpus,
    service_cpus=PLACED.service_cpus,
    idle_us=NEVER,
    spin_us=7,
    session=End(250, 8611),
    directory=Path("/nonexistent"),
    recording=True,
    ring_records=64,
    ring_policy="wait",
    keep=True,
    handoff="amd",
)


def environment_of(target: Target) -> dict[str, str]:
    assert target.process.stdout is not None
    target.go()
    with target.process.stdout as stream:
        text = stream.read().decode()
    assert target.process.wait() == 0
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def test_the_environment_is_what_the_design_says() -> None:
    documented = set(re.findall(r"^\| `(MEMSC_\w+)` \|", DESIGN.read_text(), re.MULTILINE))
    made = EVERYTHING.environment()
    made.pop("MEMSC_FILTERS", None)  # only where there are any, as in a container
    assert set(made) == documented - {
        "MEMSC_STATS",
        "MEMSC_FILTERS",
        "MEMSC_LIBRARY",
        "MEMSC_TRACED",
    }
    assert made == {
        "MEMSC_TRANSPORT": "ipi",
        "MEMSC_SERVICE": "scanner",
        "MEMSC_SERVICE_CPUS": topology.format_cpus(PLACED.service_cpus),
        "MEMSC_IDLE_US": "never",
        "MEMSC_SPIN_US": "7",
        "MEMSC_RECORD": "1",
        "MEMSC_RING": "64",
        "MEMSC_RING_POLICY": "wait",
        "MEMSC_DIRECTORY": "/nonexistent",
        "MEMSC_SOCKET": "250:8611",
        "MEMSC_KEEP": "1",
        "MEMSC_PROBE_EVERY": "1",
        "MEMSC_HANDOFF": "amd",
    }


def test_defaults_are_those_of_the_design() -> None:
    rows = re.findall(r"^\| `(MEMSC_\w+)` \|.*\| (\w+|`\w+`) \|$", DESIGN.read_text(), re.MULTILINE)
    documented = {name: value.strip("`") for name, value in rows}
    for name, value in Launch().environment().items():
        assert documented[name] == value


def test_arms_have_their_names() -> None:
    names = {
        (transport, service): parse_arm(transport, service, Launch()).arm
        for transport in TRANSPORTS
        for service in ("inline", "scanner")
    }
    forwarded = TRANSPORTS[1:]
    assert set(names.values()) == {"direct", *forwarded, *(f"{name}-scanner" for name in forwarded)}
    assert names["direct", "scanner"] == "direct"


@pytest.mark.parametrize(
    ("transport", "service"), [("fast", "inline"), ("memsc", ""), ("", "inline")]
)
def test_unknown_arms_are_usage_errors(transport: str, service: str) -> None:
    with pytest.raises(MemscError) as caught:
        parse_arm(transport, service, Launch())
    assert caught.value.status == USAGE


def test_the_callers_own_steering_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSC_DIRECTORY", "/elsewhere")
    monkeypatch.setenv("MEMSC_UNKNOWN", "1")
    monkeypatch.setenv("OTHER", "kept")
    how = Launch(transport="ipi", service_cpus=PLACED.service_cpus)
    found = environment_of(Target(how, ["env", "-0"], layered=False, stdout=subprocess.PIPE))
    assert found["OTHER"] == "kept"
    steered = {name: value for name, value in found.items() if name.startswith("MEMSC_")}
    assert steered == how.environment()


@layered
@pytest.mark.parametrize("others", [None, "", "libm.so.6"])
def test_the_users_own_preload_is_kept(monkeypatch: pytest.MonkeyPatch, others: str | None) -> None:
    if others is None:
        monkeypatch.delenv("LD_PRELOAD", raising=False)
    else:
        monkeypatch.setenv("LD_PRELOAD", others)
    how = Launch(transport="ipi", service_cpus=PLACED.service_cpus, app_cpus=PLACED.app_cpus)
    found = environment_of(Target(how, ["env", "-0"], stdout=subprocess.PIPE))
    assert found["LD_PRELOAD"] == (f"{LAYER}:{others}" if others else str(LAYER))
    plain = environment_of(
        Target(Launch(transport="direct"), ["env", "-0"], stdout=subprocess.PIPE)
    )
    assert plain.get("LD_PRELOAD") == others


def test_the_locale_that_python_gave_itself_stays_with_python() -> None:
    script = (
        "import os\n"
        "from memsc.runtime.starting import clean_environment\n"
        "print('LC_CTYPE' in os.environ, 'LC_CTYPE' in clean_environment(os.environ))\n"
    )

    def said(**variables: str) -> str:
        path = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=path | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert said() in ("True False", "False False")
    assert said(LC_CTYPE="C.UTF-8") == "True True"
    assert clean_environment({"MEMSC_X": "1", "Y": "2"}) == {"Y": "2"}


def test_a_target_waits_on_hold_and_then_becomes_the_program(tmp_path: Path) -> None:
    made = tmp_path / "made"
    target = Target(Launch(transport="direct", app_cpus=(CPU,)), ["touch", str(made)])
    assert os.sched_getaffinity(target.pid) == {CPU}
    assert target.process.poll() is None
    assert not made.exists()
    pid = target.pid
    target.go()
    assert target.process.wait() == 0
    assert made.exists()
    assert target.pid == pid


def test_a_target_holds_once_its_launcher_is_executed() -> None:
    """Else probes that are told of it see that exec, and take it for the program's."""
    for _ in range(30):
        target = Target(Launch(transport="direct", app_cpus=(CPU,)), ["true"])
        assert Path(f"/proc/{target.pid}/comm").read_text() == f"{LAUNCH.name}\n"
        target.go()
        assert target.process.wait() == 0


def test_a_target_that_is_ended_on_hold_is_never_executed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    target = Target(Launch(transport="direct"), ["touch", str(made)])
    assert target.end() != 0
    assert not made.exists()


def test_going_after_it_was_killed_tells_by_its_status() -> None:
    target = Target(Launch(transport="direct"), ["true"])
    target.process.kill()
    target.process.wait()
    target.go()
    assert target.process.returncode == -signal.SIGKILL


def test_a_target_dies_with_its_session(tmp_path: Path) -> None:
    made = tmp_path / "made"
    script = (
        "import sys, time\n"
        "from memsc.runtime.launch import Launch\n"
        "from memsc.runtime.starting import Target\n"
        "target = Target(Launch(transport='direct'), ['touch', sys.argv[1]])\n"
        "print(target.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    session = subprocess.Popen([sys.executable, "-c", script, str(made)], stdout=subprocess.PIPE)
    assert session.stdout is not None
    watched = os.pidfd_open(int(session.stdout.readline()))
    session.kill()
    session.wait()
    session.stdout.close()
    try:
        os.set_blocking(watched, False)
        _until_ended(watched)
    finally:
        os.close(watched)
    assert not made.exists()


def _until_ended(pidfd: int) -> None:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            signal.pidfd_send_signal(pidfd, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("it outlives its session")


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed_has_the_shells_status(command: str, status: int) -> None:
    target = Target(
        Launch(transport="direct"), [command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    target.go()
    assert target.process.wait() == status


def test_many_targets_do_not_hold_each_other_open() -> None:
    """A pipe's end that leaked into a sibling would keep it waiting for ever."""
    targets = [Target(Launch(transport="direct"), ["true"]) for _ in range(4)]
    assert [target.end() != 0 for target in targets] == [True] * 4


def test_end_kills_what_does_not_listen() -> None:
    target = Target(
        Launch(transport="direct"),
        ["sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"],
        stdout=subprocess.PIPE,
    )
    target.go()
    assert target.process.stdout is not None
    target.process.stdout.readline()
    assert target.end(grace_s=0.2) == -signal.SIGKILL
    target.process.stdout.close()


def test_running_on_moves_and_returns() -> None:
    before = os.sched_getaffinity(0)
    with running_on((CPU,)):
        assert os.sched_getaffinity(0) == {CPU}
    assert os.sched_getaffinity(0) == before
    with running_on(()):
        assert os.sched_getaffinity(0) == before


def test_launching_needs_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from memsc.commands.__main__ import parse\n"
        "import memsc.runtime.starting, memsc.runtime.program, memsc.runtime.topology\n"
        "parse(['run', 'true'])\n"
        "heavy = {'numpy', 'elftools', 'msgspec', 'pyarrow', 'subprocess', 'ctypes'}\n"
        "print(*heavy & set(sys.modules))\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            script.replace("import sys\n", f"import sys; sys.path = {sys.path!r}\n"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


TAKEN = Launch(transport="direct", app_cpus=(topology.CPU_LIMIT - 1,))
"""What a launch comes to whose CPU somebody else has taken for himself since it was planned."""


@pytest.mark.parametrize(
    "start",
    [
        lambda: execute(TAKEN, "/bin/true", ["true"]),
        lambda: spawn(TAKEN, "/bin/true", ["true"], set()),
        lambda: spawn_held(TAKEN, "/bin/true", ["true"], set(), lambda _: None),
        lambda: Target(TAKEN, ["/bin/true"], layered=False),
    ],
    ids=["execute", "spawn", "spawn_held", "Target"],
)
def test_cpus_that_were_taken_away_are_named_with_what_to_do(start: Callable[[], object]) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    affinity = os.sched_getaffinity(0)
    with pytest.raises(MemscError, match=r"CPU 8191: .*; wait until it is free") as error:
        start()
    del error
    assert os.sched_getaffinity(0) == affinity
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
