# SPDX-License-Identifier: MIT
"""Whether verdicts keep their word on this machine: `make test-verdict`.

A program against itself, in separate sessions and in turn, is to raise alarms in 5 % of all tries
at most. Made 5 % slower by a known spin, it is to be found in turn in 80 % or more, in a minute.
Rates are printed with their bounds (Clopper and Pearson, 95 %), of the machine as busy as it is.
Alarms are counted among the tries that were judged, and what was found among all: those whose
verdict was withheld stand apart, so that they flatter neither.

    verdict.py [--pairs N] [--slowed N] [--seconds S] [--keep POOL.json] [sessions] [turns] [slower]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from tests.helpers.command import FRONT

from memsc import analysis as ma
from memsc.analysis.comparison import replicas
from memsc.analysis.comparison.change import Change, apart
from memsc.analysis.comparison.comparison import INSUFFICIENT, LEAST_EFFECT, UNCHANGED, WITHHELD
from memsc.analysis.data.scan import ALL, Cell

SOURCE = Path(__file__).with_suffix(".c")
CALLS, SPIN_NS = 30_000, 4000
A_SIDE, DEALS = 3, 4000
KEPT = (("total", "mean"), ("total", "p50"), ("total", "p99"), ("program", "mean"))
APART = ("total.p50", "total.p99", "program.mean")
IN_TURN = ("total.p50", "program.mean")
MOST_ALARMS, LEAST_FOUND, SLOWER, WITHIN_S = 0.05, 0.8, 0.05, 60
MOST_WITHHELD = 0.1
"""Of all tries: of what seldom has a verdict, a rate says nothing."""
PARTS = ("sessions", "turns", "slower")


def say(line: str) -> None:
    """Print at once: this goes on for minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def rate(hits: int, tries: int) -> tuple[str, float, float]:
    """A rate in words, and its bounds; all is possible where nothing was tried."""
    if not tries:
        return "none was judged", 0.0, 1.0
    found = scipy.stats.binomtest(hits, tries).proportion_ci()
    low, high = float(found.low), float(found.high)
    return f"{hits} of {tries}, {hits / tries:.1%} ({low:.1%} to {high:.1%})", low, high


def alarms(name: str, verdicts: Iterable[str]) -> bool:
    """Print how often what is the same was called different; whether that is too often."""
    every = Counter(verdicts)
    tries = every.total()
    withheld = every[WITHHELD] + every[INSUFFICIENT]
    says, low, _ = rate(every["slower"] + every["faster"], tries - withheld)
    say(f"{name}: alarms {says}; {withheld} withheld of {tries}")
    return low > MOST_ALARMS or withheld > MOST_WITHHELD * tries


def finds(name: str, verdicts: Iterable[str]) -> bool:
    """Print how often what is slower was called so; whether that is too seldom."""
    every = Counter(verdicts)
    tries = every.total()
    withheld = every[WITHHELD] + every[INSUFFICIENT]
    says, _, high = rate(every["slower"], tries)
    wrong = every["faster"]
    missed = every[UNCHANGED]
    say(f"{name}: found {says}; {missed} missed, {wrong} called faster, {withheld} withheld")
    return high < LEAST_FOUND


def is_alarm(change: Change) -> bool:
    """Whether a comparison would say slower or faster."""
    return abs(change.value) >= LEAST_EFFECT and (change.low > 0 or change.high < 0)


def session(folder: Path, program: list[str]) -> None:
    """Record a session."""
    how = ["--probes", "none", "--no-calibrate", "--transport", "direct,memsc", "--rounds", "2"]
    subprocess.run(
        [FRONT, "trace", "-f", "-o", folder, *how, "--", *program], check=True, capture_output=True
    )


def figures(folder: Path) -> dict[str, float]:
    """What a session gave: nanoseconds by arm, quantity and metric."""
    found = replicas.session(ma.open(folder))
    return {
        f"{arm}.{quantity}.{metric}": float(value)
        for arm in ("direct", "memsc")
        for quantity, metric in KEPT
        if isinstance(
            value := found.figure(Cell(arm, "program", ALL, "sync"), quantity, metric), float
        )
    }


