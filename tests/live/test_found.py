# SPDX-License-Identifier: MIT
"""What a program finds of memsc where programs look: what docs/semantics.md says, nothing else."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys

import pytest
from tests.helpers import preloaded
from tests.helpers.command import FRONT

pytestmark = [
    *preloaded.MARKS,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for name spaces of its own"),
]

# What depends on its threads comes last: while it looks at these, the service is gone.
LOOK = r"""
import json, os, re, resource
for _ in range(1000):
    os.getppid()  # carried by now, if it is to be
def lines(path):
    with open(path) as file:
        return file.read().splitlines()
def named(text):
    text = re.sub(r"[^ ]*/(libmemsc-layer\.so)", r"\1", text)
    return re.sub(r"\b[0-9a-f]{16}\b|(?<=SYSV)[0-9a-f]+|\d+", "N", text)
def under(*places):
    for place in places:
        for top, _, files in os.walk(place):
            yield from (os.path.join(top, file) for file in [*files, ""])
def descriptors():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass  # the one that they are listed by
def signals(field):
    line = next(line for line in lines("/proc/self/status") if line.startswith(field))
    mask = int(line.split(":")[1], 16)
    return [str(i + 1) for i in range(64) if mask >> i & 1]
def above():
    number = os.getppid()
    while number > 1:
        if lines(f"/proc/{number}/comm") == ["memsc"]:
            yield "memsc"
        fields = lines(f"/proc/{number}/stat")[-1].rpartition(")")[2].split()
        number = int(fields[1])
PLACES = {
    "memory": lambda: under("/dev/shm"),
    "files": lambda: under("/tmp", "/run"),
    "mapped": lambda: (line.split(None, 5)[5] for line in lines("/proc/self/maps")
                       if line.count(" ") > 5),
    "segments": lambda: (" ".join(line.split()[2:4]) for line in lines("/proc/sysvipc/shm")[1:]),
    "environment": lambda: os.environ,
    "descriptors": descriptors,
    "sockets": lambda: (line.split()[-1] for line in lines("/proc/net/unix")[1:]),
    "locks": lambda: (line for line in lines("/proc/locks") if f" {os.getpid()} " in line),
    "mounts": lambda: lines("/proc/self/mountinfo"),
    "timers": lambda: lines("/proc/self/timers"),
    "limits": lambda: (f"{each} {resource.getrlimit(getattr(resource, each))}"
                       for each in dir(resource) if each.startswith("RLIMIT_")),
    "children": lambda: "".join(lines(f"/proc/self/task/{os.getpid()}/children")).split(),
    "above": above,
    "threads": lambda: (lines(f"/proc/self/task/{task}/comm")[0]
                        for task in os.listdir("/proc/self/task")),
}
found = {place: sorted({named(one) for one in look()}) for place, look in PLACES.items()}
for field in ("SigCgt", "SigIgn", "SigBlk"):
    found[field] = signals(field)
