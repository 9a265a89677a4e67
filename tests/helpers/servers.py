# SPDX-License-Identifier: MIT
"""Servers that change user, root, environment and title, each beside a client that asks it much."""

from __future__ import annotations

import glob
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import ways
from tests.helpers.command import memsc

from memsc.runtime.carried import FILTERED
from memsc.tracer.format import open_trace

USER = "memsc-visitor"


@dataclass(frozen=True)
class Server:
    """A server, and what is done with it.

    Args:
        script: starts it, asks it, ends it, and ends with 0 if all answers and statuses are right;
            in the shell's words; @folder@ is its own, @port@ a port that is free.
        calls: those whose number is the same each time, since the work is.
        needs: its programs.
        ready: makes what the script finds in the folder.
        filtered: which of its processes put themselves under a seccomp filter.
    """

    script: str
    calls: tuple[str, ...]
    needs: tuple[str, ...]
    ready: Callable[[Path], None] | None = None
    filtered: str | None = None


_NGINX = """
cat >n.conf <<X
daemon off; user www-data; pid nginx.pid; error_log /dev/null; worker_processes 2;
events { worker_connections 64; }
http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
uwsgi_temp_path t4; scgi_temp_path t5; server { listen 127.0.0.1:@port@; root .; } }
X
echo hello >index.html
nginx -p . -c n.conf -e /dev/null & server=$!
/usr/bin/python3 -IS -c '
import http.client, time
while True:
    try: client = http.client.HTTPConnection("127.0.0.1", @port@); client.connect(); break
    except OSError: time.sleep(0.05)
for _ in range(2000):
    client.request("GET", "/index.html")
    assert client.getresponse().read() == b"hello\\n"
' || exit 7
kill -QUIT $(cat nginx.pid); wait $server || exit 8
rm -r n.conf index.html t[1-5]
"""
_REDIS = """
redis-server --port @port@ --bind 127.0.0.1 --save '' --appendonly no >log & server=$!
until [ "$(redis-cli -p @port@ ping 2>&1)" = PONG ]; do sleep 0.05; done
[ "$(redis-cli -p @port@ -r 2000 incr x | tail -n 1)" = 2000 ] || exit 7
redis-cli -p @port@ shutdown nosave
wait $server || exit 8
rm log
"""
_POSTGRES = """
runuser -u postgres -- @postgres@/postgres -D d -k @folder@ -p @port@ \
    -c listen_addresses= -c fsync=off >log 2>&1 & server=$!
until @postgres@/pg_isready -q -h @folder@ -p @port@; do sleep 0.05; done
for i in $(seq 500); do echo "insert into t values ($i);"; done >rows
{ echo 'create table t(a int);'; cat rows; echo 'select sum(a) from t; drop table t;'; } |
    runuser -u postgres -- psql -qtAX -h @folder@ -p @port@ postgres >answer
[ "$(cat answer)" = 125250 ] || exit 7
runuser -u postgres -- @postgres@/pg_ctl -D d -m fast stop -s || exit 9
wait $server || exit 8
rm log rows answer
"""
_SSHD = f"""
/usr/sbin/sshd -D -e -f conf 2>log & server=$!
until ssh-keyscan -t ed25519 -p @port@ 127.0.0.1 >known 2>/dev/null; [ -s known ]; do
    sleep 0.05
done
ssh -F none -p @port@ -i key -o BatchMode=yes -o UserKnownHostsFile=known {USER}@127.0.0.1 \
    'id -un; dd if=/dev/zero bs=512 count=3000 status=none | md5sum; exit 3' >answer 2>>log
[ $? = 3 ] && [ "$(echo $(cat answer))" = '{USER} 6eb8c366315498feabd796786a621bcb -' ] || exit 7
kill $server; wait $server || exit 8
rm log known answer
"""
# A daemon as daemons are made: it forks, leaves its session, drops root, and is nobody's child.
_DNSMASQ = """
dnsmasq --conf-file=/dev/null --port=@port@ --listen-address=127.0.0.1 --bind-interfaces \
    --no-resolv --no-hosts --address=/hello.test/192.0.2.7 --user=nobody --pid-file=@folder@/pid
/usr/bin/python3 -IS -c '
import socket
question = bytes(5) + b"\\1" + bytes(6) + b"\\5hello\\4test\\0\\0\\1\\0\\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
    asks.connect(("127.0.0.1", @port@))
    asks.settimeout(10)
    for _ in range(2000):
        asks.send(question)
        assert asks.recv(512).endswith(bytes((192, 0, 2, 7)))
' || exit 7
server=$(cat pid); kill $server || exit 8
while kill -0 $server 2>&-; do sleep 0.05; done
rm -f pid
"""
_CHAIN = """
dd='/bin/dd if=/dev/zero of=/dev/null bs=512 count=3000 status=none'
su -s /bin/sh nobody -c "setpriv --no-new-privs env -i /bin/sh -c '$dd && id -un'" >answer
[ "$(cat answer)" = nobody ] || exit 7
runuser -u nobody -- env -i $dd || exit 8
setpriv --reuid=33 --clear-groups env -i HOME=/ SHELL=/bin/sh /bin/sh -c "$dd" || exit 9
rm answer
"""


