# SPDX-License-Identifier: MIT
"""Sanitizers, valgrind and other preloaded libraries find under memsc what they find without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.helpers.preloaded import ATTACHABLE, CPUS, MARKS

from memsc.runtime.files import LAYER

ROOT = Path(__file__).resolve().parents[2]
MEMSC = ROOT / ".venv" / "bin" / "memsc"
LIMIT_S = 120
ARMS = (("--transport", "ipi"), ("--service", "inline"), ("--service", "scanner"))

PROGRAM = r"""
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *reads(void *unused)
{
    char *text = malloc(100);
    int fd = open("/etc/passwd", O_RDONLY);
    if (read(fd, text, 100) != 100)
        puts("cannot read");
    close(fd);
    free(text);
    return unused;
}
static void finds(const char *what)
{
    volatile char *place = malloc(10);
    if (strcmp(what, "leak") == 0) {
        for (int i = 0; i < 50; i++) { /* one may be found in a corner of the stack */
            char *volatile lost = malloc(77);
            lost = NULL;
        }
    } else if (strcmp(what, "overflow") == 0) {
        place[atoi("10")] = 1;
    }
    free((void *)place);
}
int main(int count, char **arguments)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, reads, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        reads(NULL);
        _exit(3);
    }
    int status;
    waitpid(child, &status, 0);
    finds(count > 1 ? arguments[1] : "");
    printf("child %d, parent %d\n", WEXITSTATUS(status), getppid() > 0);
    return 0;
}
"""
SAID = (
    r"Invalid write of size 1|^child.*|^.*come first.*|^.*cannot.*"
    r"|(?:ERROR|SUMMARY|WARNING): \w+:?[^/\n]*"
)

pytestmark = MARKS
arms = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm[1])
finds = pytest.mark.parametrize("what", ["nothing", "leak", "overflow"])


def _build(folder: Path, compiler: str, *options: str) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    program = folder / "program"
    command = [compiler, "-g", "-O0", *options, "-x", "c", "-", "-o", str(program), "-pthread"]
    done = subprocess.run(command, input=PROGRAM, text=True, capture_output=True, check=False)
    if done.returncode and re.search("cannot find|No such file", done.stderr):
        pytest.skip(f"{compiler} lacks {' '.join(options)}")
    assert done.returncode == 0, done.stderr
    return program


def _heard(command: list[str], **variables: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, "LC_ALL": "C", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    text = re.sub(r"==\d+==|0x[0-9a-f]+|\b\d+ byte.*", "", done.stdout + done.stderr)
    return done.returncode, sorted(re.findall(SAID, text, re.MULTILINE))


def _compare(command: list[str], arm: tuple[str, str], **variables: str) -> list[str]:
    expected = _heard(command, **variables)
    assert (
        _heard([str(MEMSC), "run", "-q", *ATTACHABLE, *arm, "--", *command], **variables)
        == expected
    )
    return expected[1]


BUILDS = {
    "gcc-address": ("gcc", "-fsanitize=address"),
    "gcc-leak": ("gcc", "-fsanitize=leak"),
    "gcc-undefined": ("gcc", "-fsanitize=undefined"),
    "clang-address": ("clang", "-fsanitize=address"),
    "clang-shared": ("clang", "-fsanitize=address", "-shared-libasan"),
    "clang-memory": ("clang", "-fsanitize=memory"),
}


SHORT = {"gcc-address", "gcc-leak"}  # under one arm; all others are left to `make test-programs`
CASES = [
    pytest.param(
        build,
        arm,
        id=f"{build}-{arm[1]}",
        marks=[] if build in SHORT and arm[1] == "inline" else pytest.mark.long,
    )
    for build in BUILDS
    for arm in ARMS
]


@finds
@pytest.mark.parametrize(("build", "arm"), CASES)
def test_sanitizers(build: str, what: str, arm: tuple[str, str], tmp_path: Path) -> None:
    """They start, find what there is, and nothing else."""
    compiler, *options = BUILDS[build]
    variables = {}
    if "-shared-libasan" in options:
        name = "libclang_rt.asan-x86_64.so"
        command = [compiler, f"-print-file-name={name}"]
        if shutil.which(compiler) is None:
            pytest.skip(f"needs {compiler}")
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        variables["LD_LIBRARY_PATH"] = str(Path(found).parent)
    program = _build(tmp_path, compiler, *options)
    said = _compare([str(program), what], arm, **variables)
    assert said
    if what == "leak" and build in {"gcc-address", "gcc-leak", "clang-address", "clang-shared"}:
        assert any("leak" in line for line in said)


OTHER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
pid_t getppid(void) { return 4242; }
ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return next(fd, bytes, size);
}
"""
SHOWS = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("child %d\n", getppid()); return write(1, "child\n", 6) != 6; }
"""


@arms
@pytest.mark.parametrize("first", [True, False], ids=["layer-first", "layer-last"])
def test_other_preloaded_libraries(first: bool, arm: tuple[str, str], tmp_path: Path) -> None:
    """What they put in the place of others' functions stays there, in either order."""
    library, program = tmp_path / "other.so", tmp_path / "shows"
    for source, options in ((OTHER, ["-shared", "-fPIC", "-o", library]), (SHOWS, ["-o", program])):
        gcc = ["gcc", "-x", "c", "-", *map(str, options)]
        subprocess.run(gcc, input=source, text=True, check=True)
    both = f"{LAYER}:{library}" if first else f"{library}:{LAYER}"
    variables = {"MEMSC_TRANSPORT": "memsc", "MEMSC_SERVICE_CPUS": str(CPUS[0])}
    variables |= {"MEMSC_SERVICE": arm[1]} if arm[0] == "--service" else {"MEMSC_TRANSPORT": "ipi"}
    expected = _heard([str(program)], LD_PRELOAD=str(library))
    assert expected == (0, ["child", "child 4242"])
    assert _heard([str(program)], LD_PRELOAD=both, **variables) == expected
    _compare([str(program)], arm, LD_PRELOAD=str(library))


@pytest.mark.long
@pytest.mark.parametrize("tool", ["memcheck", "helgrind"])
@pytest.mark.parametrize("what", ["nothing", "overflow"])
def test_valgrind_inside(tool: str, what: str, tmp_path: Path) -> None:
    """It ends, forks after threads included, and finds the same; its calls are made directly."""
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind; see requirements-debian-programs.txt")
    program = _build(tmp_path, "gcc")
    command = ["valgrind", f"--tool={tool}", "--error-exitcode=9", str(program), what]
    _compare(command, ("--service", "inline"))
    stats = [str(MEMSC), "run", "--stats", "--", *command]
    done = subprocess.run(stats, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert re.search(rf"ran directly: \S*/{tool}-amd64-linux", done.stdout + done.stderr)
