# SPDX-License-Identifier: MIT
"""What no `session.json` of memsc's says, and what of one from elsewhere must not be shown."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, cast

import msgspec

from memsc.runtime.printable import printable
from memsc.tracer.format.session_file import Session

_MOST_CPUS = 1 << 16
_LONGEST_NAME = 80
# A minute and a thousandth of a picosecond: no counter's cycle is outside.
_CYCLES = (1e-6, 6e10)
_LONGEST_NS = 1e15  # eleven days: farther apart no clocks of one machine are


def contradiction(session: Session) -> str | None:
    """Why figures of a session would be wrong; None where nothing is."""
    scale = session.clock.ns_per_cycle
    if not (math.isfinite(scale) and _CYCLES[0] < scale < _CYCLES[1]):
        return f"a cycle of {scale} ns"
    for apart in (session.clock.residual_ns, session.clock.skew_bound_ns):
        if not 0 <= (apart or 0.0) <= _LONGEST_NS:
            return f"clocks that are {apart} ns apart"
    names = {*session.arms, *(r.case for r in session.rounds)}
    if any(len(name) > _LONGEST_NAME for name in names):
        return f"an arm or case with a name of more than {_LONGEST_NAME} letters"
    for name, arm in session.arms.items():
        if not all(0 <= cpu < _MOST_CPUS for cpu in (*arm.app_cpus, *arm.service_cpus)):
            return f"arm {name} on a CPU that no machine has"
    counted = (*session.arms.values(), *session.rounds)
    if any((value or 0) < 0 for one in counted for value in (one.calls, one.lost, one.made)):
        return "a count below zero"
    unknown = {r.arm for r in session.rounds} - set(session.arms)
    if unknown:
        return f"rounds of {', '.join(sorted(unknown))}, an arm it does not describe"
    keys = Counter(r.key for r in session.rounds)
    twice = next((key for key, count in keys.items() if count > 1), None)
    return f"round {twice.round} of {twice.arm}/{twice.case} twice" if twice else None


def every_printable(content: Any) -> Any:
    """Content of a session with every name and text fit to be shown.

    Raises:
        msgspec.ValidationError: a number that no trace can hold.
    """
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, int) and not -(1 << 63) <= content < 1 << 63:
        raise msgspec.ValidationError(f"{content:.3g} is no number of a session")
    if isinstance(content, list):
        return [every_printable(one) for one in cast("list[Any]", content)]
    if isinstance(content, dict):
        pairs = cast("dict[str, Any]", content).items()
        return {printable(name): every_printable(one) for name, one in pairs}
    return content
