# SPDX-License-Identifier: MIT
"""A benchmark is a session of many cases; its trace is all that its verdict is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from memsc.bench.suites import peer_tracers
from memsc.bench.suites.cases import Case, rounds
from memsc.bench.suites.peer_transports import UNAVAILABLE
from memsc.bench.suites.programs import absent
from memsc.runtime.errors import MemscError
from memsc.runtime.launch import Launch
from memsc.tracer.format import RoundKey
from memsc.tracer.session.session import TraceSession

Progress = Callable[[str], None]


def count(suites: Mapping[str, Sequence[Case]], arms: Sequence[str]) -> int:
    """Rounds that `run` will make."""
    return sum(len(list(rounds(cases, arms))) for cases in suites.values()) + len(arms)


def run(
    session: TraceSession,
    suites: Mapping[str, Sequence[Case]],
    arms: Sequence[Launch],
    progress: Progress,
) -> None:
    """Run all rounds of all suites, then one check round of each arm.

    Args:
        session: an entered one.
        suites: cases by suite.
        arms: the launches.
        progress: told before each round what it is.

    Raises:
        MemscError: a program of the benchmark failed.
    """
    by_name = {arm.arm: arm for arm in arms}
    missing: set[str] = set()  # peers that this machine has not
    refused = session.quiet.refused() if "isolation" in suites else None
    if refused:
        session.note(f"suite isolation, without isolating: {refused}")
    for name, package in absent().items() if "files" in suites else ():
        session.note(f"{name} is not installed; apt install {package}")
    if "tracing" in suites and (tracers := peer_tracers.absent()):
        missing |= set(tracers)
        packages = " ".join(dict.fromkeys(tracers.values()))
        session.note(f"not installed: {', '.join(tracers)}; apt install {packages}")
    for suite, cases in suites.items():
        for case in cases:
            if case.prepare is not None:
                case.prepare(session.scratch)
        for case, arm, number, turn, recording in rounds(cases, list(by_name)):
            progress(f"{suite}: {case.name}, {arm}")
            if RoundKey(arm, case.name, number) in session.done:
                continue
            launch = replace(by_name[arm], recording=recording)
            work = case.work(launch, session.scratch)
            if arm in missing or (work.isolated and refused):
                continue
            done = session.round(arm, work, number, turn=turn, recording=recording)
            if done.exit_status == UNAVAILABLE and launch.peer:
                missing.add(arm)
                session.note(f"{arm} is not measured: this machine has none")
            elif done.exit_status:
                raise MemscError(
                    f"{case.name} under {arm}",
                    f"its program ended with status {done.exit_status}",
                    "see its message above; the rounds before it are kept",
                )
    _check(session, suites.get("sync", ()), by_name, progress)


def _check(
    session: TraceSession, cases: Sequence[Case], by_name: Mapping[str, Launch], progress: Progress
) -> None:
    for case in cases:
        for arm in case.recorded:
            progress(f"checks: {arm}")
            number = case.rounds.get(arm, 0) + case.recorded[arm]  # the last one
            if RoundKey(arm, case.name, number) not in session.done:
                work = case.work(by_name[arm], session.scratch)
                session.round(arm, work, number, check=True)
