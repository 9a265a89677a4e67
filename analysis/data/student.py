# SPDX-License-Identifier: MIT
"""Student's t at whole degrees of freedom, in closed form.

SciPy has it for any, but takes longer to import than a small trace takes to be reported.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_HALVINGS = 60  # of a quarter turn: below what a float can tell

normal_below = NormalDist().cdf
"""The share of a normal distribution below a value."""


@lru_cache
def quantile(below: float, freedom: int) -> float:
    """The value that a share of Student's distribution lies below.

    The distribution function is a finite sum in the angle whose tangent is t/√freedom (Abramowitz
    and Stegun 1964, 26.7.3 and 26.7.4); the angle is found by halving.

    Args:
        below: the share, between 0 and 1.
        freedom: degrees of freedom, from 1.
    """
    inside = abs(1 - 2 * below)
    odd = freedom % 2
    # Powers of the cosine from 1 or 0 up to freedom - 2; each factor is that of the one before.
    powers = np.arange(odd, freedom - 1, 2)
    factors = np.cumprod([1.0, *((powers[1:] - 1) / powers[1:]).tolist()][: len(powers)])
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        angle = (low + high) / 2
        found = math.sin(angle) * float(factors @ np.cos(angle) ** powers)
        if odd:
            found = (found + angle) * 2 / math.pi
        low, high = (angle, high) if found < inside else (low, angle)
    return math.copysign(math.tan((low + high) / 2) * math.sqrt(freedom), below - 0.5)
