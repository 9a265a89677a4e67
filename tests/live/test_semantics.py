# SPDX-License-Identifier: MIT
"""docs/semantics.md is what the runtime does: its lists are the table's, each row has a test."""

from __future__ import annotations

import platform
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from tests.helpers import preloaded
from tests.helpers.features import FEATURES
from tests.helpers.preloaded import CPUS, environment
from tests.helpers.required import two_cpus

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "semantics.md"
NOT_TRIED = 1  # rows that need a file system that is not there

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the page is x86-64's")


def _rows() -> list[list[str]]:
    """Cells of the tables that say by what each row is shown."""
    rows: list[list[str]] = []
    for part in PAGE.read_text().split("\n## ")[1:4]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        rows += [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return rows


def test_the_page_is_the_table() -> None:
    """Made anew, it is the same; if not: tools/semantics docs/semantics.md."""
    page = runpy.run_path(str(ROOT / "tools" / "semantics"))["page"]
    assert page(PAGE.read_text()) == PAGE.read_text()


def test_every_row_has_a_test_that_is_there() -> None:
    """A case of tests/live/programs, a test of a file, or a file of tests."""
    features, not_tried = {name for _, name in FEATURES}, 0
    rows = _rows()
    assert len(rows) > 60
    for row in rows:
        *_, shown = row
        if shown.startswith("— needs"):
            not_tried += 1
            continue
        names = re.findall(r"`([^`]+)`", shown)
        assert names, row
        for name in names:
            file, _, function = name.partition("::")
            if "/" not in file:
                assert name in features, name
                continue
            text = (ROOT / file).read_text()
            assert not function or f"def {function}(" in text, name
    assert not_tried == NOT_TRIED


def test_each_row_says_how() -> None:
    """By one of the four words, and a limit has a reason."""
    for what, how, why, _ in (row for row in _rows() if len(row) == 4):
        assert how in {"by design", "made the same", "stays", "limit"}, what
        assert why or how == "stays", what


PROGRAM = r"""
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
int main(void)
{
    double process = seconds(CLOCK_PROCESS_CPUTIME_ID), thread = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < 50000; i++)
        getppid();
    process = seconds(CLOCK_PROCESS_CPUTIME_ID) - process;
    thread = seconds(CLOCK_THREAD_CPUTIME_ID) - thread;
    printf("%d\n", process > 1.2 * thread);
    fflush(stdout);
    char byte;
    return read(0, &byte, 1) < 0;
}
"""


NEIGHBOURS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int zero;
static atomic_long made;
static atomic_int over;
static void reads(long times)
{
    char byte;
    for (long i = 0; i < times; i++)
        read(zero, &byte, 1);
}
static void *reads_there(void *cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((int)(long)cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    while (!over) {
        reads(100);
        made += 100;
    }
    return NULL;
}
static long own_reads(void)
{
    char text[512] = "";
    int file = open("/proc/thread-self/io", O_RDONLY);
    read(file, text, sizeof text - 1);
    close(file);
    return atol(strstr(text, "syscr:") + 6);
}
int main(int count, char **arguments)
{
    zero = open("/dev/zero", O_RDONLY);
    reads(1000);
    long first = own_reads();
    reads(4000);
    long second = own_reads();
    pthread_t thread;
    pthread_create(&thread, NULL, reads_there, (void *)atol(arguments[1]));
    while (made < 1000)
        usleep(1000);
    long third = own_reads();
    reads(4000);
    long fourth = own_reads();
    over = 1;
    pthread_join(thread, NULL);
    printf("%d %d\n", second - first > 4000, fourth - third > 4000);
    return count != 2;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says whether its process takes more time than its only thread, and waits."""
    path = tmp_path_factory.mktemp("semantics") / "program"
    gcc = ["gcc", "-O1", "-x", "c", "-", "-o", str(path)]
    subprocess.run(gcc, input=PROGRAM, text=True, check=True)
    return path


def _start(program: Path, carried: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["taskset", "-c", str(CPUS[-1]), str(program)],
        env=environment("memsc" if carried else None),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _threads(pid: int) -> dict[int, tuple[str, int, int]]:
    """By number: name, CPU, ticks of CPU time, as others see them."""
    found: dict[int, tuple[str, int, int]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        before, _, after = (task / "stat").read_text().rpartition(")")
        fields = after.split()
        ticks = int(fields[11]) + int(fields[12])
        found[int(task.name)] = before.partition("(")[2], int(fields[36]), ticks
    return found


@two_cpus
@pytest.mark.parametrize("carried", [False, True])
def test_cpu_time_counts_the_service(program: Path, carried: bool) -> None:
    """A limit: the process's time is that of both CPUs."""
    with _start(program, carried) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{carried:d}\n"
        process.communicate("x")


@two_cpus
@pytest.mark.parametrize("service", ["inline", "scanner"])
@pytest.mark.parametrize("seen", [False, True])
def test_who_has_another_on_the_service_cpu_calls_itself(
    service: str, seen: bool, tmp_path: Path
) -> None:
    """While it is there, and only where nobody looks: the kernel counts reads by thread."""
    path = tmp_path / "neighbours"
    gcc = ["gcc", "-O1", "-pthread", "-x", "c", "-", "-o", str(path)]
    subprocess.run(gcc, input=NEIGHBOURS, text=True, check=True)
    variables = environment("memsc", service, **(preloaded.RECORDED if seen else {}))
    at = ["taskset", "-c", str(CPUS[-1])]
    done = preloaded.run([*at, str(path), variables["MEMSC_SERVICE_CPUS"]], variables)
    assert done.stdout == f"0 {not seen:d}\n", done.stderr


@two_cpus
def test_others_see_service_threads(program: Path) -> None:
    """A limit: by their name, in the process's list of threads."""
    with _start(program, carried=True) as process:
        assert process.stdout
        process.stdout.readline()
        names = [name for name, _, _ in _threads(process.pid).values()]
        assert sorted(set(names)) == ["memsc-service", "program"]
        assert names.count("program") == 1
        process.communicate("x")


@two_cpus
def test_calls_run_on_the_service_cpu(program: Path) -> None:
    """A limit, and what it is for: time and place of a call are the service's."""
    with _start(program, carried=True) as process:
        assert process.stdout
        process.stdout.readline()
        threads = _threads(process.pid)
        service = [(cpu, ticks) for name, cpu, ticks in threads.values() if name != "program"]
        assert {cpu for cpu, _ in service} == {CPUS[0]}
        assert sum(ticks for _, ticks in service) > 0
        process.communicate("x")
