# SPDX-License-Identifier: MIT
"""Under what conditions a trace was recorded, in words: how quiet its CPUs, what observing cost."""

from __future__ import annotations

from collections.abc import Iterator

from memsc.analysis.report.model import Report
from memsc.tracer.format import Added, Noise

_COARSE_NS = 5.0  # of a counter's step: half of the shortest stages


def clock_line(report: Report) -> str:
    """The counter that stamps are of, and how well it is known."""
    clock, step = report.clock, report.clock.step_ns
    fit, skew = clock.residual_ns, clock.skew_bound_ns
    agree = f"CPUs agree within {skew:.0f} ns" if skew is not None else "skew between CPUs unknown"
    known = f"fit ±{fit:.1f} ns" if fit is not None else "fit unknown"
    steps = f"steps of {step:.3g} ns, " if step is not None and step > _COARSE_NS else ""
    return f"{clock.counter} {clock.hz / 1e9:.3f} GHz, {steps}{known}, {agree}"


def counter_lines(report: Report) -> Iterator[str]:
    """What limits its stamps."""
    if report.environment.invariant_counter is False:
        yield "the CPU's counter is not invariant: its pace may have changed; trust no time"
    step = report.clock.step_ns
    if step is not None and step > _COARSE_NS:
        steps = f"the counter moves by {step:.3g} ns at a time"
        yield f"{steps}: means hold, percentiles and single times are of whole steps"


def isolation_lines(report: Report) -> Iterator[str]:
    """How the application's CPUs were kept free, and what came there nevertheless."""
    found = report.isolation
    if found is None:
        return
    during = found.during
    came = f"{_rates(during)} while programs ran" if during else "what came is not known"
    around = report.surroundings
    if around is not None and around.cpu_pressure is not None:
        came += f"; tasks waited for a CPU {100 * around.cpu_pressure:.0f} % of the time"
    if found.how is None:
        yield f"not isolated: {came}"
        return
    yield f"isolated by {found.how}: {came}"
    before, isolated = found.before, found.isolated
    if before and isolated:
        yield f"while kept busy, before: {_rates(before)}"
        yield f"while kept busy, isolated: {_rates(isolated)}"
    for problem in found.failed:
        yield f"not given back: {problem}"


def calibration_lines(report: Report) -> Iterator[str]:
    """What recording and probes added to a call, as measured at the session's start."""
    found = report.perturbation_at_start
    if found is None:
        return
    if found.recording is None:
        yield f"not calibrated: {found.reason or 'nobody knows why'}"
        return
    yield f"recording adds {_added(found.recording)} to the median {found.arm or '?'} call"
    if found.probes:
        yield f"{', '.join(found.probes.names)}: {_added(found.probes)} more"
    costs = [
        f"{name} {cost:,.0f} ns" + ("" if hit.cost_ns else " (as declared)")
        for name, hit in found.hits.items()
        if (cost := found.hit_ns(name))
    ]
    if costs:
        yield f"a hit costs: {', '.join(costs)}"


def _added(side: Added) -> str:
    return f"{side.added_ns:.0f} ns ({side.low_ns:.0f} to {side.high_ns:.0f})"


def _rates(noise: Noise) -> str:
    said = f"{noise.interrupts:,.0f}"
    if noise.switches is not None:
        return f"{said} interrupts/s, {noise.switches:,.0f} switches/s"
    return f"{said} interrupts/s"


def surroundings_lines(report: Report) -> Iterator[str]:
    """What held programs up from outside, of which no event tells."""
    found = report.surroundings
    if found is None:
        return
    if found.throttled_ns:
        quota = report.environment.cpu_quota
        of = f" of {quota:g} CPUs" if quota is not None else ""
        often = f"{found.throttled_periods} times, {found.throttled_ns / 1e6:,.0f} ms together"
        yield f"held up by the CPU quota{of} {often}: what seems preempted for long may be it"
    if found.suspended_ns:
        yield f"the machine was suspended for {found.suspended_ns / 1e9:.3g} s meanwhile"
    if found.stepped_ns:
        by = f"{found.stepped_ns / 1e9:+.3g} s"
        yield f"the wall clock was set by {by} meanwhile; no time here is of that clock"
