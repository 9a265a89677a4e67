# SPDX-License-Identifier: MIT
"""What attribution must reach: figures of the suite `causes`; each raises KeyError without it."""

from __future__ import annotations

from memsc.analysis.causes.shares import LOST, NO_PROBES, UNEXPLAINED
from memsc.analysis.data.estimates import Estimate, divide
from memsc.analysis.data.statistics import SAMPLES_ABOVE
from memsc.analysis.domains.timings import Timed
from memsc.analysis.trace import Trace
from memsc.runtime.errors import MemscError

CASES = {"causes": "idle", "causes-stress": "a busy program on the service CPU"}


def named(trace: Trace, case: str) -> Estimate:
    """Share of the calls above p99.9 that have a named cause, of rounds that lost no event."""
    if not any(r.key[:2] == ("memsc", case) for r in trace.session.rounds):
        raise KeyError(f"calls of {case}")
    causes = trace.where(arm="memsc", case=case).tail.df_causes()
    causes = causes[(causes["band"] == "p999") & (causes["cause"] != LOST)]
    calls = causes["calls"].sum()
    if calls < SAMPLES_ABOVE:
        raise KeyError(f"{SAMPLES_ABOVE} calls above p99.9 of {case}, in rounds that lost no event")
    unknown = causes["cause"].isin([UNEXPLAINED, NO_PROBES])
    return Estimate(float(1 - causes[unknown]["calls"].sum() / calls))


def probes_cost(trace: Trace) -> Estimate:
    """Median of recorded calls with all default probes, over that without any probe."""
    timed = trace.timings.per_call()
    bare = timed[Timed("memsc", "causes-bare", recording=True)]
    probed = timed[Timed("memsc", "causes", recording=True)]
    return divide(probed.sampled("p50"), bare.sampled("p50"))


def chains(trace: Trace) -> Estimate:
    """Share of the calls of `ipi` whose wake-up chain is matched there and back."""
    if not any(r.key[:2] == ("ipi", "causes") for r in trace.session.rounds):
        raise KeyError("causes under ipi")
    try:
        matched = trace.where(arm="ipi", case="causes").wakeup.df_matched()
    except MemscError as error:
        raise KeyError(error.why) from error
    if not len(matched):
        raise KeyError("calls under ipi")
    return Estimate(float(matched["share"].iloc[0]))


def events_lost(trace: Trace) -> Estimate:
    """Events of all probes that did not reach the trace."""
    if not any(r.case == "causes" for r in trace.session.rounds):
        raise KeyError("causes")
    lost = [probe.lost for probe in trace.session.probes.values() if probe.attached]
    if not lost or None in lost:
        raise KeyError("events of the probes")
    return Estimate(float(sum(count or 0 for count in lost)))
