# SPDX-License-Identifier: MIT
"""Whether verdicts keep their word on this machine: `make test-verdict`.

A program against itself, in separate sessions and in turn, is to raise alarms in 5 % of all tries
at most. Made 5 % slower by a known spin, it is to be found in turn in 80 % or more, in a minute.
Rates are printed with their bounds (Clopper and Pearson, 95 %), of the machine as busy as it is.

    python -m tests.helpers.verdict [PAIRS] [SLOWED] [POOL.json]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.stats
from tests.helpers.command import FRONT

from memsc import analysis as ma
from memsc.analysis.comparison import replicas
from memsc.analysis.comparison.change import Change, apart
from memsc.analysis.comparison.comparison import LEAST_EFFECT
from memsc.analysis.data.scan import ALL, Cell

SOURCE = Path(__file__).with_suffix(".c")
CALLS, SPIN_NS = 30_000, 4000
SESSIONS, A_SIDE = 24, 3
FIGURES = (("total", "mean"), ("total", "p50"), ("total", "p99"), ("program", "mean"))
MOST_ALARMS, LEAST_FOUND, SLOWER, WITHIN_S = 0.05, 0.8, 0.05, 60


def rate(name: str, hits: int, tries: int) -> tuple[float, float]:
    """Print a rate and give its bounds."""
    found = scipy.stats.binomtest(hits, tries).proportion_ci()
    bounds = f"{found.low:.1%} to {found.high:.1%}"
    sys.stdout.write(f"{name}: {hits} of {tries}, {hits / tries:.1%} ({bounds})\n")
    sys.stdout.flush()
    return found.low, found.high


def is_alarm(change: Change) -> bool:
    """Whether a comparison would say slower or faster."""
    return abs(change.value) >= LEAST_EFFECT and (change.low > 0 or change.high < 0)


def session(folder: Path, program: list[str]) -> dict[str, float]:
    """Record a session, and what it gave: nanoseconds by arm, quantity and metric."""
    how = ["--probes", "none", "--no-calibrate", "--transport", "direct,memsc", "--rounds", "2"]
    subprocess.run(
        [FRONT, "trace", "-f", "-o", folder, *how, "--", *program], check=True, capture_output=True
    )
    found = replicas.session(ma.open(folder))
    return {
        f"{arm}.{quantity}.{metric}": float(value)
        for arm in ("direct", "memsc")
        for quantity, metric in FIGURES
        if isinstance(
            value := found.figure(Cell(arm, "program", ALL, "sync"), quantity, metric), float
        )
    }


def deals(pool: list[dict[str, float]], pairs: int, figure: str) -> int:
    """Alarms where sessions of one thing are dealt into two sides, so many times."""
    generator, alarms = np.random.default_rng(1), 0
    for _ in range(pairs):
        drawn = generator.permutation(len(pool))[: 2 * A_SIDE]
        base, new = ([pool[i][figure] for i in half] for half in np.split(drawn, 2))
        alarms += is_alarm(apart(base, new))
    return alarms


def in_turn(folder: Path, base: list[str], new: list[str], at_most_s: float) -> dict[str, str]:
    """Record two programs in turn; the verdicts by figure."""
    how = ["--record", "-f", "-o", folder, "--no-calibrate", "--at-most", str(at_most_s), "--json"]
    done = subprocess.run(
        [FRONT, "compare", *how, "--", *base, "--", *new],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = json.loads(done.stdout)["rows"]
    return {
        f"{row['stage']}.{row['metric']}": row["verdict"] for row in rows if row["syscall"] == ALL
    }


def whole_ns(program: list[str]) -> float:
    """What the program takes under memsc, median of nine runs."""
    times: list[float] = []
    for _ in range(9):
        begun = time.monotonic_ns()
        subprocess.run([FRONT, "run", "--", *program], check=True, capture_output=True)
        times.append(time.monotonic_ns() - begun)
    return float(np.median(times))


def count(tries: int, one: Callable[[], bool]) -> int:
    """How often something is so."""
    return sum(one() for _ in range(tries))


def main(pairs: int = 40, slowed: int = 20, pool_file: str | None = None) -> int:
    """Measure and print all rates; 1 where a bound is missed beyond chance."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "verdict"
        subprocess.run(["cc", "-O2", "-o", program, SOURCE], check=True)
        base = [str(program), str(CALLS), str(SPIN_NS)]
        trace = Path(place) / "a.memsc"
        bad = False

        pool = [session(trace, base) for _ in range(SESSIONS)]
        if pool_file is not None:
            Path(pool_file).write_text(json.dumps(pool, indent=0) + "\n")
        what = f"{A_SIDE} a side, dealt from {SESSIONS}"
        for figure in ("memsc.total.p50", "memsc.total.p99", "memsc.program.mean"):
            low, _ = rate(
                f"A against A, sessions ({what}), {figure}", deals(pool, pairs, figure), pairs
            )
            bad |= low > MOST_ALARMS

        figures, alarms = ("total.p50", "program.mean"), {"total.p50": 0, "program.mean": 0}
        for _ in range(pairs):
            verdicts = in_turn(trace, base, base, 8)
            for figure in figures:
                alarms[figure] += verdicts.get(figure) in ("slower", "faster")
        for figure in figures:
            low, _ = rate(f"A against A, in turn, memsc.{figure}", alarms[figure], pairs)
            bad |= low > MOST_ALARMS

        if slowed:
            more = SLOWER * whole_ns(base) / CALLS
            new = [str(program), str(CALLS), f"{SPIN_NS + more:.0f}"]

            def found() -> bool:
                return in_turn(trace, base, new, WITHIN_S).get("program.mean") == "slower"

            _, high = rate(
                f"{SLOWER:.0%} slower by a spin, in turn within {WITHIN_S} s: found",
                count(slowed, found),
                slowed,
            )
            bad |= high < LEAST_FOUND
    return int(bad)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*numbers, pool_file=sys.argv[3] if len(sys.argv) > 3 else None))
