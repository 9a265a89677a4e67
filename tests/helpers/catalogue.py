# SPDX-License-Identifier: MIT
"""The programs that are run with and without memsc: one table, used by every test that wants them.

Each starts in a folder with the same input (`prepare`), and is done the same way if output, exit
status and all files that it leaves are the same.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shlex
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

PYTHON = "/usr/bin/python3"
PAGES = 30


@dataclass(frozen=True)
class Program:
    """One program and how to tell that it did the same.

    Args:
        name: for the table.
        line: the command, run in the prepared folder; quoted as for the shell.
        files: written there beforehand, by name.
        says: what of its output has to be the same, as a pattern; None: all of it.
        sorted: whether its lines may come in any order.
        leaves_out: patterns of files that may differ: times, numbers of processes.
        drive: talks to it meanwhile, and ends it; gets the folder and its process.
        long: left to `make test-programs`.
    """

    name: str
    line: str
    files: tuple[tuple[str, str], ...] = ()
    says: str | None = None
    sorted: bool = False
    leaves_out: tuple[str, ...] = ()
    drive: Callable[[Path, int], None] | None = None
    long: bool = False

    @property
    def command(self) -> list[str]:
        """Its arguments."""
        return shlex.split(self.line)

    def prepare(self, folder: Path) -> None:
        """Make the folder and all input, the same each time."""
        folder.mkdir()
        source = random.Random(7)
        (folder / "input").write_bytes(source.randbytes(300_003))
        words = ["".join(source.choices("abcdefgh", k=5)) for _ in range(500)]
        (folder / "lines").write_text(
            "".join(f"{' '.join(source.choices(words, k=6))}\n" for _ in range(4000))
        )
        for number in range(40):
            place = folder / "tree" / f"{number % 5}" / f"{number % 3}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"file {number}").write_bytes(source.randbytes(number * 331))
        (folder / "tree" / "link").symlink_to("0")
        (folder / "html").mkdir()
        for number in range(PAGES):
            (folder / "html" / f"{number}").write_bytes(source.randbytes(1 + number * 977))
        for name, text in self.files:
            (folder / name).write_text(text.replace("@PORT@", f"{_free_port()}"))
            (folder / name).chmod(0o755)
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, (1e9, 1e9), follow_symlinks=False)

    def heard(self, output: bytes) -> object:
        """What of its output counts."""
        text = output.decode(errors="surrogateescape")
        if self.says is not None:
            return re.findall(self.says, text, re.MULTILINE)
        return sorted(text.splitlines()) if self.sorted else text

    def left(self, folder: Path) -> dict[str, tuple[int, str]]:
        """What it left: mode and a digest of the content, by name."""
        found: dict[str, tuple[int, str]] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if any(fnmatch(name, pattern) for pattern in self.leaves_out):
                continue
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            else:
                content = path.read_bytes() if path.is_file() else b""
            found[name] = path.lstat().st_mode, hashlib.sha256(content).hexdigest()
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _port(folder: Path) -> int:
    text = next(folder.glob("server.*")).read_text()
    return int(re.findall(r"127\.0\.0\.1\D+(\d+)", text)[0])


def _until_listening(port: int) -> None:
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("the server does not listen")


def fetch_pages(folder: Path, pid: int) -> None:
    """Fetch every page from four threads at once, compare, and ask the server to end."""
    port = _port(folder)
    _until_listening(port)
    wrong: list[str] = []

    def fetch(first: int) -> None:
        for number in range(first, PAGES, 4):
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/{number}", timeout=30
                ) as page:
                    if page.read() != (folder / "html" / f"{number}").read_bytes():
                        wrong.append(f"{number} differs")
            except OSError as error:
                wrong.append(f"{number}: {error}")

    threads = [threading.Thread(target=fetch, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    subprocess.run(["kill", "-QUIT", str(pid)], check=True)
    assert not wrong, wrong


NGINX = """\
daemon off; user root; pid nginx.pid; error_log error.log; worker_processes 2;
events { worker_connections 64; }
http {
  log_format short '$request $status $body_bytes_sent';
  access_log access.log short; sendfile on; aio threads; directio 8k;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
  scgi_temp_path t5;
  server { listen 127.0.0.1:@PORT@; root html; }
}
"""

THREADED = """\
import functools, http.server, signal, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
handler = functools.partial(Quiet, directory="html")
server = http.server.ThreadingHTTPServer(("127.0.0.1", @PORT@), handler)
signal.signal(signal.SIGQUIT, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
print("ended")
"""

SQL = """\
create table t (a integer primary key, b text, c real);
create index i on t (b);
begin;
with recursive n(x) as (select 1 union all select x + 1 from n where x < 3000)
insert into t select x, 'row ' || (x * 7919 % 3001), x / 7.0 from n;
commit;
update t set c = c * 2 where a % 3 = 0;
delete from t where a % 5 = 0;
select count(*), sum(a), max(b) from t;
pragma integrity_check;
vacuum;
.schema
"""

PYTHON_FILES = """\
files = sorted(path for path in pathlib.Path("tree").rglob("*") if path.is_file())
with zipfile.ZipFile("tree.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for path in files:
        archive.write(path)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    sizes = list(pool.map(lambda path: len(path.read_bytes()), files))
pathlib.Path("sizes.json").write_text(json.dumps(sizes))
"""
PYTHON_DATABASE = """\
database = sqlite3.connect("d.sqlite")
database.execute("create table t (a)")
database.executemany("insert into t values (?)", ((n,) for n in range(500)))
database.commit()
print(database.execute("select sum(a) from t").fetchone())
"""
PYTHON_JOB = f"""\
import concurrent.futures, json, os, pathlib, sqlite3, subprocess, tempfile, threading, zipfile
{PYTHON_FILES}\
print(sum(sizes), subprocess.run(["wc", "-c", "input"], capture_output=True, text=True).stdout)
with tempfile.TemporaryDirectory(dir=".") as folder:
    (pathlib.Path(folder) / "x").write_text("y")
reading, writing = os.pipe()
if (child := os.fork()) == 0:
    os.write(writing, b"from the child")
    os._exit(3)
print(os.read(reading, 100), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
{PYTHON_DATABASE}"""

PERL = r"""
use strict; use warnings; use File::Find; use IPC::Open2;
my %count; open(my $in, '<', 'lines') or die; while (<$in>) { $count{$_}++ for split } close $in;
open(my $out, '>', 'counts') or die;
print $out "$_ $count{$_}\n" for sort keys %count; close $out;
my $size = 0; find(sub { $size += -s if -f }, 'tree'); print "$size\n";
my $pid = open2(my $from, my $to, 'sort', '-r'); print $to "a\nc\nb\n"; close $to;
print <$from>; waitpid $pid, 0; print $? >> 8, "\n";
my $child = fork // die; exit 5 unless $child; waitpid $child, 0; print $? >> 8, "\n";
rename 'counts', 'counted' or die; print `ls html | wc -l`;
"""

BASH = r"""
set -eu -o pipefail
shopt -s nullglob
for file in tree/*/*/*; do [[ -s $file ]] && sizes+=("$(wc -c <"$file")"); done
printf '%s\n' "${sizes[@]}" | sort -n | tail -n 3
head -n 400 lines | while read -r a b rest; do echo "$b $a"; done >swapped
grep -c aa lines || true
trap 'echo caught' USR1
kill -USR1 $$
(exit 4) || echo "status $?"
cat <(sort lines | uniq -c | wc -l) <<<"here"
sleep 0.01 & wait $!
( cd tree && tar cf - . | (mkdir ../copy && cd ../copy && tar xf -) )
diff -r tree copy && echo same
exec 7>seven; echo x >&7; exec 7>&-
echo "${BASHPID:+has} $(ulimit -n | grep -c .)"
"""

GIT = """\
set -e
export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD
export GIT_AUTHOR_DATE=2001-02-03T04:05:06Z GIT_COMMITTER_DATE=2001-02-03T04:05:06Z
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a
git init -q -b main .
git add tree html lines
git commit -q -m one
git checkout -q -b side
echo more >>lines
git mv html/1 html/one
git commit -q -a -m two
git checkout -q main
git merge -q --no-edit side
git log --stat --format='%H %s'
git gc -q
git fsck
git status --short | grep -v '^??' || true
git grep -c aa | tail -n 3
"""

C_SOURCE = """\
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
int main(int argc, char **argv) { qsort(argv + 1, (size_t)argc - 1, sizeof *argv, compare);
    for (int i = 1; i < argc; i++) puts(argv[i]); return 0; }
"""

PROGRAMS = (
    Program("dd", "dd if=input of=output bs=512 status=noxfer"),
    Program("ls", "ls -laR --time-style=+%s tree html lines"),
    Program("cp", "cp -av tree copy"),
    Program("tar", "tar --sort=name -czvf tree.tar.gz tree html"),
    Program(
        "untar",
        "sh -c 'tar -C tree -cf - . | gzip >t.gz && mkdir to && tar -C to -xzf t.gz'",
        leaves_out=("t.gz",),  # the order of folders is the file system's
    ),
    Program("find", "find tree -size +4k -exec sha256sum {} +", sorted=True),
    Program("grep", "grep -rnE '(aa|bb)[cd]e ' .", sorted=True),
    Program("sort", "sort -S 64k --parallel=2 -T . -o sorted lines"),
    Program("sqlite3", "sqlite3 db '.read job.sql'", (("job.sql", SQL),)),
    Program(
        "python3",
        f"{PYTHON} -I job.py",
        (("job.py", PYTHON_JOB),),
        leaves_out=("d.sqlite",),  # has a number of the library's version in it, and counters
    ),
    Program("perl", "perl job.pl", (("job.pl", PERL),)),
    Program("bash", "bash job.sh", (("job.sh", BASH),)),
    Program("git", "sh job.sh", (("job.sh", GIT),), leaves_out=(".git/index", ".git/logs*")),
    Program("gcc", "gcc -O1 -o program job.c", (("job.c", C_SOURCE),)),
    Program(
        "nginx",
        "nginx -p . -c server.conf -e error.log",
        (("server.conf", NGINX),),
        says="$^",
        leaves_out=("access.log", "error.log", "nginx.pid", "server.conf"),
        drive=fetch_pages,
    ),
    Program(
        "http.server",
        f"{PYTHON} -I server.py",
        (("server.py", THREADED),),
        leaves_out=("server.py",),
        drive=fetch_pages,
    ),
    Program(
        "fio",
        "fio --name=job --ioengine=psync --rw=randrw --bs=4k --size=1m --numjobs=2"
        " --verify=crc32c --randseed=1 --directory=.",
        says=r"err= *\d+|^verify.*|^fio: .*",
        leaves_out=("job.*",),  # the time of writing stands in each block
        long=True,
    ),
    Program(
        "dbench",
        "dbench -D . -t 2 -c /usr/share/dbench/client.txt 1",
        says=r"^Throughput|ERROR.*|failed.*",
        long=True,
    ),
    Program(
        "bonnie++",
        "bonnie++ -d . -s 8 -r 4 -f -n 1:1000:100:2 -u root -q",
        says=r"^1\.98,[^,]*,|[Cc]an't .*|[Ee]rror.*",
        long=True,
    ),
)
