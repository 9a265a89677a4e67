# SPDX-License-Identifier: MIT
"""Calls that never come back are counted as that: no trace of a program that has some is off."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.helpers.command import memsc
from tests.helpers.required import layered, two_cpus

from memsc.tracer.format import open_trace

pytestmark = [
    two_cpus,
    layered,
]
ARMS = ("--transport", "direct,ipi,memsc", "--service", "inline,scanner")

_PROGRAM = r"""
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static int ends[2];
static sigjmp_buf before;
static void ends_in_handler(int signal) { exit(signal - SIGALRM); }
static void jumps(int signal) { siglongjmp(before, signal); }
static void *waits(void *end)
{
    char byte;
    return read(*(int *)end, &byte, 1) == 1 ? end : NULL;
}
int main(int count, char **words)
{
    pthread_t thread;
    if (pipe(ends) != 0 || count < 2)
        return 1;
    char way = words[1][0];
    if (way == 't' || way == 'c' || way == 'x') {
        pthread_create(&thread, NULL, waits, ends);
        usleep(30000);
    } else {
        signal(SIGALRM, way == 'e' ? ends_in_handler : way == 'j' ? jumps : SIG_DFL);
        for (volatile int i = 0; i < 3; i++)
            if (!sigsetjmp(before, 1)) {
                ualarm(30000, 0);
                waits(ends);
            }
    }
    if (way == 'x')
        execl("/bin/true", "true", NULL);
    if (way == 'c') {
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    return 0;
}
"""


def test_calls_that_never_return(tmp_path: Path) -> None:
    """Of a thread, when its process ends, becomes another or cancels it; a handler's exit or jump.

    And of a process that is killed, as ever.
    """
    (tmp_path / "program.c").write_text(_PROGRAM)
    build = ["gcc", "-O1", "-pthread", "-o", "program", "program.c"]
    subprocess.run(build, cwd=tmp_path, check=True)
    each = "for way in thread cancel xecute exit jump killed; do ./program $way; done; true"
    how = ("-o", "t.memsc", "--probes", "none", *ARMS)
    done = memsc("trace", *how, "--", "sh", "-c", each, cwd=tmp_path, limit_s=120)
    assert done.returncode == 0, done.stderr
    for one in open_trace(tmp_path / "t.memsc").session.rounds:
        assert one.unfinished is not None
        # A service may see the end of some, and a thread not yet wait: the killed one does.
        assert 1 <= one.unfinished <= 8, one.arm
        assert (one.calls or 0) + (one.lost or 0) + one.unfinished == one.made, one.arm
    done = memsc("report", "t.memsc", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "all that reached memsc accounted for" in done.stdout