def _postgres() -> str:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))  # noqa: PTH207 - no folder to begin at
    return found[-1] if found else "/usr/lib/postgresql"


def _make_cluster(folder: Path) -> None:
    shutil.chown(folder, "postgres")
    command = ["runuser", "-u", "postgres", "--", f"{_postgres()}/initdb", "-A", "trust", "-D", "d"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _make_keys(folder: Path) -> None:
    for name in ("key", "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name]
        subprocess.run(command, cwd=folder, check=True)
    conf = (
        "Port @port@\nListenAddress 127.0.0.1\nHostKey @folder@/host\nStrictModes no\nUsePAM no\n"
    )
    conf += "AuthorizedKeysFile @folder@/key.pub\nPidFile none\nPrintMotd no\nPrintLastLog no\n"
    (folder / "conf").write_text(conf)


SERVERS = {
    "nginx": Server(_NGINX, ("writev", "pread64", "recvfrom"), ("nginx",)),
    "redis": Server(_REDIS, ("write", "sendto", "recvfrom"), ("redis-server", "redis-cli")),
    "postgres": Server(
        _POSTGRES,
        ("sendto",),  # half of all recvfrom find nothing yet, more or less of them each time
        (f"{_postgres()}/postgres", "psql"),
        _make_cluster,
    ),
    "sshd": Server(
        _SSHD, ("write",), ("/usr/sbin/sshd", "ssh", "useradd"), _make_keys, filtered="sshd"
    ),
    "dnsmasq": Server(_DNSMASQ, ("recvmsg", "sendmsg", "sendto", "recvfrom"), ("dnsmasq",)),
    "chain": Server(_CHAIN, ("read", "write"), ("su", "runuser", "setpriv")),
}


@contextmanager
def place(server: Server) -> Generator[tuple[Path, list[str]]]:
    """A folder that every user can reach, with all that a server needs, and its command."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        if server.ready is not None:
            server.ready(folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = {"@folder@": str(folder), "@port@": str(port), "@postgres@": _postgres()}
        script = f"cd @folder@ || exit 6\n{server.script}"
        if (conf := folder / "conf").exists():
            conf.write_text(_filled(conf.read_text(), words))
        yield folder, ["sh", "-c", _filled(script, words)]
    finally:
        shutil.rmtree(folder)


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


@contextmanager
def visitor() -> Generator[None]:
    """Somebody who may log in, and the folder that sshd is to find."""
    run = Path("/run/sshd")
    made = not run.exists()
    if made:
        run.mkdir(mode=0o755)
    subprocess.run(["useradd", "-M", "-d", "/", "-p", "*", "-s", "/bin/sh", USER], check=True)
    try:
        yield
    finally:
        subprocess.run(["userdel", USER], check=True)
        if made:
            run.rmdir()


def is_recorded(
    server: Server, folder: Path, arms: Sequence[str], probes: Sequence[str] = ("none",)
) -> None:
    """Asserts that under each arm its answers are right, and its calls all there.

    Args:
        server: which.
        folder: an empty one.
        arms: as options of `memsc trace`.
        probes: with these, in turn.
    """
    with visitor() if server.filtered else nullcontext(), place(server) as (own, command):
        before = sorted(own.iterdir())
        made = ways.counted(command, folder)
        for probe in probes:
            how = ("-f", "-o", "t.memsc", "--probes", probe, *arms)
            done = memsc("trace", *how, "--", *command, cwd=folder)
            assert done.returncode == 0, done.stderr
            assert sorted(own.iterdir()) == before
            _is_whole(folder, server, made)
            done = memsc("report", "t.memsc", "--allow-unrecorded", cwd=folder)
            assert done.returncode == 0, done.stdout
            assert "withheld" not in done.stdout


def _is_whole(folder: Path, server: Server, made: Mapping[str, int]) -> None:
    trace = open_trace(folder / "t.memsc")
    calls = trace.read("calls", ["arm", "round", "syscall"]).to_pandas()
    for one in trace.session.rounds:
        assert one.exit_status == 0
        assert (one.calls or 0) + (one.lost or 0) + (one.unfinished or 0) == one.made
        assert one.lost == 0
        assert (one.unfinished or 0) < 0.001 * (one.made or 0)
        mine = calls[(calls["arm"] == one.arm) & (calls["round"] == one.round)]["syscall"]
        recorded = mine.value_counts()
        for call in server.calls:
            assert made[call] >= 1000, call
            assert recorded.get(call, 0) >= 0.99 * made[call], (one.arm, call, recorded, made)
        cover = one.coverage
        assert cover is not None
        assert cover.programs >= len(server.needs)
        named = {(each.name, each.why) for each in cover.unrecorded}
        assert named == ({(server.filtered, FILTERED)} if server.filtered else set()), one.arm
        if one.check and cover.unseen is not None:
            assert cover.unseen <= 0.01 * (one.made or 0)
