# SPDX-License-Identifier: MIT
"""What a benchmark must reach, judged from its trace: held, missed, or not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from memsc.analysis import cause_targets
from memsc.analysis.checks import NEGLIGIBLE
from memsc.analysis.timings import PerCall, Timed
from memsc.analysis.trace import Trace
from memsc.analysis.tracing import OURS, slowdown, tracers

ENOUGH_CALLS = 5_000_000
TIME_SLICE_US = 3000  # what Linux gives a task that shares its CPU, about


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and its bound.

    Attributes:
        name: what is judged.
        value: the figure; None if the trace does not hold what it is made from.
        bound: `<= 1.08` or `>= 100`.
        held: None if the figure is not known.
        reason: why it is not known.
        run: False where nothing was run that it could be made from.
    """

    name: str
    value: float | None
    bound: str
    held: bool | None
    reason: str | None = None
    run: bool = True


def targets(trace: Trace) -> list[Target]:
    """All targets, in the order they are printed."""
    return list(_targets(trace))


def _targets(trace: Trace) -> Iterator[Target]:
    timed = trace.timings.per_call()

    def off(arm: str, case: str) -> PerCall:
        return timed[Timed(arm, case, recording=False)]

    def limit() -> float:
        line = trace.timings.line()
        if line is None:
            raise KeyError("line")
        return off("memsc", "sync").p50 / (off("direct", "sync").p50 + line.p50)

    def tail() -> float:
        found = off("memsc", "sync")
        if math.isnan(found.p999):
            raise KeyError("too few calls of sync")
        return found.p999 / found.p50

    def batch() -> float:
        return off("memsc", "batch-64").mean / off("direct", "batch-64").mean

    def batched() -> float:
        # As the thesis has it: whoever forwards by interrupts has no batches.
        return off("ipi", "sync").mean / off("memsc", "batch-64").mean

    def against(arm: str, case: str = "sync") -> Callable[[], float]:
        return lambda: off("ipi", case).mean / off(arm, case).mean

    def layer() -> float:
        added = off("memsc", "layer-with").p50 - off("memsc", "layer-without").p50
        return added * trace.session.clock.ns_per_cycle

    def crowded() -> float:
        return off("memsc", "shared-8").p50 / off("memsc", "shared-1").p50

    def crowded_tail() -> float:
        ns = off("memsc", "shared-8").p999 * trace.session.clock.ns_per_cycle
        if math.isnan(ns):
            raise KeyError("too few calls among 8 processes")
        return ns / 1000

    def recording() -> float:
        return timed[Timed("memsc", "sync", recording=True)].p50 / off("memsc", "sync").p50

    def tracing() -> float:
        others = [slowdown(timed, name) for name in tracers(timed)[1:]]
        if not others:
            raise KeyError("other tracers")
        return slowdown(timed, OURS) / min(others)

    yield _at_most("memsc sync p50 ÷ (direct p50 + cache-line round trip p50)", limit, 1.08)
    yield _at_most("memsc sync p99.9 ÷ p50", tail, 2.5)
    yield _at_most("memsc batch of 64 ÷ direct, mean per call", batch, 1.00)
    yield _at_least("ipi ÷ memsc, sync, mean", against("memsc"), 100)
    yield _at_least("ipi, sync ÷ memsc, batch of 64, mean per call", batched, 200)
    yield _at_least("ipi ÷ memsc-scanner, sync, mean", against("memsc-scanner"), 5)
    name = "memsc p50, ns that an unmodified program adds to the direct API"
    yield _at_most(name, layer, 20)
    yield _at_most("memsc, 8 registered processes ÷ 1, sync, p50", crowded, 8)
    yield _at_most(
        "memsc, 8 registered processes, sync, p99.9 µs", crowded_tail, TIME_SLICE_US / 10
    )
    for case, least in (("null", 1.2), ("read", 10)):
        name = f"io_uring SQPOLL ÷ memsc, {_PEERS[case]}, mean"
        yield _at_least(name, _over(timed, f"peers-{case}", "uring"), least)
        name = f"memsc ÷ the best peer, {_PEERS[case]}, mean"
        yield _at_most(name, _over_best(timed, f"peers-{case}"), 1.0)
    yield _at_least("ipi ÷ memsc, dd bs=512, mean per call", against("memsc", "dd"), 10)
    yield _at_least("ipi ÷ memsc, ls -l of 5000 files", against("memsc", "ls"), 5)
    yield _at_most("memsc sync p50, recording on ÷ off", recording, 1.10)
    yield _at_most("slowdown at p50, memsc's recording ÷ the best other tracer's", tracing, 0.2)
    for case, beside in cause_targets.CASES.items():
        name = f"calls above p99.9 with a named cause, {beside}"
        yield _at_least(name, partial(cause_targets.named, trace, case), 0.95)
    cost = partial(cause_targets.probes_cost, trace)
    yield _at_most("memsc p50, default probes on ÷ recording only", cost, 1.05)
    yield _at_least(
        "ipi: calls with their whole wake-up chain", partial(cause_targets.chains, trace), 0.99
    )
    yield _at_most("events lost, default buffers", partial(cause_targets.events_lost, trace), 0)
    yield _lost(trace)
    yield from _invariants(trace)