def verdicts_of(words: list[str | Path]) -> dict[str, str]:
    """What `memsc compare` says of the arm memsc, by figure; all withheld if it says nothing."""
    done = subprocess.run(
        [FRONT, "compare", "--json", *words], capture_output=True, text=True, check=False
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        say(f"no verdict: {done.stderr.strip()}")
        return {}
    rows = [row for row in told["rows"] if row["arm"] == "memsc" and row["syscall"] == ALL]
    withheld = told["verdict"]["withheld"]
    return {
        f"{row['stage']}.{row['metric']}": WITHHELD if withheld else row["verdict"] for row in rows
    }


def in_turn(folder: Path, base: list[str], new: list[str], at_most_s: float) -> dict[str, str]:
    """Record two programs in turn; the verdicts by figure."""
    how = ["--record", "-f", "-o", folder, "--no-calibrate", "--at-most", str(at_most_s)]
    return verdicts_of([*how, "--", *base, "--", *new])


def whole_ns(program: list[str]) -> float:
    """What the program takes under memsc, median of nine runs."""
    times: list[float] = []
    for _ in range(9):
        begun = time.monotonic_ns()
        subprocess.run([FRONT, "run", "--", *program], check=True, capture_output=True)
        times.append(time.monotonic_ns() - begun)
    return float(np.median(times))


def of_sessions(place: Path, base: list[str], pairs: int, keep: Path | None) -> bool:
    """The program against itself in sessions of their own, recorded by turns, as is advised.

    No session is in two comparisons: the bounds hold only so. All are dealt at random besides,
    which tells the rate more exactly, though not its bounds.
    """
    found: list[dict[str, str]] = []
    pool: list[dict[str, float]] = []
    for _ in range(pairs):
        sides: tuple[list[str | Path], list[str | Path]] = [], []
        for number in range(2 * A_SIDE):
            side = (number + 1) // 2 % 2  # A B B A A B
            folder = place / f"{side}{number}.memsc"
            session(folder, base)
            pool.append(figures(folder))
            sides[side].append(folder)
        found.append(verdicts_of([*sides[0], "--", *sides[1]]))
    if keep is not None:
        keep.write_text(json.dumps(pool, indent=0) + "\n")
    bad = False
    for figure in APART:
        name = f"A against A, {A_SIDE} sessions a side, memsc.{figure}"
        bad |= alarms(name, [one.get(figure, WITHHELD) for one in found])
        known = [one[f"memsc.{figure}"] for one in pool if f"memsc.{figure}" in one]
        if len(known) >= 2 * A_SIDE:
            say(f"    these {len(known)} sessions dealt {DEALS} times: {dealt(known):.1%}")
    return bad


def dealt(known: list[float]) -> float:
    """The share of alarms where sessions of one thing are dealt into two sides."""
    generator, hits = np.random.default_rng(1), 0
    for _ in range(DEALS):
        drawn = generator.permutation(len(known))[: 2 * A_SIDE]
        base, new = ([known[i] for i in half] for half in np.split(drawn, 2))
        hits += is_alarm(apart(base, new))
    return hits / DEALS


def of_turns(place: Path, base: list[str], pairs: int, seconds: float) -> bool:
    """The program against itself in turn."""
    found = [in_turn(place / "turns.memsc", base, base, seconds) for _ in range(pairs)]
    bad = False
    for figure in IN_TURN:
        name = f"A against A, in turn, memsc.{figure}"
        bad |= alarms(name, [one.get(figure, WITHHELD) for one in found])
    return bad


def of_slower(place: Path, base: list[str], tries: int) -> bool:
    """The program against one that a known spin makes slower, in turn."""
    more = SLOWER * whole_ns(base) / CALLS
    new = [base[0], str(CALLS), f"{SPIN_NS + more:.0f}"]
    name = f"{SLOWER:.0%} slower by a spin, in turn within {WITHIN_S} s, memsc.program.mean"
    found = [in_turn(place / "slower.memsc", base, new, WITHIN_S) for _ in range(tries)]
    return finds(name, [one.get("program.mean", WITHHELD) for one in found])


def main(argv: list[str]) -> int:
    """Measure and print rates; 1 where a bound is missed beyond chance."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--slowed", type=int, default=20)
    parser.add_argument(
        "--seconds", type=float, default=8, help="of a try in turn; beside load more"
    )
    parser.add_argument("--keep", type=Path, help="figures of the sessions, as JSON")
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    bad = False
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        program = place / "verdict"
        subprocess.run(["cc", "-O2", "-o", program, SOURCE], check=True)
        base = [str(program), str(CALLS), str(SPIN_NS)]
        for part in PARTS:
            if part not in (args.parts or PARTS):
                continue
            begun = time.monotonic()
            if part == "sessions":
                bad |= of_sessions(place, base, args.pairs, args.keep)
            elif part == "turns":
                bad |= of_turns(place, base, args.pairs, args.seconds)
            else:
                bad |= of_slower(place, base, args.slowed)
            say(f"    {part} took {(time.monotonic() - begun) / 60:.1f} min")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
