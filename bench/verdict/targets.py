# SPDX-License-Identifier: MIT
"""What a benchmark must reach, judged from its trace: held, missed, or not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from memsc.analysis.data.estimates import Estimate
from memsc.analysis.domains.checks import NEGLIGIBLE
from memsc.analysis.domains.timings import Timed
from memsc.analysis.trace import Trace
from memsc.bench.verdict import cause_targets
from memsc.bench.verdict.interposed import added_ns
from memsc.bench.verdict.target_figures import Figures

ENOUGH_CALLS = 5_000_000
TIME_SLICE_US = 3000  # what Linux gives a task that shares its CPU, about


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and its bound.

    Attributes:
        name: what is judged.
        value: the figure; None if the trace does not hold what it is made from.
        bound: `<= 1.08` or `>= 100`.
        held: None if the figure is not known. The figure decides, not its interval.
        reason: why it is not known.
        run: False where nothing was run that it could be made from.
        low, high: of its interval; None where it was counted, or too few rounds were made.
        settled: False where the bound lies within the interval, so that another run may decide
            otherwise; None without one.
    """

    name: str
    value: float | None
    bound: str
    held: bool | None
    reason: str | None = None
    run: bool = True
    low: float | None = None
    high: float | None = None
    settled: bool | None = None


def targets(trace: Trace) -> list[Target]:
    """All targets, in the order they are printed."""
    return list(_targets(trace))


def _targets(trace: Trace) -> Iterator[Target]:
    figures = Figures(trace)
    yield from _speed(figures, trace)
    yield from _beside(figures)
    yield from _observing(trace, figures)
    yield _lost(trace)
    yield from _invariants(trace)


def _speed(figures: Figures, trace: Trace) -> Iterator[Target]:
    mean, p50 = figures.mean, figures.p50
    ipi, ours, scanner = ("ipi", "sync"), ("memsc", "sync"), ("memsc-scanner", "sync")
    batch = ("memsc", "batch-64")
    limit = "memsc sync p50 ÷ (direct p50 + cache-line round trip p50)"
    yield _at_most(limit, figures.limit, 1.0)
    name = "memsc ÷ the best bare ring, sync, p50"
    yield _at_most(name, partial(p50, ("memsc", "ring"), ("bare-ring", "ring")), 1.08)
    name = "memsc ÷ the best bare ring, batch of 64, p50"
    yield _at_most(name, partial(p50, ("memsc", "ring-64"), ("bare-ring", "ring-64")), 1.05)
    name = "memsc ÷ the best bare ring, sync, every call recorded, p50"
    yield _at_most(name, figures.recorded_beside_ring, 1.08)
    yield _at_most("memsc sync p99.9 ÷ p50", figures.tail, 2.5)
    name = "memsc ÷ the best bare ring, p99.9 ÷ p50, in turns of one mood"
    yield _at_most(name, figures.tail_beside_ring, 1.1)
    yield _at_most(
        "memsc batch of 64 ÷ direct, mean per call",
        partial(mean, batch, ("direct", "batch-64")),
        0.95,
    )
    # What an interrupt costs is the machine's: these bounds are what the thesis reached on its own.
    yield _at_least("ipi ÷ memsc, sync, mean", partial(mean, ipi, ours), 2.3)
    # As in the thesis, where forwarding by interrupts has no batches.
    name = "ipi, sync ÷ memsc, batch of 64, mean per call"
    yield _at_least(name, partial(mean, ipi, batch), 35)
    yield _at_least("ipi ÷ memsc-scanner, sync, mean", partial(mean, ipi, scanner), 2.3)
    name = "memsc p50, ns that an unmodified program adds to the direct API"
    yield _at_most(name, partial(added_ns, trace.session), 10)
    crowd = partial(p50, ("memsc", "shared-8"), ("memsc", "shared-1"))
    yield _at_most("memsc, 8 registered processes ÷ 1, sync, p50", crowd, 8)
    name = "memsc, 8 registered processes, sync, p99.9 µs"
    yield _at_most(name, figures.crowded_us, TIME_SLICE_US / 10)
    for case, work, least in (
        ("dd", "dd bs=512, mean per call", 1.76),
        ("ls", "ls -l of 5000 files", 1.44),
    ):
        figure = partial(mean, ("ipi", case), ("memsc", case))
        yield _at_least(f"ipi ÷ memsc, {work}", figure, least)


def _beside(figures: Figures) -> Iterator[Target]:
    for case, work, least in (
        ("peers-null", "NOP against getppid", 1.2),
        ("peers-read", "4 KiB from memory", 10),
    ):
        figure = partial(figures.mean, ("uring", case), ("memsc", case))
        yield _at_least(f"io_uring SQPOLL ÷ memsc, {work}, mean", figure, least)
        best = partial(figures.best_peer, case)
        yield _at_most(f"memsc ÷ the best peer, {work}, mean", best, 1.0)


def _observing(trace: Trace, figures: Figures) -> Iterator[Target]:
    yield _at_most("memsc sync p50, recording on ÷ off", figures.recording, 1.10)
    name = "slowdown at p50, memsc's recording ÷ the best other tracer's"
    yield _at_most(name, figures.tracing, 0.2)
    for case, beside in cause_targets.CASES.items():
        name = f"calls above p99.9 with a named cause, {beside}"
        yield _at_least(name, partial(cause_targets.named, trace, case), 0.95)
    cost = partial(cause_targets.probes_cost, trace)
    yield _at_most("memsc p50, default probes on ÷ recording only", cost, 1.05)
    chains = partial(cause_targets.chains, trace)
    yield _at_least("ipi: calls with their whole wake-up chain", chains, 0.99)
    yield _at_most("events lost, default buffers", partial(cause_targets.events_lost, trace), 0)


def _at_most(name: str, figure: Callable[[], Estimate], bound: float) -> Target:
    return _judged(name, figure, "<=", bound)


def _at_least(name: str, figure: Callable[[], Estimate], bound: float) -> Target:
    return _judged(name, figure, ">=", bound)


def _judged(name: str, figure: Callable[[], Estimate], sign: str, bound: float) -> Target:
    wanted = f"{sign} {bound:g}"
    try:
        found = figure()
    except KeyError as missing:
        why = f"not measured: {_said(missing.args[0])}"
        return Target(name, None, wanted, None, why, run=False)
    held = found.value <= bound if sign == "<=" else found.value >= bound
    across = found.across(bound)
    settled = None if across is None else not across
    return Target(name, found.value, wanted, held, None, True, found.low, found.high, settled)


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
        if check.name == "fits_outside":
            name = f"{check.arm}: rounds whose calls do not fit into the time measured around them"
            yield Target(name, check.value, "<= 0", check.held, check.reason)
        elif check.arm == "memsc" and check.name in _PER_CALL:
            name, bound = f"memsc: {_PER_CALL[check.name]} per call", f"<= {NEGLIGIBLE:g}"
            why = check.reason if check.value is None else None
            yield Target(name, check.value, bound, check.held, why)


_PER_CALL = {
    "app_syscalls_per_call": "system calls by the application's threads",
    "ipis_to_app_cpu_per_call": "IPIs to the application CPU",
    "ipis_to_service_cpu_per_call": "IPIs to the service CPU",
    "app_cpu_switches_per_call": "context switches on the application CPU",
}
