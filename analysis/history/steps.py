# SPDX-License-Identifier: MIT
"""Steps in a row of sessions: where ruptures sees one that shuffled sessions seldom show.

A step is beyond what differs between sessions if the same sessions in another order would hardly
look as much like one. So figures become normal scores of their ranks, by which outliers weigh no
more than they should, and by which what chance does depends on nothing but how many sessions there
are. ruptures (Truong, Oudre and Vayatis 2020) places one step, or two for what came and went, where
least is left over; how much less that is than without a step is held against random orders. Where
it is more than they show, each part is looked at again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsc.runtime.errors import MemscError

Values = NDArray[np.float64]
ALPHA = 0.05
"""How often a history without steps may show one, in any of its metrics."""
SIDE = 3
"""Sessions on each side of a step, at least: as many as `compare` needs."""
MOST = 120
"""Sessions that are searched, the newest: of more, all places of two steps take long."""
_ORDERS = 9_999
_STEPS = (1, 2)
_ALIKE = 1e-4  # by what a gain may differ that was added up in another order, in single precision


class _Guess(NamedTuple):
    chance: float
    bounds: list[int]


def find_steps(values: Sequence[float], alpha: float = ALPHA) -> list[int]:
    """Where steps are: indices of the first session after each.

    Args:
        values: a figure of each session, in the order of time.
        alpha: how often sessions without a step may show one.
    """
    found = np.asarray(values, float)
    first = max(len(found) - MOST, 0)
    bounds = sorted(_within(found, first, len(found), alpha))
    while bounds:
        # A step stands only if its neighbours' sessions alone show it, too; and where they do.
        ends = [first, *bounds, len(found)]
        alone = [_guess(found[a:b], 1) for a, b in zip(ends, ends[2:], strict=False)]
        worst = max(range(len(alone)), key=lambda i: alone[i].chance)
        if alone[worst].chance <= alpha:
            parts = zip(ends, ends[2:], strict=False)
            return [a + _between(found[a:b]) for a, b in parts]
        del bounds[worst]
    return []


@lru_cache
def fewest(alpha: float = ALPHA) -> int:
    """How many sessions there must be for any step to be seen, however large."""
    sessions = 2 * SIDE
    while sessions < MOST and _guess(np.arange(sessions) >= sessions // 2).chance > alpha:
        sessions += 1
    return sessions


def _within(values: Values, first: int, end: int, alpha: float) -> list[int]:
    if end - first < 2 * SIDE:
        return []
    found = _guess(values[first:end])
    if found.chance > alpha:
        return []
    ends = [first, *(first + bound for bound in found.bounds), end]
    inside = [bound for a, b in pairwise(ends) for bound in _within(values, a, b, alpha)]
    return [*ends[1:-1], *inside]


def _guess(values: NDArray[np.generic], most: int = len(_STEPS)) -> _Guess:
    """The likeliest steps of some sessions, and how often chance alone looks as much like steps."""
    scores = _scores(values)
    counts = [count for count in _STEPS[:most] if (count + 1) * SIDE <= len(scores)]
    chances = {count: _gains(len(scores))[count] for count in counts}
    best = _Guess(1.0, [])
    for count in counts:
        bounds = _placed(scores, count)
        parts = np.split(scores, bounds)
        gain = sum(float(part.sum()) ** 2 / len(part) for part in parts)
        above = len(chances[count]) - np.searchsorted(chances[count], gain - _ALIKE)
        chance = len(counts) * (1 + int(above)) / (1 + _ORDERS)
        best = min(best, _Guess(min(chance, 1.0), bounds), key=lambda guess: guess.chance)
    return best


def _placed(scores: Values, steps: int) -> list[int]:
    """Where ruptures puts so many steps."""
    search = _ruptures().KernelCPD(kernel="linear", min_size=SIDE)
    return [int(end) for end in search.fit(scores).predict(n_bkps=steps)[:-1]]


def _between(values: Values) -> int:
    """Where the one step is: of the figures themselves, by their distance from medians.

    Ranks tell whether there is one, but sessions at the edge of the longer side rank in the middle.
    """
    search = _ruptures().Dynp(model="l1", min_size=SIDE, jump=1)
    return int(search.fit(values).predict(n_bkps=1)[0])


def _ruptures() -> Any:
    try:
        import ruptures  # noqa: PLC0415 (takes long, and no other command needs it)
    except ImportError as error:
        why = "the package ruptures is not installed, which finds steps"
        raise MemscError("cannot look for steps", why, "pip install ruptures") from error
    return ruptures


def _scores(values: NDArray[np.generic]) -> Values:
    """Normal scores of ranks (van der Waerden): of mean 0; what is alike shares its ranks' mean."""
    _, place, many = np.unique(values, return_inverse=True, return_counts=True)
    ordered = _normal(len(values))
    ends = np.cumsum(many)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return ((sums[ends] - sums[ends - many]) / many)[place]


@lru_cache
def _normal(many: int) -> Values:
    below = NormalDist().inv_cdf
    return np.array([below((i + 1) / (many + 1)) for i in range(many)])


@lru_cache
def _gains(many: int) -> dict[int, Values]:
    """What one and two steps explain at best of so many scores in random orders, ascending.

    How much less is left over is the sum of the parts' squared sums by their lengths. The seed is
    fixed: a history says the same each time.
    """
    generator = np.random.default_rng(many)
    drawn = np.tile(_normal(many).astype(np.float32), (_ORDERS, 1))
    sums = np.cumsum(generator.permuted(drawn, axis=1), axis=1).T
    total = sums[-1]
    best = {count: np.zeros(_ORDERS, np.float32) for count in _STEPS}
    for i in range(SIDE, many - SIDE + 1):
        before = sums[i - 1] ** 2 / i
        np.maximum(best[1], before + (total - sums[i - 1]) ** 2 / (many - i), out=best[1])
        for j in range(i + SIDE, many - SIDE + 1):
            between = (sums[j - 1] - sums[i - 1]) ** 2 / (j - i)
            behind = (total - sums[j - 1]) ** 2 / (many - j)
            np.maximum(best[2], before + between + behind, out=best[2])
    return {count: np.sort(found).astype(float) for count, found in best.items()}
