# SPDX-License-Identifier: MIT
"""Whether stacks are as gdb has them at the same stop, of programs without frame pointers."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from memsc.tracer.session.addresses import symbols
from memsc.tracer.session.addresses.address_spaces import Space, Spaces, module_of
from memsc.tracer.session.unwind import rules
from memsc.tracer.session.unwind.rules import constants
from memsc.tracer.session.unwind.stack_ring import Copied
from memsc.tracer.session.unwind.tables import Place, Tables

STOPS, AGREE = 200, 0.99
_SCRIPT = Path(__file__).with_name("gdb_stops.py")
_LIMIT_S = 300
_PERL = (
    "my %h; for(my $i=0;;$i++){ $h{$i%1000}.='x' if $i<1e5;"
    " my @a=sort {$a <=> $b} map {$_*7%13} 1..50; }"
)
_PYTHON = """
import json, sqlite3
c = sqlite3.connect(":memory:")
c.execute("create table t(a)")
while True:
    c.executemany("insert into t values(?)", ((i,) for i in range(1000)))
    c.execute("select sum(a*7%13) from t").fetchone()
    json.loads(json.dumps([{"a": list(range(100))} for i in range(20)]))
    sorted(str(i * 7 % 1000) for i in range(3000))
"""
_SQL = "with recursive c(x) as (select 1 union all select x+1 from c) select count(*) from c;"
_REDIS = """
redis-server --port @port@ --save '' >/dev/null & echo $! >pid
while :; do redis-benchmark -p @port@ -n 100000 -P 16 -t get,set,lpush -q; done >/dev/null 2>&1
"""
_NGINX = """
cat >conf <<X
daemon off; master_process off; pid nginx.pid; error_log /dev/null;
events { worker_connections 64; }
http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
uwsgi_temp_path t4; scgi_temp_path t5; server { listen 127.0.0.1:@port@; root .; } }
X
echo hello >index.html
nginx -p . -c conf -e /dev/null & echo $! >pid
while :; do /usr/bin/python3 -IS -c '
import http.client
client = http.client.HTTPConnection("127.0.0.1", @port@)
while True:
    client.request("GET", "/index.html")
    client.getresponse().read()
' || sleep 0.1; done >/dev/null 2>&1
"""
_POSTGRES = """
chown postgres .
as='runuser -u postgres --'
$as @postgres@/initdb -A trust -D d >/dev/null
$as @postgres@/postgres -D d -k $PWD -p @port@ -c listen_addresses= -c fsync=off >log 2>&1 &
until @postgres@/pg_isready -q -h $PWD -p @port@; do sleep 0.05; done
$as psql -qtAX -h $PWD -p @port@ -c 'select pg_backend_pid()' -c '
    select count(*), sum(i * 7 % 13), max(md5(i::text))
    from generate_series(1, 2000000000) i group by i % 100' postgres 2>&1 | tee pid
"""
PROGRAMS = {
    "perl": ("perl", "-e", _PERL),
    "python3": ("/usr/bin/python3", "-c", _PYTHON),
    "sqlite3": ("sqlite3", ":memory:", _SQL),
    "git": ("git", "hash-object", "--stdin"),
    "openssl": ("openssl", "speed", "-seconds", "60", "sha256"),
    "xz": ("xz", "-c"),
}
SERVERS = {
    "redis": ("redis-server", _REDIS),
    "nginx": ("nginx", _NGINX),
    "PostgreSQL": ("runuser", _POSTGRES),
}
"""What each needs, and a script: it writes which process to look at, and keeps that busy."""


@dataclass(frozen=True)
class Agreement:
    """What was compared.

    Args:
        stops: how often the program was stopped.
        differing: how its stack was walked and how gdb has it, where these differ.
    """

    stops: int
    differing: list[str]


def missing(name: str) -> str | None:
    """What is not here of that which a program needs."""
    needed = SERVERS[name][0] if name in SERVERS else PROGRAMS[name][0]
    if name == "PostgreSQL" and not glob.glob("/usr/lib/postgresql/*/bin/postgres"):  # noqa: PTH207
        return "postgresql"
    return next((one for one in ("gdb", needed) if not shutil.which(one)), None)


def compared(name: str, stops: int = STOPS) -> Agreement:
    """Stop a program again and again, and walk its stack from what gdb has read of it."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        return _compared(name, Path(folder), stops)


def _compared(name: str, folder: Path, stops: int) -> Agreement:
    output = folder / "stops"
    with _running(name, folder) as pid:
        tables, space = _described(pid)
        encoded = tables.encode(_places(tables, space))
        environment = {"PROGRAM": str(pid), "OUTPUT": str(output), "STOPS": str(stops)}
        subprocess.run(
            ["gdb", "-nx", "-batch", "-x", str(_SCRIPT)],
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
            timeout=_LIMIT_S,
        )
    found = [json.loads(line) for line in output.read_text().splitlines()]
    differing: list[str] = []
    for stop in found:
        stack = bytes.fromhex(stop["stack"])
        copy = Copied(1, 0, pid, stop["rip"], tuple(stop["registers"]), stack)
        walked = copy.walk(tables, encoded, lambda _: 0)
        # A caller's frame is told by the call, gdb's by where it returns to.
        theirs = [pc if depth == 0 else pc - 1 for depth, pc in enumerate(stop["frames"])]
        if walked.end != constants()["MEMSC_WALK_DONE"] or walked.frames != theirs:
            differing.append(f"{walked.end} {[*map(hex, walked.frames)]} {[*map(hex, theirs)]}")
    return Agreement(len(found), differing)


@contextmanager
def _running(name: str, folder: Path) -> Generator[int]:
    """A program that is busy; which process."""
    endless, nothing = Path("/dev/zero").open("rb"), subprocess.DEVNULL  # noqa: SIM115
    command = ["sh", "-c", filled(SERVERS[name][1], folder)] if name in SERVERS else PROGRAMS[name]
    program = subprocess.Popen(
        command, stdin=endless, stdout=nothing, stderr=nothing, cwd=folder, start_new_session=True
    )
    try:
        yield pid_of(folder) if name in SERVERS else program.pid
    finally:
        endless.close()
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def filled(script: str, folder: Path) -> str:
    """A script with a free port, and where PostgreSQL's programs are."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""]  # noqa: PTH207
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return script.replace("@port@", str(port)).replace("@postgres@", binaries[-1])


def pid_of(folder: Path) -> int:
    """The process that a script there has written down."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.5)
        with suppress(OSError, ValueError):
            return int((folder / "pid").read_text().split()[0])
    raise TimeoutError(f"no process in {folder}")


def _described(pid: int) -> tuple[Tables, Space]:
    time.sleep(1)  # until it has loaded what it loads
    spaces = Spaces()
    spaces.look(pid)
    return Tables(), spaces.newest(pid)


def _places(tables: Tables, space: Space) -> list[Place]:
    found: list[Place] = []
    for start, end, mapped in space.visible:
        module = module_of(mapped)
        place = Place(start, end)
        its = None
        if module.name == "[vdso]":
            its = rules.of_bytes(symbols.vdso_image())
        elif module.name.startswith("/"):
            with open(module.name, "rb") as file:  # noqa: PTH123
                its = rules.of_file(file)
        base = tables.add(its) if its is not None else None
        address = its.address(mapped.offset) if its is not None else None
        if its is not None and base is not None and address is not None:
            place = Place(start, end, mapped.start - (address + base), its.callers)
        found.append(place)
    return found
