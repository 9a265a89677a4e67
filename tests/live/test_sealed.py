# SPDX-License-Identifier: MIT
"""A C library whose text is sealed before the layer comes, as a loader may do it (glibc 2.42)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import listening, preloaded
from tests.helpers.preloaded import RECORDED, environment

pytestmark = preloaded.MARKS

# Of the libraries preloaded the last is started first.
SEALER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Files may be written everywhere but in /proc. */
static int forbids_proc(void)
{
    struct landlock_ruleset_attr handled = {.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
    int rules = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0)
        return 77;
    static const char *const places[] = {"/dev", "/tmp", "/run", "/var", "/home", "/root"};
    for (int i = 0; i < 6; i++) {
        struct landlock_path_beneath_attr rule = {
            .allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE,
            .parent_fd = open(places[i], O_PATH | O_CLOEXEC),
        };
        if (rule.parent_fd < 0)
            continue;
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0))
        return 77;
    return close(rules);
}

__attribute__((constructor)) static void seal(void)
{
    char line[512];
    unsigned long from, to;
    const char *wanted = getenv("SEALED");
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!wanted || !maps)
        _exit(9);
    while (fgets(line, sizeof line, maps)) {
        if (!strstr(line, " r-xp ") || sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        if (!strstr(line, "/libc.so") && !strstr(line, "/ld-linux"))
            continue;
        if (syscall(462, from, to - from, 0) != 0)
            _exit(errno == ENOSYS ? 77 : 8);
    }
    fclose(maps);
    int status = strcmp(wanted, "text and its file") == 0 ? forbids_proc() : 0;
    if (status)
        _exit(status);
}
"""


@pytest.fixture(scope="module")
def sealer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that seals."""
    path = tmp_path_factory.mktemp("sealer") / "sealer.so"
    gcc = ["gcc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(gcc, input=SEALER, text=True, check=True)
    return path


def _said(sealer: Path, sealed: str) -> list[Mapping[str, Any]]:
    variables = environment("memsc", MEMSC_STATS="1", SEALED=sealed, **RECORDED)
    variables["LD_PRELOAD"] += f":{sealer}"
    command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=1009", "status=none"]
    done, messages = listening.run(command, variables, preexec_fn=preloaded.away)
    said = listening.said(messages, "leaves", "program")
    if done.returncode == 77:
        pytest.skip("needs mseal, Linux 6.10, and Landlock, 5.13")
    assert done.returncode == 0
    return [*said]


def test_the_kernel_writes_what_is_sealed(sealer: Path) -> None:
    """Sealing binds mprotect; /proc/self/mem is debuggers' way, and stays open."""
    (line,) = _said(sealer, "text")
    assert line["forwarded"]["write"] == 1009
    assert "protected" not in line["unpatched"]


def test_what_nobody_may_write_runs_directly_and_says_so(sealer: Path) -> None:
    """Before, its instructions counted as rewritten, and not a call was forwarded."""
    said = _said(sealer, "text and its file")
    assert [line["why"] for line in said if "why" in line] == [
        "the system lets no program change its text"
    ]
    assert not any(line.get("forwarded") for line in said)
