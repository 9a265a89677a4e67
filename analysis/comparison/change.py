# SPDX-License-Identifier: MIT
"""A relative change with its interval, from the logarithms of what replicas gave.

Student's intervals, since replicas are few: a bootstrap of three sessions is far too narrow. They
hold of moody hosts, too: `tests/unit/test_verdicts.py` counts it, in simulated sessions whose moods
are normal, heavy-tailed and of two kinds, and in recorded ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsc.analysis.data.statistics import LEVEL
from memsc.analysis.data.student import quantile

Values = NDArray[np.float64]
FEWEST_SESSIONS, LEAST_FREEDOM = 2, 4
"""What sessions need to tell how much they differ: so many a side, and degrees of freedom in all.

A host of two moods shows one of them to two sessions a side, and the other to the rest, in an
eighth of all tries; with three a side (or more of a history) in 3 %. A mood that comes seldom, met
by a single session on a side, looks like a change, whatever is known of others.
"""

STOPPED_LEVEL = 0.965
"""Of an interval in turn, so that it holds at 95 %: recording stops where it is narrow, which comes
more often where the spread looks too small. `tests/unit/test_verdicts.py` counts that, too.
"""


@dataclass(frozen=True, slots=True)
class Change:
    """NEW ÷ BASE − 1 and the bounds of its interval at 95 %; NaN where the spread is not known."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def apart(base: Sequence[float], new: Sequence[float], history: Sequence[float] = ()) -> Change:
    """From sessions that were recorded apart: Student's interval, with the spread of all of them.

    Sessions of one machine are held to differ alike. With a spread for each side (Welch) three
    sessions that happen to agree would raise alarms beside six that do not.

    Args:
        base: a figure of each session, above 0.
        new: likewise.
        history: of other sessions of the same machine.
    """
    groups = [np.log(group) for group in (base, new, history) if len(group)]
    effect = _mean(groups[1]) - _mean(groups[0])
    if not tells(len(base), len(new), len(history)):
        return _change(effect, math.nan)
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - _mean(group)) ** 2).sum()) for group in groups)
    spread = math.sqrt(squares / freedom * (1 / len(base) + 1 / len(new)))
    return _change(effect, spread * _student(freedom))


def tells(base: int, new: int, history: int = 0) -> bool:
    """Whether so many sessions tell how much they differ."""
    freedom = base + new - 2 + max(history - 1, 0)
    return min(base, new) >= FEWEST_SESSIONS and freedom >= LEAST_FREEDOM


def beside(
    base: Sequence[float], new: Sequence[float], references: tuple[Sequence[float], Sequence[float]]
) -> Change:
    """The same beside a reference that each session has measured, too.

    How far a figure follows the reference from session to session is learned within the sides (an
    analysis of covariance); where it does so one to one, that is the ratio of ratios.

    Args:
        base: a figure of each session.
        new: likewise.
        references: the reference in the sessions of each side.
    """
    figures = np.log([*base, *new])
    reference = np.log([*references[0], *references[1]])
    side = np.repeat([0.0, 1.0], [len(base), len(new)])
    design = np.column_stack([np.ones(len(figures)), side, reference - _mean(reference)])
    found, _, rank, _ = np.linalg.lstsq(design, figures, rcond=None)
    freedom = len(figures) - 3
    if freedom < LEAST_FREEDOM or rank < 3:
        return _change(float(found[1]), math.nan)
    left = figures - design @ found
    spread = float(left @ left) / freedom * np.linalg.inv(design.T @ design)[1, 1]
    return _change(float(found[1]), math.sqrt(spread) * _student(freedom))


def in_turn(base: Sequence[float], new: Sequence[float]) -> Change:
    """From turns of one session: each has both sides, so what drifts falls on both alike."""
    steps = np.log(new) - np.log(base)
    if len(steps) < 2:
        return _change(_mean(steps), math.nan)
    spread = float(steps.std(ddof=1)) / math.sqrt(len(steps))
    return _change(_mean(steps), spread * _student(len(steps) - 1, STOPPED_LEVEL))


def follows(
    base: Sequence[float], new: Sequence[float], references: tuple[Sequence[float], Sequence[float]]
) -> float:
    """What share of the spread within the sides a reference accounts for, between 0 and 1."""
    figures, reference = (
        np.concatenate([np.log(side) - _mean(np.log(side)) for side in sides])
        for sides in ((base, new), references)
    )
    both = float(figures @ figures) * float(reference @ reference)
    return float(figures @ reference) ** 2 / both if both else 0.0


def _mean(values: Values) -> float:
    return float(np.mean(values))


def _student(freedom: int, level: float = LEVEL) -> float:
    return quantile((1 + level) / 2, freedom)


def _change(effect: float, half: float) -> Change:
    return Change(math.expm1(effect), math.expm1(effect - half), _grown(effect + half))


def _grown(effect: float) -> float:
    """Of two sessions a side the interval may reach beyond what a float holds."""
    return math.expm1(min(effect, 700.0)) if not math.isnan(effect) else math.nan
