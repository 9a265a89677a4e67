# SPDX-License-Identifier: MIT
"""The helper by sudo, for a real second user with a rule for this one command."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers import enclosure, ways
from tests.helpers.required import require
from tests.helpers.sessions import Session, nothing_left, program_ids
from tests.helpers.ways import WAYS
from tests.helpers.workload import GETPPID, gone, wait_until

from memsc.runtime.files import NATIVE
from memsc.tracer.format import open_trace
from memsc.tracer.helper.capabilities import KEPT
from memsc.tracer.helper.isolation import cpusets
from memsc.tracer.session.observe.channel import COMMAND

pytestmark = pytest.mark.bpf

SOURCE = Path(__file__).resolve().parents[2]


def lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root, to make a user"
    for program in ("sudo", "useradd", "userdel", "setpriv"):
        if shutil.which(program) is None:
            return f"needs {program}"
    if not Path("/etc/sudoers.d").is_dir():
        return "needs /etc/sudoers.d"
    return None


def escaped(argument: str) -> str:
    """An argument as sudoers wants it."""
    return "".join(f"\\{c}" if c in "\\,:= *?[]!" else c for c in argument)


class User:
    """A user of this machine, and a copy of memsc that root owns, for as long as a test takes."""

    def __init__(self, folder: Path) -> None:
        self.name = f"memsc-test-{os.getpid()}"
        self.rule = Path("/etc/sudoers.d") / self.name
        self.package = folder / "memsc"
        self.home = folder / "home"
        settings = tomllib.loads((SOURCE / "pyproject.toml").read_text())
        unused = shutil.ignore_patterns("__pycache__")
        for name, place in settings["tool"]["memsc"]["packages"].items():
            shutil.copytree(SOURCE / place, self.package / name, ignore=unused)
        shutil.copy(SOURCE / "share" / "package.py", self.package / "__init__.py")
        shutil.copytree(NATIVE, self.package / "runtime" / "native")
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", folder], check=True)
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", self.name], check=True
        )
        status = subprocess.run(["id", "-u", self.name], check=True, capture_output=True)
        self.id = int(status.stdout)
        ids = (f"--reuid={self.id}", f"--regid={self.id}")
        self.prefix = ("setpriv", *ids, "--clear-groups", "--")

    def allow(self, tag: str = "NOPASSWD") -> None:
        """Let this user start the helper, and nothing else; without a password by default."""
        boot = str(self.package / "tracer/helper/boot.py")
        program, *arguments = (*COMMAND[:-1], boot)
        command = " ".join((program, *map(escaped, arguments)))
        self.rule.write_text(f"{self.name} ALL=(root) {tag}: {command}\n")
        self.rule.chmod(0o440)
        subprocess.run(["visudo", "-cqf", self.rule], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """His Python sees the copy, and the packages installed here."""
        paths = [str(self.package.parent), sysconfig.get_path("purelib")]
        return {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(paths)}

    def session(self) -> Session:
        """A session of this user."""
        return Session(
            GETPPID, self.prefix, python="/usr/bin/python3", environment=self.environment
        )

    def memsc(
        self, *arguments: str, wrapped: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One of his commands, in a folder of his own."""
        self.home.mkdir(exist_ok=True)
        os.chown(self.home, self.id, self.id)
        given = {**self.environment, "HOME": str(self.home), **environment}
        # By env, since what stands before it is root's and must not have it.
        start = ("env", "-i", *(f"{name}={value}" for name, value in given.items()))
        return subprocess.run(
            (
                *wrapped,
                *self.prefix,
                *start,
                *("/usr/bin/python3", "-m", "memsc.commands"),
                *arguments,
            ),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def remove(self) -> None:
        self.rule.unlink(missing_ok=True)
        subprocess.run(["userdel", self.name], check=False, capture_output=True)


@pytest.fixture
def user() -> Iterator[User]:
    require(lacking())
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        user = User(Path(folder))
        try:
            yield user
        finally:
            user.remove()


def test_the_probes_of_an_ordinary_user(user: User) -> None:
    user.allow()
    session = user.session()
    try:
        assert session.hello["usable"] == [True, True]
        helper, sudo = int(session.hello["helper"]), int(session.hello["sudo"])
        assert Path(f"/proc/{helper}").stat().st_uid == 0
        assert Path(f"/proc/{session.process.pid}").stat().st_uid == user.id

        assert session.ask("count 9973") == {"calls": 9973}
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{helper}/status").read_text().splitlines()
            if line.startswith(("Cap", "NoNewPrivs"))
        )
        kept = sum(1 << bit for bit in KEPT.values())
        assert status["NoNewPrivs"] == "1"
        for name in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[name], 16) & ~kept == 0

        # Root's processes are not his, nor is another user's.
        for pid in (os.getpid(), helper):
            assert f"does not belong to user {user.id}" in session.ask(f"track {pid}")["error"]

        # An end in order leaves nothing.
        programs = program_ids(helper)
        assert session.ask("close") == {"closed": True}
        wait_until(lambda: nothing_left(helper, programs) and gone(sudo), "the end of the helper")
    finally:
        session.end()


