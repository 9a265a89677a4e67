# SPDX-License-Identifier: MIT
"""Every domain looks at what was selected, or says that it cannot; and tells what it gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest

from memsc import analysis as ma
from memsc.runtime.errors import USAGE, MemscError

ROOT = Path(__file__).resolve().parents[2]
TRACES = ROOT / "notebooks" / "traces"
SAMPLED = ROOT / "tests" / "unit" / "recorded" / "sampled.memsc"

FRAMES: dict[str, tuple[Path, Callable[[ma.Trace], pd.DataFrame]]] = {
    "stages": (TRACES / "calls.memsc", lambda t: t.stages.df_stages(intervals=False)),
    "bands": (TRACES / "calls.memsc", lambda t: t.tail.df_bands()),
    "worst": (TRACES / "calls.memsc", lambda t: t.tail.df_worst()),
    "noise": (TRACES / "tail.memsc", lambda t: t.noise.df_noise()),
    "wakeup": (TRACES / "calls.memsc", lambda t: t.wakeup.df_chain()),
    "counters": (TRACES / "counters.memsc", lambda t: t.counters.df_threads()),
    "timings": (TRACES / "thesis.memsc", lambda t: t.timings.df_timings()),
    "checks": (TRACES / "calls.memsc", lambda t: t.checks.df_checks()),
    "events": (TRACES / "calls.memsc", lambda t: t.checks.df_events_per_round()),
    "on": (SAMPLED, lambda t: t.stacks.df_samples("profile")),
    "off": (SAMPLED, lambda t: t.stacks.df_samples("offcpu")),
    "agreement": (SAMPLED, lambda t: t.agreement.df_observations()),
}


@pytest.mark.parametrize("name", FRAMES)
def test_an_arm_that_is_selected_is_the_only_one(name: str) -> None:
    path, frame_of = FRAMES[name]
    trace = ma.open(path)
    # Noise and samples fall between rounds, too: those are of no arm.
    arms = [arm for arm in frame_of(trace)["arm"].unique().tolist() if arm is not None]
    assert arms
    for arm in arms:
        assert set(frame_of(trace.where(arm=arm))["arm"]) == {arm}
    assert trace.where(arm=arms[0]).arms == [arms[0]]


@pytest.mark.parametrize("name", ["noise", "on", "off"])
def test_a_window_shows_what_lies_in_it(name: str) -> None:
    path, frame_of = FRAMES[name]
    trace = ma.open(path)
    clock, rounds = trace.session.clock, trace.session.rounds
    ends = [r.end_cycles for r in rounds if r.end_cycles is not None]
    half = (max(ends) - trace.start_cycles) / 2 * clock.ns_per_cycle * 1e-9
    halves = [frame_of(side) for side in (trace[:half], trace[half:])]
    if name == "noise":
        assert sum(side["events"].sum() for side in halves) == frame_of(trace)["events"].sum()
        assert all(side["events"].sum() > 0 for side in halves)
        return
    middle = clock.ns(np.array([trace.start_cycles]))[0] + half * 1e9
    assert [len(side) > 0 for side in halves] == [True, True]
    assert halves[0]["time"].max() <= middle + 1
    assert halves[1]["time"].min() >= middle - 1
    assert sum(map(len, halves)) == len(frame_of(trace))


@pytest.mark.parametrize("name", ["noise", "counters", "timings", "on", "agreement"])
def test_what_cannot_be_cut_by_call_says_so(name: str) -> None:
    path, frame_of = FRAMES[name]
    with pytest.raises(MemscError, match=r"of some calls: .*; select without outcome") as caught:
        frame_of(ma.open(path).where(outcome="ok"))
    assert caught.value.status == USAGE


def test_ratios_of_some_calls_are_from_their_stamps_alone() -> None:
    trace = ma.open(TRACES / "thesis.memsc")
    assert set(trace.ratios.df_ratios()["source"]) == {"stamps", "timings"}
    some = trace.where(outcome="ok").ratios.df_ratios()
    assert set(some["source"]) == {"stamps"}


def test_an_empty_figure_is_refused_with_the_way_out() -> None:
    trace = ma.open(TRACES / "calls.memsc")
    one = trace.where(arm="memsc")
    for draw in (
        trace.timings.plot_timings,
        trace.timings.plot_perturbation,
        one.ratios.plot_ratios,
    ):
        with pytest.raises(MemscError, match=r"cannot draw .*: there is none; `memsc bench`"):
            draw()


def class_of(found: cached_property[Any]) -> Any:
    """What a property gives; a trace's are imported where they are used."""
    try:
        return get_type_hints(found.func)["return"]
    except NameError:
        return type(getattr(ma.open(TRACES / "calls.memsc"), found.func.__name__))


def public() -> Iterator[tuple[str, Any]]:
    """What a user of the analysis calls: methods of the domains, and what opens traces."""
    owners: dict[type, None] = dict.fromkeys((ma.Trace, ma.Fleet, ma.Comparison))
    for owner in list(owners):
        for found in vars(owner).values():
            if isinstance(found, cached_property):
                domain = class_of(found)
                if inspect.isclass(domain) and any(n.startswith("df_") for n in dir(domain)):
                    owners[domain] = None
    for owner in owners:
        for name, found in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_"):
                yield f"{owner.__name__}.{name}", found
    for name in ("open", "open_many", "compare"):
        yield name, getattr(ma, name)


PUBLIC = dict(public())


def test_the_domains_are_found() -> None:
    assert {"Stages.df_stages", "Tail.df_bands", "Fleet.df_stages", "open"} <= set(PUBLIC)
    assert len([name for name in PUBLIC if ".df_" in name]) > 25


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_says_what_it_gives(name: str) -> None:
    function = PUBLIC[name]
    text = inspect.getdoc(function) or ""
    assert text
    taken = [p for p in inspect.signature(function).parameters if p not in ("self", "progress")]
    kind = name.rpartition(".")[2].partition("_")[0]
    if kind in ("df", "plot", "open", "compare", "where"):
        assert "Example:" in text and ">>>" in text
        assert "Raises:" in text or kind == "where"
        assert "Args:" in text or not taken
    if kind == "df":
        assert "Returns:" in text
