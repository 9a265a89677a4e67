# SPDX-License-Identifier: MIT
"""What stacks are worth and what they cost: the tables of docs/results-stacks.md.

    python -m tests.helpers.stacks_table docs/results-stacks.md [whole | gdb | cost …]

(`make stacks`) makes these parts anew, by default all; what stands between stays. As root; `cost`
needs a quiet machine.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tests.helpers import agreement

from memsc.analysis.data import student
from memsc.probes.profile import HERTZ
from memsc.tracer.format import open_trace
from memsc.tracer.format.tables import TRUNCATED

MEMSC = Path(sys.executable).with_name("memsc")
LIMIT_S = 120
WHOLE, ASIDE = 0.95, (0.01, 0.02)
"""The share of stacks that reach the thread's first function; what samples and paths may cost."""
ASKED_HERTZ = 99
RARER = ASKED_HERTZ / HERTZ
"""The rate that the bound is for; the probe's own is ten times as high."""
PAIRS = 14
"""How often each of two ways is measured, in the order A B B A."""
_QUIET = 0.1
_GIT = """
git init -q r && cd r && git config user.email a@b && git config user.name a
for i in $(seq 30); do seq $((i * 3000)) >f$((i % 7)); git add . && git commit -qm $i; done
for i in 1 2 3; do git log -p --stat >/dev/null; git repack -adfq; git blame f1 >/dev/null; done
"""
_JAVA = """
cat >J.java <<X
import java.util.*;
class J { public static void main(String[] a) {
    long end = System.nanoTime() + 3_000_000_000L, found = 0;
    while (System.nanoTime() < end) {
        Map<String, List<Integer>> m = new TreeMap<>();
        for (int i = 0; i < 20000; i++)
            m.computeIfAbsent("k" + i % 999, k -> new ArrayList<>()).add(i);
        found += m.hashCode();
    }
    System.out.println(found);
} }
X
java -Xmx256m J.java
"""
_SERVED = {
    "redis": "redis-benchmark -p @port@ -n 150000 -P 16 -t get,set,lpush,sadd -q",
    "nginx": "/usr/bin/python3 -IS -c 'import http.client\n"
    'client = http.client.HTTPConnection("127.0.0.1", @port@)\n'
    "for _ in range(30000):\n"
    '    client.request("GET", "/index.html"); client.getresponse().read()\'',
    "PostgreSQL": "runuser -u postgres -- sh -c 'pgbench -h $PWD -p @port@ -i -q postgres;"
    " pgbench -h $PWD -p @port@ -c 4 -T 3 -S -n postgres'",
}
"""What a server of `agreement` is asked here: so much that it ends."""


@dataclass(frozen=True)
class Program:
    """What is recorded, and whose stacks are looked at.

    Args:
        script: the shell's.
        named: threads of it.
        native: only stacks without code that was made at run time.
    """

    script: str
    named: str
    native: bool = False


def _served(name: str) -> str:
    """The server of `agreement` and its client, which ends."""
    begin = agreement.SERVERS[name][1]
    begin = begin.partition("while :")[0] if "while :" in begin else begin.partition("$as psql")[0]
    until = "until redis-cli -p @port@ ping; do sleep 0.05; done\n" if name == "redis" else ""
    server = (
        "kill -INT $(cat pid)"
        if name != "PostgreSQL"
        else "$as @postgres@/pg_ctl -D d -m fast stop"
    )
    return f"({begin}\n{until}sleep 0.5; {_SERVED[name]}; {server}; wait) >/dev/null 2>&1"


PROGRAMS = {
    "sqlite3": Program(
        'sqlite3 :memory: "with recursive c(x) as (select 1 union all select x+1 from c'
        ' limit 3000000) select sum(x*7%13), max(hex(x)) from c"',
        "sqlite3",
    ),
    "python3": Program(
        "/usr/bin/python3 -c 'import json, sqlite3, re\nfor i in range(400):\n"
        '    json.loads(json.dumps([{"a": list(range(100))}] * 60)); sorted(map(str, range(999)))\n'
        '    re.sub("a+b", "c", "aaab" * 9000); sqlite3.connect(":memory:").execute("select 1")\'',
        "python3",
    ),
    "perl": Program(
        "perl -e 'for my $i (1..60000) { my @a = sort {$a <=> $b} map {$_*7%13} 1..50;"
        ' $h{$i % 999} .= join ",", @a; $h{$i % 7} =~ s/1,2/x/ }\'',
        "perl",
    ),
    "git": Program(_GIT, "git"),
    "redis": Program(_served("redis"), "redis-server"),
    "nginx": Program(_served("nginx"), "nginx"),
    "PostgreSQL": Program(_served("PostgreSQL"), "postgres"),
    "OpenJDK, native frames": Program(_JAVA, r"(?!sh$|cat$).*", native=True),
}


