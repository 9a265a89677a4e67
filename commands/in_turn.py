# SPDX-License-Identifier: MIT
"""Records the two sides of `memsc compare --record` in turn, until it is known how they differ."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from memsc.commands.options import say
from memsc.runtime.errors import USAGE, MemscError

if TYPE_CHECKING:
    from rich.progress import Progress

    from memsc.analysis.comparison.change import Change
    from memsc.analysis.comparison.conditions import Condition
    from memsc.analysis.comparison.replicas import Replica
    from memsc.runtime.launch import Launch
    from memsc.tracer.format import Side
    from memsc.tracer.session.session import TraceSession

SETTINGS = ("transport", "service", "idle", "spin", "handoff")
WITHIN = 0.02
ENOUGH = 4096
"""Bytes of what a failed program wrote to standard error: its beginning tells what is wrong."""
DEFAULT = (("total", "p50"), ("program", "mean"))
"""What is to be known, where no condition says it: a call's median, and the program's time."""


@dataclass(frozen=True)
class Effort:
    """How much is recorded.

    Args:
        within: half of the interval's width that is wanted, 0.02 for ±2 %.
        at_most_s: seconds after which no turn begins.
    """

    within: float
    at_most_s: float


def share_of(text: str) -> float:
    """A share, as 2% or 0.02.

    Raises:
        MemscError: it is none.
    """
    with suppress(ValueError):
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if 0 < value < 1:
            return value
    raise MemscError(f"--within {text}", "it is no share above 0", "write it like 2%", USAGE)


def seconds_of(text: str) -> float:
    """Seconds.

    Raises:
        MemscError: they are none.
    """
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise MemscError(f"--at-most {text}", "it is no number of seconds above 0", "write 60", USAGE)


def settings_of(text: str | None, option: str) -> dict[str, str]:
    """Settings of memsc for one side, as in `transport=memsc,idle=never`.

    Raises:
        MemscError: no such setting.
    """
    found: dict[str, str] = {}
    for word in (text or "").split(",") if text else ():
        name, equals, value = word.partition("=")
        if name not in SETTINGS or not equals or not value:
            remedy = f"write NAME=VALUE, with a name of {', '.join(SETTINGS)}"
            raise MemscError(f"{option} {word}", "it is no setting", remedy, USAGE)
        found[name] = value
    return found


def launch_of(settings: dict[str, str], template: Launch, option: str) -> Launch:
    """The launch of a side, not placed yet.

    Raises:
        MemscError: a value that is none.
    """
    from memsc.runtime.launch import HANDOFFS, LONGEST_US, NEVER, parse_arm

    launch = parse_arm(
        settings.get("transport", "memsc"), settings.get("service", "inline"), template
    )
    times: dict[str, int | str] = {}
    for name in ("idle", "spin"):
        if (value := settings.get(name)) is not None:
            if value != NEVER and not (value.isascii() and value.isdigit() and len(value) < 10):
                why = f"it is no number of microseconds up to {LONGEST_US}"
                remedy = f"write it like 1000, or {NEVER}"
                raise MemscError(f"{option} {name}={value}", why, remedy, USAGE)
            times[name] = value if value == NEVER else int(value)
    handoff = settings.get("handoff", launch.handoff)
    if handoff not in HANDOFFS:
        remedy = f"it is one of {', '.join(HANDOFFS)}"
        raise MemscError(f"{option} handoff={handoff}", "there is none", remedy, USAGE)
    idle, spin = times.get("idle", launch.idle_us), times.get("spin", launch.spin_us)
    return replace(launch, idle_us=idle, spin_us=spin, handoff=handoff)


class Recorder:
    """Runs turns and knows from them how the sides differ so far.

    Args:
        session: an entered session.
        sides: what is compared, with the launch of each.
        wanted: what is to be known.
        ok_status: exit statuses, beside 0, that are no failure.
        errors: an empty file, which keeps what a recorded round writes to standard error: dozens
            of rounds say the same. The rounds before say it to the user, and one that fails.
    """

    def __init__(
        self,
        session: TraceSession,
        sides: Sequence[tuple[Side, Launch]],
        wanted: Sequence[tuple[str, str]],
        ok_status: Sequence[int],
        errors: IO[bytes],
    ) -> None:
        self._session = session
        self._sides = sides
        self._wanted = wanted
        self._ok = {0, *ok_status}
        self._errors = errors
        self._done = [0, 0]
        self._parts = 0
        self._turns: list[tuple[Replica, Replica]] = []
        self._spent = 0.0

    def warm_up(self) -> None:
        """Run each side once, unrecorded: the first run of a program finds cold caches."""
        for side in (0, 1):
            self._round(side, turn=0, recording=False)

    def turn(self) -> None:
        """Record A B B A, or every other time B A A B."""
        begun = time.monotonic()
        number = len(self._turns)
        for side in (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1):
            self._round(side, turn=number)
        found = self._read(number)
        if found is None or not found[0].timed or not found[1].timed:
            why = "did both programs reach their C library, is there memory in /dev/shm?"
            raise MemscError(
                "memsc compare --record", f"no call was recorded; {why}", "see `memsc trace`"
            )
        self._turns.append(found)
        self._spent += time.monotonic() - begun

    @property
    def turns(self) -> int:
        """How many are recorded."""
        return len(self._turns)

    @property
    def turn_s(self) -> float:
        """What a turn takes."""
        return self._spent / max(self.turns, 1)

    def known(self) -> float:
        """Half of the width of the widest interval that is wanted; infinite where there is none."""
        return max((change.half for change in self._changes()), default=math.inf)

    def needed(self, within: float) -> int:
        """How many turns will do, as it looks now."""
        from memsc.analysis.comparison.turns import FEWEST_TURNS

        wide = self.known()
        if not math.isfinite(wide):
            return FEWEST_TURNS
        # Intervals narrow as the root of turns, and a little faster while these are few.
        return max(math.ceil(self.turns * (wide / within) ** 2), FEWEST_TURNS)

    def _changes(self) -> Generator[Change]:
        from memsc.analysis.comparison.change import in_turn
        from memsc.analysis.comparison.replicas import QUANTITIES_COMPARED

        base, new = ([turn[side] for turn in self._turns] for side in (0, 1))
        if not base:
            return
        every = base + new
        cells = [c for c in base[0].timed.values() if all(c in one.sketches for one in every)]
        for cell in cells:
            for quantity, metric in self._wanted:
                assert metric in QUANTITIES_COMPARED[quantity]
                was, now = ([one.figure(cell, quantity, metric) for one in s] for s in (base, new))
                known = [[f for f in s if isinstance(f, float) and f > 0] for s in (was, now)]
                if min(map(len, known)) == len(base):
                    yield in_turn(known[0], known[1])

    def _round(self, side: int, *, turn: int, recording: bool = True) -> None:
        from memsc.tracer.session.work import Work

        what, launch = self._sides[side]
        errors = self._errors if recording else None
        work = Work(what.case, tuple(what.command), quiet=True, errors=errors, launch=launch)
        self._errors.seek(0)  # which the program shares
        self._errors.truncate()
        done = self._session.round(what.arm, work, self._done[side], turn=turn, recording=recording)
        self._done[side] += 1
        if done.exit_status not in self._ok:
            name = what.case.upper()
            self._errors.seek(0)
            sys.stderr.write(self._errors.read(ENOUGH).decode(errors="replace"))
            why = f"it ended with status {done.exit_status}"
            remedy = f"run it alone, or allow it with --ok-status {done.exit_status}"
            raise MemscError(f"{name}: {' '.join(what.command)}", why, remedy)

    def _read(self, number: int) -> tuple[Replica, Replica] | None:
        """The turn that was recorded last, from the parts that it has added."""
        from memsc.analysis.comparison.turns import turn_of
        from memsc.analysis.trace import Trace
        from memsc.tracer.format import CALLS, open_trace

        folder = open_trace(self._session.writer.folder)
        parts = folder.parts.get(CALLS, [])
        mine, self._parts = parts[self._parts :], len(parts)
        return turn_of(Trace(replace(folder, parts={CALLS: mine})), number)


def record(recorder: Recorder, effort: Effort) -> None:
    """Record turns until it is known as exactly as is wanted, or time is up, and say how long."""
    from memsc.analysis.comparison.turns import FEWEST_TURNS

    say(
        f"{FEWEST_TURNS} turns of four rounds tell how many are needed for "
        f"±{effort.within:.1%}; at most {effort.at_most_s:g} s"
    )
    recorder.warm_up()
    begun = time.monotonic()
    with _bar() as bar:
        task = bar.add_task("recording in turn", total=FEWEST_TURNS)
        while recorder.turns < FEWEST_TURNS or recorder.known() > effort.within:
            left = effort.at_most_s - (time.monotonic() - begun)
            if left <= 0:
                break
            recorder.turn()
            needed = recorder.needed(effort.within)
            could = recorder.turns + int(max(left, 0) / max(recorder.turn_s, 1e-3))
            bar.update(task, completed=recorder.turns, total=min(needed, max(could, 1)))
            if recorder.turns == FEWEST_TURNS and recorder.known() > effort.within:
                more = (needed - recorder.turns) * recorder.turn_s
                say(
                    f"±{recorder.known():.1%} after {FEWEST_TURNS} turns; about {needed} turns "
                    f"({4 * needed} rounds) are needed, {more:.0f} s more"
                )
    reached = recorder.known() <= effort.within
    end = "" if reached else f", wider than ±{effort.within:.1%}: time was up (--at-most)"
    say(f"{recorder.turns} turns recorded: ±{recorder.known():.1%}{end}")


def within_of(conditions: Sequence[Condition]) -> float:
    """How exactly a change is to be known that conditions of these bounds are about."""
    bounds = [abs(c.bound) for c in conditions if c.relative and c.bound]
    return min([WITHIN, *(bound / 2 for bound in bounds)])


def wanted_by(conditions: Sequence[Condition]) -> list[tuple[str, str]]:
    """What conditions ask for, or else what is told by default."""
    return list(dict.fromkeys((c.stage, c.metric) for c in conditions)) or list(DEFAULT)


@contextmanager
def _bar() -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        yield bar
