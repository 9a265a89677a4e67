# SPDX-License-Identifier: MIT
"""A world of its own for one session: memory, shared memory and disk that nobody else uses.

What is left in it afterwards was left by the session. Run inside tests/helpers/enclosure.py, which
gives it CPUs and a journal of its own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.helpers.command import FRONT
from tests.helpers.faults.plan import Plan
from tests.helpers.sessions import loaded, program_ids
from tests.helpers.terminal import SCREEN, SCREEN_BACK, Terminal
from tests.helpers.workload import gone, wait_until

from memsc.runtime.files import LAUNCH, WORK
from memsc.tracer.format import SESSION

MEMORY = Path("/dev/shm")
GROUPS = Path("/sys/fs/cgroup/memory")
_NEWIPC, _SUBREAPER, _READONLY, _REMOUNT = 0x08000000, 36, 1, 32
_LIBC = ctypes.CDLL(None, use_errno=True)
_WARM_UP = 2000  # calls of memsc-work that it does not time
_CALLS = {"direct": 3_000_000, "ipi": 12_000, "memsc": 1_000_000}
_BLOCKS = {"direct": 400_000, "ipi": 4_000, "memsc": 200_000}
_SLOWER = 10  # a scanner than a poller
_LONGER = 12  # a program that is attached to
_DISK = 600_000  # blocks that find room
_FILLINGS = 300  # of the ring that a program waits for, a hundredth of a second each


def _call(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def mount(place: Path, size: int, *, again: bool = False, read_only: bool = False) -> None:
    """Mount memory of so many bytes; or change what is mounted there."""
    flags = (_REMOUNT if again else 0) | (_READONLY if read_only else 0)
    options = f"size={size},mode=1777".encode()
    _call(_LIBC.mount(b"none", os.fsencode(place), b"tmpfs", flags, options))


def children(pid: int) -> list[int]:
    """Children of a process, by number."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(p) for task in tasks for p in (task / "children").read_text().split()]
    except OSError:
        return []


