# SPDX-License-Identifier: MIT
"""Plans kept from start to start: where none can be kept, or believed, programs plan anew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import listening, preloaded
from tests.helpers.preloaded import RECORDED, environment

pytestmark = [
    *preloaded.MARKS,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a folder in memory of its own"),
]

OBJECTS = 2  # the C library and the loader
NEW = "mount -t tmpfs none /dev/shm"
MADE = "mkdir -m 700 $top $top/starts"  # as `memsc` does
WITH_ROOM = f"{NEW}; {MADE}"
SPOILT = f"{WITH_ROOM}; started; "
PLACES = {
    "room": (WITH_ROOM, OBJECTS),
    "nobody made it": (NEW, 0),
    "noexec": (f"{NEW} -o noexec,nosuid; {MADE}", OBJECTS),
    "closed by mask": (f"{WITH_ROOM}; umask 777", OBJECTS),
    "full": (f"{NEW} -o size=8k; {MADE}; head -c 8k /dev/zero >/dev/shm/else", 0),
    "room for the loader's": (f"{NEW} -o size=8k; {MADE}", 1),
    "no inodes": (f"{NEW} -o nr_inodes=3; {MADE}", 0),
    "read-only": (f"{NEW} -o ro", 0),
    "no files": ("mount -t proc none /dev/shm", 0),
    "another's folder": (f"{WITH_ROOM}; chown 4711 $top", 0),
    "open folder": (f"{WITH_ROOM}; chmod 777 $top", 0),
    "link": (f"{WITH_ROOM}; mv $top /dev/shm/else; ln -s /dev/shm/else $top", 0),
    "file": (f"{NEW}; touch $top", 0),
    "link to a folder of plans": (
        f"{SPOILT} mv $top/starts /dev/shm/else; ln -s /dev/shm/else $top/starts",
        0,
    ),
    "cut short": (f"{SPOILT} truncate -s 1000 $plans", OBJECTS),
    "too long": (f"{SPOILT} truncate -s 1M $plans", OBJECTS),
    "empty": (f"{SPOILT} truncate -s 0 $plans", OBJECTS),
    "nothing but zeros": (
        f"{SPOILT} for p in $plans; do head -c 9000 /dev/zero >$p; done",
        OBJECTS,
    ),
    "another's plans": (f"{SPOILT} chown 4711 $plans", OBJECTS),
    "open plans": (f"{SPOILT} chmod 666 $plans", OBJECTS),
    "of each other": (
        f"{SPOILT} set -- $plans; mv $1 $top/a; mv $2 $1; mv $top/a $2",
        OBJECTS,
    ),
}
SHELL = """
top=/dev/shm/memsc-0
layer=$LAYER
unset LAYER
started() { env LD_PRELOAD=$layer dd if=/dev/zero of=/dev/null bs=512 count=1009 status=none; }
PLACE
started && started && ls -l $top/starts 2>/dev/null | grep -c -e '-rw-------.* plan-[0-9a-f]*$'
true
"""


def _said(place: str) -> tuple[int, list[dict[str, Any]]]:
    variables = environment("memsc", MEMSC_STATS="1", **RECORDED)
    variables["LAYER"] = variables.pop("LD_PRELOAD")
    script = SHELL.replace("PLACE", place).replace("$plans", "$top/starts/plan-*")
    command = ["unshare", "--mount", "sh", "-c", script]
    done, messages = listening.run(
        command, variables, preexec_fn=preloaded.away, stdout=subprocess.PIPE
    )
    assert done.returncode == 0
    lines = listening.said(messages, "program", "leaves")
    return int(done.stdout.split()[-1]), lines[-2:]


@pytest.fixture(scope="module")
def usual() -> Mapping[str, Any]:
    """What a program says that finds a plan."""
    _, said = _said(WITH_ROOM)
    return said[-1]


@pytest.mark.parametrize("place", PLACES)
def test_every_place(place: str, usual: Mapping[str, Any]) -> None:
    """The same sites are led to the runtime; what is kept is whole and one's own."""
    shell, kept = PLACES[place]
    count, said = _said(shell)
    assert count == kept
    for line in said:
        assert line["forwarded"]["write"] == 1009
        for what in ("sites", "unpatched", "missed"):
            assert line[what] == usual[what]


def test_a_program_begins_without_an_error(tmp_path: Path) -> None:
    """As C has it, whatever failed before: here there is no folder yet."""
    program = tmp_path / "errno"
    source = "#include <errno.h>\nint main(void) { return errno; }\n"
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(program)], input=source, text=True, check=True)
    variables = environment("memsc", **RECORDED)
    layer = variables.pop("LD_PRELOAD")
    shell = f"mount -t tmpfs -o ro none /dev/shm; LD_PRELOAD={layer} exec {program}"
    subprocess.run(["unshare", "--mount", "sh", "-c", shell], env=variables, check=True)