def traced(script: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Record a script of the shell's."""
    command = [str(MEMSC), "trace", "-f", "-o", str(folder / "t.memsc"), "--no-calibrate", *options]
    command += ["--", "sh", "-c", agreement.filled(script, folder)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    if done.returncode not in (0, 4):
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done


def whole(folder: Path) -> Iterator[str]:
    """Of each program which share of its stacks reaches the thread's first function."""
    yield "| program | samples | first function reached | … and every function named | bound |"
    yield "|---|---:|---:|---:|---|"
    for name, program in PROGRAMS.items():
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as made:
            own = Path(made)
            own.chmod(0o755)
            traced(program.script, own, "--transport", "direct", "--probes", "profile")
            samples, reached, named = _reached(own / "t.memsc", program)
        if not samples:
            yield f"| {name} | 0 | – | – | nothing was seen |"
            continue
        held = "✓" if reached >= WHOLE * samples else "✗"
        shares = f"{100 * reached / samples:.1f} % | {100 * named / samples:.1f} %"
        yield f"| {name} | {samples:,} | {shares} | ≥ 95 % {held} |"


def _reached(trace: Path, program: Program) -> tuple[int, int, int]:
    """Samples of a program's threads in user space or called from there, and of them the whole."""
    opened = open_trace(trace)
    events: pd.DataFrame = opened.read("events/profile", ["user_stack", "comm"]).to_pandas()
    frames: pd.DataFrame = opened.read("stacks").to_pandas()
    frames = frames.astype({"function": object, "module": object})
    mine = events[events["comm"].astype(str).str.match(program.named)]
    stacks = mine.loc[~mine["user_stack"].isin((-14, -1)), "user_stack"]  # the kernel's, others'
    if program.native:
        java = frames.loc[frames["module"].str.endswith("libjvm.so"), "stack"]
        made = frames.loc[frames["module"].isin(("[anon]", "[heap]")), "stack"]
        stacks = stacks[stacks.isin(java) & ~stacks.isin(made)]
    beyond = frames["module"].isin(("[unknown]", TRUNCATED))
    cut = stacks.isin(frames.loc[beyond, "stack"]) | (stacks < 0)
    unnamed = stacks.isin(frames.loc[frames["function"] == "", "stack"])
    return len(stacks), int((~cut).sum()), int((~cut & ~unnamed).sum())


def gdb(_folder: Path) -> Iterator[str]:
    """At how many stops a program's stack is as gdb has it."""
    yield "| program | stops | as gdb has it | bound |"
    yield "|---|---:|---:|---|"
    for name in (*agreement.PROGRAMS, *agreement.SERVERS):
        if what := agreement.missing(name):
            yield f"| {name} | – | – | not tried: {what} is missing |"
            continue
        found = agreement.compared(name)
        same = found.stops - len(found.differing)
        held = "✓" if found.stops and same >= agreement.AGREE * found.stops else "✗"
        share = 100 * same / max(found.stops, 1)
        yield f"| {name} | {found.stops} | {share:.1f} % | ≥ 99 % {held} |"


# It writes down when it did a piece of work that is always the same, and how long that took, in ns:
# by the clock, since a kernel may take interrupts out of a thread's CPU time.
_BUSY = """
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
my ($s, $on, @a) = (0, 1); $SIG{TERM} = sub { $on = 0 };
open P, '>pid'; print P $$; close P; open L, '>log';
while ($on) {
    my $t = clock_gettime(CLOCK_MONOTONIC);
    for my $i (1..20000) { $s = ($s * 7 + $i) % 1000003; $a[$s % 512] = 'x' x ($i % 64) }
    printf L "%d %d\\n", $t * 1e9, (clock_gettime(CLOCK_MONOTONIC) - $t) * 1e9;
}
"""
_ASKING = "open P, '>pid'; print P $$; close P; $SIG{TERM} = sub { exit }; getppid while 1"


def cost(folder: Path) -> Iterator[str]:
    """What a program and its calls take with samples and with call paths, ÷ without.

    What samples take is as much more as there are more of them: it is measured at the probe's
    rate, where it stands out, and told for the rate that has the bound.
    """
    yield "| what | with ÷ without | at 95 % | bound |"
    yield "|---|---:|---:|---|"
    for what, script, probe, scale, bound in (
        (f"a busy program, `profile` at {ASKED_HERTZ} Hz", _BUSY, "profile", RARER, ASIDE[0]),
        ("p50 of a forwarded call, `paths` (1 of 1,009)", _ASKING, "paths", 1.0, ASIDE[1]),
    ):
        found = _watched(folder / probe, script, probe)
        pairs = zip(found[True], found[False], strict=True)
        logs = [math.log(given / bare) for given, bare in pairs]
        middle = statistics.fmean(logs)
        half = student.quantile(0.975, PAIRS - 1) * statistics.stdev(logs) / math.sqrt(PAIRS)
        added, low, high = (scale * math.expm1(middle + off) for off in (0, -half, half))
        held = "✓" if high <= bound else "✗" if low > bound else "? not settled"
        between = f"{1 + low:.4f}–{1 + high:.4f}"
        yield f"| {what} | {1 + added:.4f} | {between} | ≤ {1 + bound:.2f} {held} |"


def _watched(folder: Path, script: str, probe: str) -> dict[bool, list[float]]:
    """One program, watched again and again: with the probe and without, A B B A.

    Returns:
        What its pieces of work took, or its calls where it writes no log of those.
    """
    folder.mkdir()
    command = [str(MEMSC), "run", "-q", "--attachable", "--", "perl", "-e", script]
    order = [given for pair in range(PAIRS) for given in ((True, False), (False, True))[pair % 2]]
    with subprocess.Popen(command, cwd=folder) as program:
        try:
            pid = agreement.pid_of(folder)
            for turn, given in enumerate(order):
                watch = [str(MEMSC), "trace", "-o", f"{turn}.memsc", "--pid", str(pid)]
                watch += ["--duration", "1", "--no-calibrate"]
                watch += ["--probes", probe if given else "none"]
                done = subprocess.run(
                    watch, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S
                )
                if done.returncode not in (0, 4):
                    raise SystemExit(f"{' '.join(watch)}: {done.stderr}")
            os.kill(pid, signal.SIGTERM)
            program.wait(LIMIT_S)
        finally:
            program.kill()
    found: dict[bool, list[float]] = {True: [], False: []}
    for turn, given in enumerate(order):
        found[given].append(_least(folder, folder / f"{turn}.memsc"))
    return found


def _least(folder: Path, trace: Path) -> float:
    """What a piece of work took in the quietest tenth; of calls, the p50 of a thousand is one.

    Two CPUs may be threads of one core: what runs beside slows both, in some seconds only.
    """
    opened = open_trace(trace)
    if (folder / "log").exists():
        log = pd.read_csv(folder / "log", sep=" ", names=["began", "took"])
        (only,) = opened.session.rounds
        inside = (log["began"] > only.start_ns) & (log["began"] + log["took"] < only.end_ns)
        return float(log.loc[inside, "took"].quantile(_QUIET))
    calls: pd.DataFrame = opened.read("calls", ["called", "completed", "syscall"]).to_pandas()
    mine = calls[calls["syscall"] == "getppid"].sort_values("called", ignore_index=True)
    took = mine["completed"] - mine["called"]
    return float(took.groupby(mine.index // 1000).median().quantile(_QUIET))


PARTS = {"whole": whole, "gdb": gdb, "cost": cost}


def main(page: Path, *parts: str) -> None:
    """Make parts of the page anew."""
    for part in parts or PARTS:
        lines: list[str] = []
        with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            for line in PARTS[part](Path(folder)):
                lines.append(line)
                sys.stderr.write(f"{line}\n")
        begin, end = f"<!-- {part} -->\n", f"<!-- /{part} -->"
        text = page.read_text()
        before, _, rest = text.partition(begin)
        page.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