def test_a_killed_session_of_an_ordinary_user_leaves_nothing(user: User) -> None:
    user.allow()
    session = user.session()
    try:
        helper, sudo = int(session.hello["helper"]), int(session.hello["sudo"])
        programs = program_ids(helper)
        assert len(programs) >= 9
        session.process.send_signal(signal.SIGKILL)
        wait_until(lambda: nothing_left(helper, programs) and gone(sudo), "the end of the helper")
    finally:
        session.end()


def test_a_killed_helper_under_sudo_is_an_error_and_no_hang(user: User) -> None:
    user.allow()
    session = user.session()
    try:
        os.kill(int(session.hello["helper"]), signal.SIGKILL)
        assert "error" in session.ask("losses")
        assert session.ask("close") == {"closed": True}
    finally:
        session.end()


def test_without_a_rule_or_a_terminal_there_is_a_remedy(user: User) -> None:
    session = user.session()
    try:
        assert "password is required" in session.hello["error"]
        assert "sudo -v" in session.hello["error"]
    finally:
        session.end()


def test_on_a_terminal_sudo_asks_for_the_password(user: User) -> None:
    user.allow("PASSWD")
    password = secrets.token_hex(8)
    subprocess.run(["chpasswd"], input=f"{user.name}:{password}\n", text=True, check=True)
    code = (
        "from memsc.tracer.session.observe.probe_client import Helper\n"
        "with Helper() as helper:\n"
        "    print('usable', helper.load(['syscalls'])['syscalls'].usable)\n"
    )
    child, terminal = os.forkpty()
    if child == 0:
        command = [*user.prefix, "/usr/bin/python3", "-c", code]
        os.execvpe(command[0], command, user.environment)
    said = b""
    asked = False
    try:
        while True:
            said += os.read(terminal, 4096)
            if not asked and b"memsc needs root" in said:
                asked = True
                os.write(terminal, password.encode() + b"\n")
    except OSError:  # how a terminal says that nobody is there any more
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said
    assert asked
    assert b"usable True" in said


def test_code_that_others_may_write_is_not_run_as_root(user: User) -> None:
    user.allow()
    (user.package / "tracer/helper/server.py").chmod(0o646)
    session = user.session()
    try:
        assert "others may write to" in session.hello["error"]
    finally:
        session.end()


def test_what_the_user_imports_is_nothing_to_the_helper(user: User) -> None:
    """A folder of his own first in his path must not reach root."""
    user.allow()
    trap = user.package.parent / "json.py"
    trap.write_text("raise SystemExit('trapped')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import json"],
        cwd=trap.parent,
        env={"PYTHONPATH": str(trap.parent)},
        check=False,
        capture_output=True,
    )
    assert b"trapped" in done.stderr
    helper = subprocess.run(
        [*user.prefix, "sudo", "-n", *COMMAND[:-1], user.package / "tracer/helper/boot.py"],
        cwd=trap.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(trap.parent)},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
    )
    assert helper.returncode == 2
    assert b"only a memsc session" in helper.stderr


TRAP = """
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void spring(void)
{
    if (geteuid() == 0)
        fclose(fopen("%s", "w"));
}
"""