def _at_most(name: str, figure: Callable[[], float], bound: float) -> Target:
    return _judged(name, figure, f"<= {bound:g}", lambda value: value <= bound)


def _at_least(name: str, figure: Callable[[], float], bound: float) -> Target:
    return _judged(name, figure, f">= {bound:g}", lambda value: value >= bound)


def _judged(
    name: str, figure: Callable[[], float], bound: str, holds: Callable[[float], bool]
) -> Target:
    try:
        value = figure()
    except KeyError as missing:
        why = f"not measured: {_said(missing.args[0])}"
        return Target(name, None, bound, None, why, run=False)
    return Target(name, value, bound, holds(value))


def _said(missing: object) -> str:
    if isinstance(missing, Timed):
        return (
            f"{missing.case} under {missing.arm}, recording {'on' if missing.recording else 'off'}"
        )
    return str(missing)


def _lost(trace: Trace) -> Target:
    name, bound = f"calls lost, of at least {ENOUGH_CALLS / 1e6:g} million", "<= 0"
    arm = trace.session.arms.get("memsc")
    if arm is None or arm.lost is None or arm.calls is None:
        return Target(name, None, bound, None, "not measured: memsc, recorded", run=False)
    if arm.calls + arm.lost < ENOUGH_CALLS:
        why = f"only {arm.calls} calls were made"
        return Target(name, None, bound, None, why, run=bool(arm.calls))
    return Target(name, arm.lost, bound, arm.lost == 0)


def _invariants(trace: Trace) -> Iterator[Target]:
    recorded = {name for name, arm in trace.session.arms.items() if arm.calls}
    for check in trace.checks.all():
        if check.arm not in recorded:
            continue
        if check.name == "stages_sum":
            name = f"{check.arm}: rows whose stages do not sum to the total"
            yield Target(name, check.value, "<= 0", check.held, check.reason)
        elif check.arm == "memsc" and check.name in _PER_CALL:
            name, bound = f"memsc: {_PER_CALL[check.name]} per call", f"<= {NEGLIGIBLE:g}"
            why = check.reason if check.value is None else None
            yield Target(name, check.value, bound, check.held, why)


def _over(timed: Mapping[Timed, PerCall], case: str, peer: str) -> Callable[[], float]:
    def figure() -> float:
        return timed[Timed(peer, case, False)].mean / timed[Timed("memsc", case, False)].mean

    return figure


def _over_best(timed: Mapping[Timed, PerCall], case: str) -> Callable[[], float]:
    """Of the others that hand the call to another CPU or thread; `direct` does not."""

    def figure() -> float:
        others = [
            found.mean
            for key, found in timed.items()
            if key.case == case and key.arm != "direct" and not key.arm.startswith("memsc")
        ]
        if not others:
            raise KeyError(Timed("the peers", case, False))
        return timed[Timed("memsc", case, False)].mean / min(others)

    return figure


_PEERS = {"null": "NOP against getppid", "read": "4 KiB from memory"}
_PER_CALL = {
    "app_syscalls_per_call": "system calls by the application's threads",
    "ipis_to_app_cpu_per_call": "IPIs to the application CPU",
    "ipis_to_service_cpu_per_call": "IPIs to the service CPU",
    "app_cpu_switches_per_call": "context switches on the application CPU",
}
