# SPDX-License-Identifier: MIT
"""What there was to record and was not, and what held programs up that no event tells of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from memsc.runtime.carried import FILTERED
from memsc.tracer.format import Round, Surroundings, Unrecorded

BOUND = 0.01
"""Share of programs, or of calls, above which a trace does not stand for what ran."""

UNREACHED = (
    "not counted: calls that do not reach memsc, such as those by a program's own instructions"
)

_Z = 1.96


class ArmCoverage(msgspec.Struct, frozen=True):
    """An arm's recorded rounds together.

    `unseen` of the calls were made by processes that are not recorded, as the kernel counted them
    in rounds with probe `syscalls`, and `elsewhere` by such as are, from instructions that memsc
    does not reach; `share` of all calls was not recorded, of `calls` looked at,
    with its 95 % interval: without such rounds as far as programs told themselves, and `uncounted`
    says why there is none. `beside` calls were made on the service's own CPU.
    """

    rounds: int
    programs: int
    by: Literal["kernel", "layer"]
    by_reason: str | None
    unrecorded: list[Unrecorded]
    missed: dict[str, int]
    beside: int
    calls: int
    unseen: int | None
    elsewhere: int | None
    uncounted: str | None
    share: float | None
    share_low: float | None
    share_high: float | None

    @property
    def count(self) -> int:
        """How many programs ran unrecorded."""
        return sum(one.times for one in self.unrecorded)

    @property
    def says(self) -> str | None:
        """Which they were, in words; None if there were none."""
        if not self.count:
            return None
        runs = f" in {self.rounds} runs" if self.rounds > 1 else ""
        named = named_programs(self.unrecorded)
        programs = f"{self.programs} program{'s' if self.programs != 1 else ''}"
        # Of one program several processes may have been lost.
        of = f"{self.count} {'of' if self.count <= self.programs else 'processes of'} {programs}"
        return f"{of} ran unrecorded{runs}: {named}"

    @property
    def says_uncounted(self) -> str | None:
        """Whose calls nobody counts, in words; None if there is no such process."""
        left = sum(one.times for one in self.unrecorded if one.why == FILTERED)
        if not left:
            return None
        whose = "a process" if left == 1 else f"{left} processes"
        return f"what {whose} called under a seccomp filter is neither recorded nor counted"

    @property
    def says_unreached(self) -> str | None:
        """What the kernel was not asked to count, and the remedy; None if it was."""
        return None if self.uncounted is None else f"{UNREACHED}: {self.uncounted}"

    @property
    def says_calls(self) -> str | None:
        """How many calls were not recorded, in words; None if there were none."""
        if not self.share:
            return None
        whys = [f"{why} ({n:,})" for why, n in self.missed.items()]
        if self.elsewhere:
            whys.insert(0, f"made by instructions that memsc does not reach ({self.elsewhere:,})")
        if self.unseen:
            whys.insert(0, f"made by programs that ran unrecorded ({self.unseen:,})")
        interval = f"{percent(self.share_low)} to {percent(self.share_high)}"
        share = f"{percent(self.share)} of {self.calls:,} calls ({interval})"
        return f"{share} unrecorded: {', '.join(whys)}"


def together(rounds: Iterable[Round]) -> Surroundings | None:
    """What held up the programs of all rounds; None if nobody looked."""
    found = [r.surroundings for r in rounds if r.surroundings is not None]
    if not found:
        return None
    throttled = [one.throttled_ns for one in found if one.throttled_ns is not None]
    periods = [one.throttled_periods for one in found if one.throttled_periods is not None]
    pressure = [one.cpu_pressure for one in found if one.cpu_pressure is not None]
    return Surroundings(
        throttled_ns=sum(throttled) if throttled else None,
        throttled_periods=sum(periods) if periods else None,
        cpu_pressure=sum(pressure) / len(pressure) if pressure else None,
        suspended_ns=sum(one.suspended_ns for one in found),
        stepped_ns=sum(one.stepped_ns for one in found),
    )


def percent(share: float | None) -> str:
    """A share in words: two digits, more where it is nearly all."""
    if share is None:
        return "?"
    value = 100 * share
    digits = 2 if 99.5 <= value < 100 else 0
    return f"{value:.2g} %" if value < 10 else f"{value:.{digits}f} %"


def named_programs(programs: Sequence[Unrecorded], most: int = 4) -> str:
    """Programs and why, those that ran most often first."""
    shown = [f"{one.name} ({one.why}){_times(one.times)}" for one in programs[:most]]
    more = sum(one.times for one in programs[most:])
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def coverage(rounds: Iterable[Round], uncounted: str = "not known") -> ArmCoverage | None:
    """What the rounds of one arm recorded; None if that was not looked at.

    Args:
        rounds: of the arm.
        uncounted: why the kernel counted no calls, if it did not.
    """
    mine = [r for r in rounds if r.recording and r.coverage is not None]
    found = [r.coverage for r in mine if r.coverage is not None]
    if not found:
        return None
    unrecorded, missed = Counter[tuple[str, str]](), Counter[str]()
    for one in found:
        for program in one.unrecorded:
            unrecorded[program.name, program.why] += program.times
        missed.update(one.missed)
    # Calls that nobody saw are known of where the kernel counted: those rounds stand for all.
    asked = [r for r in mine if r.coverage is not None and r.coverage.unseen is not None]
    looked = asked or mine
    covers = [r.coverage for r in looked if r.coverage is not None]
    unseen = sum(one.unseen or 0 for one in covers)
    elsewhere = sum(one.elsewhere or 0 for one in covers)
    whole = all(one.elsewhere is not None for one in covers)
    why = (
        None
        if asked and whole
        else "nobody told where its programs make theirs"
        if asked
        else uncounted
    )
    gone = unseen + elsewhere + sum(sum(one.missed.values()) for one in covers)
    calls = gone + sum((r.made or 0) + (r.local or 0) for r in looked)
    low, high = wilson(gone, calls)
    by_layer = next((one for one in found if one.by == "layer"), None)
    return ArmCoverage(
        rounds=len(found),
        programs=sum(one.programs for one in found),
        by="layer" if by_layer else "kernel",
        by_reason=by_layer.by_reason if by_layer else None,
        unrecorded=[Unrecorded(*key, n) for key, n in unrecorded.most_common()],
        missed=dict(missed.most_common()),
        beside=sum(one.beside for one in found),
        calls=calls,
        unseen=unseen if asked else None,
        elsewhere=elsewhere if asked and whole else None,
        uncounted=why,
        share=gone / calls if calls else None,
        share_low=low,
        share_high=high,
    )


def unreached(found: Mapping[str, ArmCoverage]) -> list[str]:
    """What the kernel counted of no arm, or not of some, which are named then; and the remedy."""
    said: dict[str, list[str]] = {}
    for arm, one in found.items():
        if one.says_unreached:
            said.setdefault(one.says_unreached, []).append(arm)
    return [
        says if len(arms) == len(found) else f"{', '.join(arms)}: {says}"
        for says, arms in said.items()
    ]


def wilson(hits: int, n: int) -> tuple[float | None, float | None]:
    """The 95 % interval of a share (Wilson's), which holds for shares near 0, too."""
    if not n:
        return None, None
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _times(n: int) -> str:
    return f" ×{n}" if n > 1 else ""