print("found", json.dumps(found))
"""
OWN = "for place in /dev/shm /tmp /run; do mount -t tmpfs none $place; done"
# As it is started; as another user; and with a new folder in memory.
THRICE = """
"$@"
setpriv --reuid 34599 --clear-groups "$@"
mount -t tmpfs none /dev/shm
"$@"
"""
COMMAND = ("sh", "-c", THRICE, "sh", "/usr/bin/python3", "-ISc", LOOK)

TOP = ["/dev/shm/memsc-N/", "/dev/shm/memsc-N/starts/", "/dev/shm/memsc-N/starts/plan-N"]
RECORD = "/dev/shm/memsc-N/starts/N"  # of how the program was started, for the next time
RUNNING = "/dev/shm/memsc-N/running/"
SESSION = "/dev/shm/memsc-N/session-N-N/"
REGION = "N-N-N.region"
VARIABLES = [
    "LD_PRELOAD",
    *(f"MEMSC_{name}" for name in ("KEEP", "PROBE_EVERY", "RECORD", "RING", "RING_POLICY")),
    *(f"MEMSC_{name}" for name in ("SERVICE", "SERVICE_CPUS", "TRANSPORT")),
]
LISTENED = {"descriptors": ["socket:[N]"], "sockets": ["N"], "above": ["memsc"]}
MAPPED = ["/SYSVN (deleted)", "libmemsc-layer.so"]
RUN = {
    "memory": [*TOP, RECORD],
    "mapped": [*MAPPED, "/dev/zero (deleted)"],
    "segments": ["N N"],
    "environment": VARIABLES,
    "SigCgt": ["33"],
}
# By options of memsc: what is found in each place.
WAYS: dict[tuple[str, ...], dict[str, list[str]]] = {
    ("run", "-q"): RUN,
    ("run", "-q", "--transport", "ipi"): RUN,
    ("run", "-q", "--service", "scanner"): RUN,
    ("run", "-q", "--stats"): RUN
    | LISTENED
    | {
        "memory": TOP,
        "environment": [*VARIABLES, "MEMSC_SOCKET", "MEMSC_STATS"],
        "mapped": [*MAPPED, "/memfd:memsc-region (deleted)"],
        "SigIgn": ["32"],  # the C library's SIGCANCEL, in whatever its posix_spawn starts
    },
    ("run", "-q", "--attachable"): RUN
    | {
        "memory": [*TOP, RUNNING, RUNNING + REGION],
        "environment": [*VARIABLES, "MEMSC_DIRECTORY"],
        "mapped": [*MAPPED, RUNNING + REGION],
    },
    ("trace", "--probes", "none", "-o", "/tmp/t.memsc"): RUN
    | LISTENED
    | {
        "memory": [
            *TOP,
            SESSION,
            *(SESSION + name for name in ("round/", "scratch/")),
            *(f"{SESSION}round/{name}" for name in (REGION, "backlog", "round.json")),
        ],
        "files": ["/tmp/t.memsc/", "/tmp/t.memsc/session.json"],
        "environment": [*VARIABLES, "MEMSC_SOCKET", "MEMSC_DIRECTORY"],
        "mapped": [*MAPPED, f"{SESSION}round/{REGION}"],
    },
}


_RT_SIGACTION = 13
_C_LIBRARYS_OWN = (32, 33)  # its words for them, sigaction(2) among these, refuse


def _as_from_a_login() -> None:
    """Whoever was started by posix_spawn, as by GNU make, has signals ignored and passes it on."""
    libc = ctypes.CDLL(None, use_errno=True)
    default = ctypes.create_string_buffer(32)
    for signal in _C_LIBRARYS_OWN:
        if libc.syscall(_RT_SIGACTION, signal, default, None, 8):
            raise OSError(ctypes.get_errno(), "rt_sigaction")


def _found(*command: str) -> list[dict[str, list[str]]]:
    """What is found, in name spaces that nobody else has used."""
    # What is said to memsc it does not pass on.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MEMSC_")}
    done = subprocess.run(
        ["unshare", "-imn", "sh", "-c", f'{OWN}; exec "$@"', "sh", *command],
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=preloaded.LIMIT_S,
        preexec_fn=_as_from_a_login,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert len(lines) == 3, done.stderr
    return [json.loads(line.removeprefix("found")) for line in lines]


@pytest.fixture(scope="module")
def directly() -> list[dict[str, list[str]]]:
    return _found(*COMMAND)


def _more(one: dict[str, list[str]], than: dict[str, list[str]]) -> dict[str, list[str]]:
    return {place: more for place in one if (more := sorted(set(one[place]) - set(than[place])))}


_SPAWN = "import os; os.waitpid(os.posix_spawn('/bin/cat', ['cat', '/proc/self/status'], {}), 0)"


def _spawned_ignore_cancel() -> bool:
    """Whether they do here: of Debian's, 12's C library does that, 13's no more."""
    command = [sys.executable, "-c", _SPAWN]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (mask,) = re.findall(r"^SigIgn:\s*([0-9a-f]+)", done.stdout, re.MULTILINE)
    return bool(int(mask, 16) >> 31 & 1)


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_this_and_nothing_else(way: tuple[str, ...], directly: list[dict[str, list[str]]]) -> None:
    """No user, and no new folder in memory, gets a file or folder that was not put there."""
    carried = _found(str(FRONT), *way, "--", *COMMAND)
    assert [_more(before, now) for before, now in zip(directly, carried, strict=True)] == [{}] * 3
    usual, another, anew = (
        _more(now, before) for before, now in zip(directly, carried, strict=True)
    )
    expected = {place: sorted(names) for place, names in WAYS[way].items()}
    if not _spawned_ignore_cancel():
        expected.pop("SigIgn", None)
    assert usual == expected
    assert "memory" not in another  # but for what he may not look into
    assert "memory" not in anew
