# SPDX-License-Identifier: MIT
"""The helper's life: it believes nothing, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.sessions import Session, nothing_left, program_ids
from tests.helpers.workload import GETPPID, wait_until

from memsc.probes.declaration import Hook, Kind, Probe, Variant, find
from memsc.runtime import own_name
from memsc.runtime.errors import MemscError
from memsc.tracer.helper import wire
from memsc.tracer.helper.boot import NEEDED, folders, unsafe
from memsc.tracer.helper.kernel import tracefs
from memsc.tracer.helper.loading.probe import LoadedProbe, Places
from memsc.tracer.session.observe.channel import BOOT, PYTHON, Channel
from memsc.tracer.session.observe.probe_client import Helper

BPF = pytest.mark.bpf


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(GETPPID)
    yield session
    session.end()


@BPF
def test_a_killed_session_leaves_nothing_attached(session: Session) -> None:
    helper = int(session.hello["helper"])
    programs = program_ids(helper)
    assert len(programs) >= 9
    assert not nothing_left(helper, programs)
    session.process.send_signal(signal.SIGKILL)
    wait_until(lambda: nothing_left(helper, programs), "the kernel to detach")


@BPF
def test_a_killed_helper_is_an_error_and_no_hang(session: Session) -> None:
    helper = int(session.hello["helper"])
    programs = program_ids(helper)
    os.kill(helper, signal.SIGKILL)
    for _ in range(2):
        assert "the helper ended with status -9" in session.ask("losses")["error"]
    assert session.ask("close") == {"closed": True}
    wait_until(lambda: nothing_left(helper, programs), "the kernel to detach")


@BPF
def test_interrupting_the_terminal_does_not_detach(session: Session) -> None:
    os.kill(int(session.hello["helper"]), signal.SIGINT)
    assert session.ask("count 97") == {"calls": 97}


@BPF
def test_no_uprobe_entry_is_left_and_closing_twice_is_fine() -> None:
    helper = Helper()
    helper.load(["ipi"])
    helper.attach("ipi")
    assert Path(f"/proc/{helper.pid}/comm").read_text() == f"{own_name.HELPER}\n"
    helper.close()
    helper.close()
    assert not helper.alive()
    # In a process of its own: mounting tracefs changes that process's mount namespace.
    code = "from memsc.tracer.helper.kernel.tracefs import sweep; sweep(); print(sweep())"
    swept = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert swept.stdout == "[]\n"
    assert f"_bcc_{helper.pid}" not in swept.stdout


class Wire:
    """A helper spoken to without the client, which would not say such things."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [PYTHON, "-I", "-B", "-X", "pycache_prefix=/nonexistent", BOOT],
                stdin=theirs.fileno(),
            )
        self.receive()

    def receive(self) -> wire.Message:
        received = wire.receive(self.ours)
        assert received is not None
        return received[0]

    def ask(self, **request: Any) -> wire.Message:
        wire.send(self.ours, request)
        return self.receive()


@pytest.fixture
def raw() -> Iterator[Wire]:
    raw = Wire()
    yield raw
    raw.ours.close()
    assert raw.process.wait() == 0


@BPF
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"op": "_load"},
        {"op": "attach", "probes": []},
        {"op": "load"},
        {"op": "load", "probes": "sched"},
        {"op": "load", "probes": ["sched", "sched"]},
        {"op": "load", "probes": ["tracking"]},
        {"op": "load", "probes": ["../sched"]},
        {"op": "load", "probes": ["sched"], "ring_bytes": {"sched": 5000}},
        {"op": "load", "probes": ["sched"], "ring_bytes": {"sched": 1 << 40}},
        {"op": "load", "probes": ["sched"], "ring_bytes": {"sched": True}},
        {"op": "load", "probes": ["sched"], "ring_bytes": 4096},
        {"op": "track", "pid": "1"},
        {"op": "track", "pid": 0},
        {"op": "track", "pid": -1},
        {"op": "cpus", "cpus": [1 << 20]},
        {"op": "cpus", "cpus": 1},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_and_survived(raw: Wire, request_: wire.Message) -> None:
    reply = raw.ask(**request_)
    assert reply["ok"] is False
    assert all(reply[part] for part in ("what", "why", "remedy"))
    assert raw.ask(op="misses", number=7) == {"ok": True, "number": 7, "misses": {}}


@BPF
def test_the_reply_to_an_interrupted_request_is_taken_for_no_other() -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    channel = Channel()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        os.kill(channel.pid, signal.SIGSTOP)
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            channel.ask("load", probes=["sched"])
        os.kill(channel.pid, signal.SIGCONT)
        assert channel.ask("release")[0]["failed"] == []
        assert channel.ask("misses")[0]["misses"].keys() == {"sched"}
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    finally:
        signal.signal(signal.SIGALRM, before)
        channel.close()


@BPF
def test_probes_are_loaded_once(raw: Wire) -> None:
    assert raw.ask(op="load", probes=["syscalls"])["ok"] is True
    assert raw.ask(op="load", probes=["sched"])["ok"] is False
    assert raw.ask(op="attach", probes=["sched"])["ok"] is False
    assert raw.ask(op="attach", probes=["syscalls"])["ok"] is True