def test_a_trace_of_an_ordinary_user_is_his_and_nothing_of_his_steers_root(
    user: User, tmp_path: Path
) -> None:
    """Isolated, too. In an enclosure, so that other programs of this machine keep their CPUs."""
    if reason := enclosure.lacking():
        pytest.skip(reason)
    user.allow()
    root = user.package.parent
    sprung = root / "sprung"
    (tmp_path / "trap.c").write_text(TRAP % sprung)
    library = root / "trap.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "trap.c"], check=True)
    library.chmod(0o755)
    trap = f"import os\nif os.geteuid() == 0: open({str(sprung)!r}, 'w').close()\n"
    for name in ("sitecustomize.py", "usercustomize.py"):
        (root / name).write_text(trap)
    done = user.memsc(
        *("trace", "-o", "t.memsc", "--no-calibrate", "--probes", "syscalls", "--isolate"),
        *("--", "/usr/bin/python3", "-ISc", "import os; [os.getppid() for _ in range(997)]"),
        wrapped=(sys.executable, enclosure.__file__),
        LD_PRELOAD=str(library),
        BCC_KERNEL_SOURCE="/nonexistent",
        PYTHONSTARTUP=str(root / "sitecustomize.py"),
        MEMSC_TRANSPORT="ipi",
    )
    assert done.returncode == 0, done.stderr
    trace = user.home / "t.memsc"
    session = json.loads((trace / "session.json").read_text())
    assert session["probes"]["syscalls"]["attached"], session["probes"]
    assert session["isolation"]["how"] == cpusets.CPUSET
    assert not session["isolation"]["failed"]
    assert {path.stat().st_uid for path in (trace, *trace.rglob("*"))} == {user.id}
    assert not sprung.exists()


def test_another_users_program_is_not_attached_to(user: User) -> None:
    user.allow()
    with subprocess.Popen(["sleep", "1000"]) as other:
        done = user.memsc("trace", "-o", "t.memsc", "--no-calibrate", "--pid", str(other.pid))
        other.kill()
    assert done.returncode == 1
    assert f"does not belong to user {user.id}" in done.stderr
    assert not (user.home / "t.memsc").exists()


WITHOUT_ROOT = (
    *("nothing", "env", "env-twice", "own-preload", "title", "user-namespace"),
    *("user-namespace-root", "session", "descriptors", "place", "spawned", "few-descriptors"),
)
"""Ways to lose what carries a program that need no root."""

_STATIC = "int main(void) { return 0; }"


def test_what_an_ordinary_users_trace_does_not_see_it_says(
    user: User, request: pytest.FixtureRequest
) -> None:
    """Who may not attach probes: programs tell what runs unrecorded, all others are recorded.

    Under every arm in the long tests (`make test-programs`), by two of them in `make test`.
    """
    arms = ("--transport", "direct,memsc")
    if request.config.getoption("--long"):
        arms = ("--transport", "direct,ipi,memsc", "--service", "inline,scanner")
    with ways.place() as place:
        found = ways.counted(place.command(WAYS["nothing"]), user.package.parent)
        (place.files.parent / "s.c").write_text(_STATIC)
        static = place.files.parent / "static"
        subprocess.run(["gcc", "-static", "-o", static, f"{static.parent}/s.c"], check=True)
        lines = [f"({place.command(WAYS[name])[2]}) >/dev/null || exit 1" for name in WITHOUT_ROOT]
        for given, status in (([*lines], 0), ([*lines[:3], str(static)], 4)):
            how = ("trace", "-f", "-o", "t.memsc", "--no-calibrate", "--probes", "sched", *arms)
            done = user.memsc(*how, "--", "sh", "-c", "\n".join(given))
            assert done.returncode == 0, done.stderr
            trace = open_trace(user.home / "t.memsc")
            calls = trace.read("calls", ["arm", "syscall"]).to_pandas()
            ways_tried = len(given) - (status != 0)
            for one in trace.session.rounds:
                mine = calls[calls["arm"] == one.arm]["syscall"].value_counts()
                for call in ("statx", "getxattr"):
                    assert mine.get(call, 0) == ways_tried * found[call], (one.arm, call)
                cover = one.coverage
                assert cover is not None
                assert cover.by == "layer"
                assert cover.by_reason
                assert [each.name for each in cover.unrecorded] == [str(static)] * (status != 0)
            report = user.memsc("report", "t.memsc")
            assert report.returncode == status, report.stdout
            assert ("ran unrecorded" in report.stdout) == (status != 0)