class World:
    """One session with its program, and perhaps a neighbour.

    Args:
        plan: what is run.
        folder: where its disk is mounted.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.disk = folder / "disk"
        self.memory = folder / "work"  # of the program, which no fault of the session's concerns
        _call(_LIBC.unshare(_NEWIPC))
        _call(_LIBC.prctl(_SUBREAPER, 1, 0, 0, 0))
        for place in (self.disk, self.memory):
            place.mkdir()
            mount(place, 1 << 30)
        mount(MEMORY, 1 << 32)
        self.trace = self.disk / "t.memsc"
        slower = _SLOWER if plan.service == "scanner" else 1
        before = plan.form == "pid"  # it runs before the session does, with a ring of its own
        most = plan.ring * _FILLINGS if plan.when_full == "wait" and not before else 1 << 30
        longer = _LONGER if before else 1
        self.calls = min(_CALLS[plan.transport] * longer // slower, most)
        self.blocks = min(_BLOCKS[plan.transport] * longer // slower, most // 2, _DISK)
        self.helper: int | None = None
        self.target: int | None = None
        self.ran = False  # it is on hold no more
        self.neighbour: subprocess.Popen[bytes] | None = None
        self._programs: set[int] = set()
        self._seen: set[int] = set()

    def command(self) -> list[str]:
        """The program."""
        out = str(self.memory / "out")
        match self.plan.program:
            case "sync":
                return [str(WORK), "sync", str(self.calls), out]
            case "batch":
                return [str(WORK), "batch", "32", str(self.calls), out]
            case _:
                source = self.memory / "in"
                source.write_bytes(os.urandom(1 << 16) * (self.blocks * 512 >> 16))
                return ["dd", f"if={source}", f"of={out}", "bs=512", "status=none"]

    def finished(self) -> bool:
        """Whether the program has done all it had to, and right."""
        out = self.memory / "out"
        if not out.exists():
            return False
        match self.plan.program:
            case "sync":
                return out.stat().st_size == self.calls * 8
            case "batch":
                return out.stat().st_size == (self.calls + 31) // 32 * 8
            case _:
                return out.read_bytes() == (self.memory / "in").read_bytes()

    def calls_to_make(self) -> int | None:
        """Calls that the program forwards when it finishes; None where others are added."""
        if self.plan.form in ("pid", "bench"):
            return None
        match self.plan.program:
            case "sync":
                return self.calls + _WARM_UP
            case "batch":
                whole = -(-self.calls // 32) * 32
                return whole + (_WARM_UP // 32 + 1) * 32
            case _:
                return None

    def start(self, prefix: tuple[str, ...] = ()) -> None:
        """Start the session, and wait until its program, or at least its helper, is there."""
        plan = self.plan
        arm = ["--transport", plan.transport, "--service", plan.service]
        run = [str(FRONT), "run", "-q", *arm]
        if plan.fault.endswith("neighbour"):
            code = "import os\nwhile True: os.stat('/')"
            self.neighbour = subprocess.Popen([*run, "--", sys.executable, "-c", code])
        if plan.form == "pid":
            program = subprocess.Popen([*run, "--attachable", "--", *self.command()])
            self.target = program.pid
            self._seen.add(self.target)
            there = "memsc-*/running/*.region"
            wait_until(lambda: any(MEMORY.glob(there)) or gone(program.pid), "its region")
        self._terminal, self._errors = Terminal(), (self.memory / "errors").open("w+b")
        self.session = subprocess.Popen(
            [*prefix, str(FRONT), *self._session(arm)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._terminal.device if plan.form == "live" else self._errors,
        )

    def _session(self, arm: list[str]) -> list[str]:
        """What of memsc it is."""
        plan = self.plan
        options = ["-o", str(self.trace), "--no-calibrate"]
        options += ["--probes", "sched" if plan.probed else "none"]
        if plan.probed and plan.form != "pid":
            options.append("--isolate")
        if plan.form == "bench":
            return ["bench", *options, "--quick", "sync"]
        options += ["--snapshot", "total>9us"] if plan.form == "snapshot" else []
        options += ["--live"] if plan.form == "live" else []
        if plan.form == "pid":
            return ["trace", *options, "--pid", str(self.target)]
        options += ["--ring", str(plan.ring), "--when-full", plan.when_full, *arm]
        return ["trace", *options, "--", *self.command()]

    def wait_for_target(self) -> None:
        """Until the program runs, or the session has ended without."""

        def there() -> bool:
            self.look()
            return self.ran or self.session.poll() is not None

        wait_until(there, "the program")

    def look(self) -> None:
        """Find the session's helper and program, as far as there are any."""
        out = os.fsencode(str(self.memory / "out"))
        if self.plan.form == "pid":  # it is about to be recorded
            self.ran |= (self.trace / SESSION).exists()
        for pid in children(self.session.pid):
            self._seen.add(pid)
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(word.endswith(b"tracer/helper/boot.py") for word in words):
                    self.helper = pid
                    with suppress(OSError):
                        self._programs |= program_ids(pid)
                elif self.plan.form == "bench" or out in b"\0".join(words):
                    file = Path(f"/proc/{pid}/exe").readlink()
                    if file == Path(f"/proc/{self.session.pid}/exe").readlink():
                        continue  # a copy of the session, about to become something else
                    self.target = pid
                    self.ran |= file != LAUNCH

    def wait(self) -> int:
        """The session's exit status, once all that it started has ended, too."""
        status = self.session.wait(120)
        if self.neighbour is not None:
            self.neighbour.kill()
            self.neighbour.wait()
        wait_until(self._alone, "the end of what the session started")
        self._errors.seek(0)
        self.messages = self._errors.read().decode(errors="replace") + self._terminal.written()
        wait_until(lambda: all(map(gone, self._seen)), "the end of helper and program")
        wait_until(lambda: not any(map(loaded, self._programs)), "the end of the probes")
        return status

    def screen_kept(self, status: int) -> bool:
        """Whether a session that could do so has not given its terminal back."""
        killed = status in (-9, 128 + 9)
        return not killed and self.messages.rfind(SCREEN) > self.messages.rfind(SCREEN_BACK)

    def _alone(self) -> bool:
        """Whether this process has no child any more; ended ones are its to ask how."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.01)
        return False

    def left(self) -> list[str]:
        """What is left, once the next memsc has run and `memsc clean` has."""
        subprocess.run([str(FRONT), "run", "-q", "--transport", "direct", "--", "true"], check=True)
        cleaned = subprocess.run([str(FRONT), "clean"], check=False, capture_output=True, text=True)
        found = [*Path("/run/memsc").glob("*"), *Path("/sys/fs/cgroup/cpuset").glob("memsc-*")]
        found += MEMORY.glob("memsc-*/*")
        left = [str(path) for path in found]
        left += Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        if cleaned.returncode:
            left.append(cleaned.stderr)
        if Path("/sys/fs/cgroup/cpuset/cpuset.sched_load_balance").read_text().strip() != "1":
            left.append("load is not balanced")
        return left
