# SPDX-License-Identifier: MIT
"""Ways in which a program may lose what carries it: its environment, user, root, descriptors."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = 1500

# As setproctitle(3) of many servers: moves environ away and writes a title over argv and environ.
_TITLE = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words)
{
    int n = 0;
    while (environ[n])
        n++;
    char *end = environ[n - 1] + strlen(environ[n - 1]), **moved = calloc(n + 1, sizeof *moved);
    for (int i = 0; i < n; i++)
        moved[i] = strdup(environ[i]);
    char *next[] = {strdup(words[1]), strdup(words[2]), strdup(words[3]), NULL};
    environ = moved;
    memset(words[0], 0, (size_t)(end - words[0]));
    strcpy(words[0], "server: a rather long title that lies over what was there before");
    if (fork() == 0)
        _exit(0);
    execv(next[0], next);
    return count;
}
"""

_CLOSES_ALL = """
import os, sys
for first in range(3, 2000):
    try: os.close(first)
    except OSError: pass
os.closerange(3, 1 << 20)
if os.fork(): sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.execve("/bin/ls", ["ls", "-l", sys.argv[1]], {})
"""
_TAKES_ITS_PLACE = """
import os, sys
for number in range(200, 300): os.dup2(0, number)
os.execve("/bin/ls", ["ls", "-l", sys.argv[1]], {})
"""
_SPAWNS = """
import subprocess, sys
status = subprocess.run(["/bin/ls", "-l", sys.argv[1]], close_fds=True, env={"A": "b"}).returncode
sys.exit(status)
"""
_MAKE_ROOT = """
mount -t tmpfs none @root@
for d in bin sbin lib lib64; do [ ! -L /$d ] || cp -P /$d @root@/; done
for d in usr bin lib lib64 tmp proc; do
  [ -L @root@/$d ] || [ ! -d /$d ] || { mkdir @root@/$d && mount --rbind /$d @root@/$d; }
done
"""


@dataclass(frozen=True)
class Way:
    """One way.

    Args:
        command: in the shell's words; @files@ is the folder that is listed, @root@ an empty one,
            @title@ a server that writes its title, @checkout@ where memsc lies.
        lost: what is said of the program that is not carried; None: it is carried all the same.
    """

    command: str
    lost: str | None = None


LIST = "/bin/ls -l @files@"
PYTHON = "/usr/bin/python3 -ISc"
WAYS = {
    "nothing": Way(LIST),
    "env": Way(f"env -i {LIST}"),
    "env-twice": Way(f"env -i /bin/sh -c 'env -i {LIST}'"),
    "own-preload": Way(f"LD_PRELOAD=libm.so.6 {LIST}"),
    "title": Way("@title@ /bin/ls -l @files@"),
    "setpriv": Way(f"setpriv --reuid=65534 --clear-groups {LIST}"),
    "setpriv-chain": Way(
        f"setpriv --regid=65534 --clear-groups env -i setpriv --reuid=65534 {LIST}"
    ),
    "runuser": Way(f"runuser -u nobody -- {LIST}"),
    "su": Way(f"su -s /bin/sh nobody -c '{LIST}'"),
    "memory": Way(f"unshare -m sh -c 'mount -t tmpfs none /dev/shm; {LIST}'"),
    "library": Way(f"unshare -m sh -c 'mount -t tmpfs none @checkout@; {LIST}'"),
    "library-user": Way(
        "unshare -m sh -c 'mount -t tmpfs -o mode=700 none @checkout@;"
        f" setpriv --reuid=65534 --clear-groups {LIST}'"
    ),
    "root": Way(f"unshare -m sh -c '{_MAKE_ROOT} chroot @root@ {LIST}'"),
    "user-namespace": Way(f"unshare -U {LIST}"),
    "user-namespace-root": Way(f"unshare -Ur {LIST}"),
    "process-namespace": Way(f"unshare -pf --mount-proc {LIST}"),
    "ipc-namespace": Way(f"unshare -i {LIST}"),
    "network-namespace": Way(f"unshare -n {LIST}"),
    "time-namespace": Way(f"unshare -T --monotonic 1000000 --boottime 777 {LIST}"),
    "session": Way(f"setsid -w {LIST}"),
    "descriptors": Way(f"{PYTHON} '{_CLOSES_ALL}' @files@"),
    "place": Way(f"{PYTHON} '{_TAKES_ITS_PLACE}' @files@"),
    "spawned": Way(f"{PYTHON} '{_SPAWNS}' @files@"),
    "few-descriptors": Way(f"ulimit -n 32; {LIST}"),
}


@dataclass(frozen=True)
class Place:
    """Where ways are tried: places that any user can reach, as memsc's own may not be."""

    files: Path
    root: Path
    title: Path

    def command(self, way: Way) -> list[str]:
        """The command of a way."""
        words = {
            "@files@": self.files,
            "@root@": self.root,
            "@title@": self.title,
            "@checkout@": ROOT,
        }
        command = way.command
        for word, path in words.items():
            command = command.replace(word, str(path))
        return ["sh", "-c", command]


@contextmanager
def place() -> Generator[Place]:
    """One such place."""
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        top.chmod(0o755)
        made = Place(top / "files", top / "root", top / "title")
        made.files.mkdir()
        made.root.mkdir()
        for number in range(FILES):
            (made.files / f"{number}").touch()
        (top / "title.c").write_text(_TITLE)
        subprocess.run(["gcc", "-O1", "-o", made.title, top / "title.c"], check=True)
        yield made
    finally:
        shutil.rmtree(top, ignore_errors=True)


def counted(command: list[str], folder: Path) -> Counter[str]:
    """Calls that a command makes without memsc, by name, as strace counts them."""
    file = folder / "strace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", file, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0
    return Counter(re.findall(r"^\d+ +(\w+)\(", file.read_text(errors="replace"), re.M))