@BPF
def test_what_is_no_message_is_refused_and_survived(raw: Wire) -> None:
    for line in (b"\n", b"[]", b"{", b"[" * 9999, b"\xff\xfe", b"9" * (2 * wire.MAX_BYTES)):
        raw.ours.send(line)
        assert raw.receive()["ok"] is False
    with tempfile.TemporaryFile() as file:
        wire.send(raw.ours, {"op": "misses"}, [file.fileno()])
        assert raw.receive()["ok"] is True
    wire.send(raw.ours, {"op": "quit"})


@BPF
def test_a_process_that_is_not_there_is_not_tracked() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with Helper() as helper:
        helper.load(["syscalls"])
        with pytest.raises(MemscError, match="no process"):
            helper.track(child.pid)


class Without(Places):
    """A machine that lacks what some programs need."""

    def __init__(self, *programs: str) -> None:
        self.user = 0
        self._lacking = set(programs)

    def absence(self, variant: Variant) -> str | None:
        return "not here" if variant.programs & self._lacking else None


def test_a_probe_without_an_optional_tracepoint_says_what_it_cannot_show() -> None:
    state = LoadedProbe(find("ipi"), Without("ipi_on_wake_idle")).state()
    assert state["usable"] is True
    assert state["absent"] == {"wake_idle": "not here"}


def test_a_probe_without_a_required_tracepoint_is_refused_with_its_remedy() -> None:
    state = LoadedProbe(find("sched"), Without("sched_on_switch")).state()
    assert (state["usable"], state["reason"]) == (False, "not here")
    assert state["remedy"]


def test_a_probe_without_any_tracepoint_is_refused() -> None:
    declared = find("ipi")
    programs = frozenset[str]().union(*(hook.programs for hook in declared.hooks))
    state = LoadedProbe(declared, Without(*programs)).state()
    assert state["usable"] is False
    assert "Linux 6.4" in str(state["remedy"])


def test_of_a_hooks_variants_the_first_that_the_machine_has_is_used() -> None:
    instead = (
        Variant("fentry", (("f", "b"),)),
        Variant("kprobe", (("f", "c"), ("g", "d"))),
    )
    hook = Hook("some:event", "a", kinds=("k",), raw=True, instead=instead)
    declared = Probe("some", "some", (Kind("k", ""),), (), (hook,))
    for lacking, way, absent in (
        ((), "raw", set[str]()),
        (("a",), "fentry", {"a"}),
        (("a", "b"), "kprobe", {"a", "b"}),
        (("a", "d"), "fentry", {"a", "c", "d"}),
    ):
        one = LoadedProbe(declared, Without(*lacking))
        assert one.state()["ways"][0] == way
        assert one.absent == absent
        assert one.problem() is None
    none = LoadedProbe(declared, Without("a", "b", "c"))
    assert none.problem() == ("not here; not here; not here", hook.remedy)
    assert none.absent == {"a", "b", "c", "d"}


def test_without_a_session_the_helper_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-I", BOOT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "only a memsc session" in done.stderr


def test_a_missing_tracefs_is_no_stale_entry(tmp_path: Path) -> None:
    assert tracefs.sweep(tmp_path) == []


def test_a_sweep_removes_the_dead_ones_entry_by_entry(tmp_path: Path) -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    entries = tmp_path / "uprobe_events"
    entries.write_text(
        f"p:uprobes/p_a_bcc_{child.pid} /bin/a:0x10\np:uprobes/p_b_bcc_{os.getpid()} /bin/b:0x10\n"
    )
    assert tracefs.sweep(tmp_path) == [f"uprobes/p_a_bcc_{child.pid}"]
    assert entries.read_text().endswith(f"-:uprobes/p_a_bcc_{child.pid}\n")


DEEP = "tracer/helper/isolation/journal.py"


@pytest.fixture
def package() -> Iterator[Path]:
    """A package as small as can be, below no folder that others may write to."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        root = Path(folder) / "memsc"
        for name in ("probes/__init__.py", "runtime/__init__.py", "tracer/__init__.py", DEEP):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch(mode=0o644)
        yield root


def why_not(package: Path, user: int) -> str | None:
    return unsafe(folders(package).values(), user)


def test_code_that_only_its_owner_may_write_is_safe(package: Path) -> None:
    assert why_not(package, os.geteuid()) is None


@pytest.mark.parametrize(
    "path", ["", "probes", "tracer/__init__.py", "tracer/helper", str(Path(DEEP).parent), DEEP]
)
@pytest.mark.parametrize("bit", [0o020, 0o002])
def test_code_that_others_may_write_is_not(package: Path, path: str, bit: int) -> None:
    place = package / path
    place.chmod(place.stat().st_mode | bit)
    assert f"others may write to {place}" in str(why_not(package, os.geteuid()))


def test_code_that_others_may_write_where_a_link_leads_is_not(package: Path) -> None:
    links = package.parent / "links"
    links.mkdir()
    for name in NEEDED:
        (links / name).symlink_to(package / name)
    assert why_not(links, os.geteuid()) is None
    (package / DEEP).chmod(0o646)
    assert f"others may write to {package / DEEP}" in str(why_not(links, os.geteuid()))


def test_a_link_among_the_code_is_not_followed(package: Path) -> None:
    (package / "probes/sched.c").symlink_to(package / "elsewhere.c")
    assert f"{package / 'probes/sched.c'} is a link" == why_not(package, os.geteuid())


def test_code_of_a_third_user_is_not(package: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(package / DEEP, 12345, -1)
    assert "belongs to user 12345" in str(why_not(package, 1000))
    assert why_not(package, 12345) is None
