# SPDX-License-Identifier: MIT
"""Whether a trace can be believed, in lines: what failed, what holds, what nobody looked at.

No ✓ says more than was looked at: what was not stands beside it as ?, with what would tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from memsc.analysis.data.numbers import number
from memsc.analysis.domains.checks import STAMP_CHECKS
from memsc.analysis.domains.coverage import unreached
from memsc.analysis.report.conditions import counter_lines, surroundings_lines
from memsc.analysis.report.model import CheckResult, Report

_SNAPSHOTS_GONE = "; snapshots of its last second, or last twentieth of its time, are gone"


def trust_lines(report: Report) -> Iterator[tuple[str, str]]:
    """The checks, one line each, with a sign: what failed first, what was not checked last."""
    for reason in report.verdict.reasons:
        yield "✗", f"verdict withheld: {reason}"
    if not report.complete:
        gone = _SNAPSHOTS_GONE if report.snapshot else ""
        yield "✗", f"the session did not end in order; what was written is shown{gone}"
    yield from _shares(report)
    arms = report.arms.values()
    if arms and all(arm.calls is not None and arm.lost == 0 for arm in arms):
        calls = sum(arm.calls or 0 for arm in arms)
        counted = all(arm.made is not None for arm in arms)
        said = f"{calls:,} call{'s' if calls != 1 else ''} recorded, 0 lost"
        if report.record_every:
            every = calls + sum(arm.skipped or 0 for arm in arms)
            said = f"{calls:,} of {every:,} calls recorded, one of {report.record_every} at random"
            said += ", 0 lost"
        if report.complete and any(arm.count for arm in report.coverage.values()):
            yield "!", f"{said}, of the programs that are recorded"
        elif report.complete or any(cut.by == "killed" for cut in report.interrupted):
            some = _unlooked(report) or any(one.uncounted for one in report.coverage.values())
            whole = "all that reached memsc" if some else "every one"
            yield "✓", f"{said}{f', {whole} accounted for' if counted else ''}"
        else:
            yield "?", f"{said} in rounds that ended; of the last one that is not known"
    if arms := _unlooked(report):
        why = _OLDER if report.complete else "its session did not live to look"
        yield "?", f"not counted: what did not reach memsc ({', '.join(arms)}): {why}"
    yield from (("?", line) for line in unreached(report.coverage))
    yield from (("?", line) for line in _unknown_sums(report))
    yield from _coverage(report)
    yield from (("!", line) for line in surroundings_lines(report))
    if report.record_every:
        yield "!", "maxima and causes are of recorded calls; sums are estimated from them"
    failed, held, unknown = _sorted_checks(report)
    yield from (("✗", line) for line in failed)
    yield from (("✓", line) for line in held)
    yield from (("?", line) for line in unknown)
    for cut in report.interrupted:
        if cut.by == "killed":
            why = "its calls came into the trace later; what probes saw is not whole"
            yield "!", f"the session was killed in round {cut.round} of {cut.arm}: {why}"
            continue
        why = "its program was stopped there, and what was to follow is missing"
        yield "!", f"interrupted in round {cut.round} of {cut.arm}: {why}"
    yield from (("!", line) for line in counter_lines(report))
    if report.environment.virtual:
        yield "!", "virtual machine: interrupts include the hypervisor; trust ratios, not times"


_PROGRAM = "program"  # the case of whatever a user traces
_OLDER = "recorded by a memsc that did not look"


def _unlooked(report: Report) -> list[str]:
    """Arms whose programs nobody watched for what they did unrecorded."""
    return [
        arm
        for arm, content in report.arms.items()
        if arm not in report.coverage and _PROGRAM in content.cases and content.made is not None
    ]


def _unknown_sums(report: Report) -> Iterator[str]:
    """Why nobody knows how many calls there were, of rounds that ended."""
    found = [arm.checks.get("counted") for arm in report.arms.values() if arm.calls]
    whys = dict.fromkeys(one.reason for one in found if one is not None and one.held is None)
    if report.complete:
        yield from (f"not counted: the calls that were made: {why}" for why in whys)


def _shares(report: Report) -> Iterator[tuple[str, str]]:
    """Calls recorded ÷ calls made, where somebody counted them."""
    said: dict[tuple[str, str], list[str]] = {}
    reasons = "".join(report.verdict.reasons)  # need not be said twice
    for arm, found in report.coverage.items():
        if found.says_calls and found.says_calls not in reasons:
            said.setdefault(("!", found.says_calls), []).append(arm)
        known = found.uncounted is None and not (found.says_calls or found.says_uncounted)
        if known and found.share_high is not None:
            # A bound from below is not rounded up.
            at_least = math.floor(10_000 * (1 - found.share_high)) / 100
            line = f"100 % of {found.calls:,} calls recorded or counted ({at_least:g} % at least)"
            said.setdefault(("✓", line), []).append(arm)
    yield from _by_arm(report, said)


def _coverage(report: Report) -> Iterator[tuple[str, str]]:
    """What else ran unrecorded, once for the arms of which the same is to be said."""
    said: dict[tuple[str, str], list[str]] = {}
    reasons = "".join(report.verdict.reasons)
    for arm, found in report.coverage.items():
        if found.says and found.says not in reasons:
            said.setdefault(("!", found.says), []).append(arm)
        if found.says and found.by == "layer":
            why = f"what those executed in turn is not known: {found.by_reason}"
            said.setdefault(("!", why), []).append(arm)
        if found.says_uncounted:
            said.setdefault(("!", found.says_uncounted), []).append(arm)
        if found.beside:
            line = f"{found.beside:,} calls were made on the service's own CPU: programs went there"
            said.setdefault(("!", line), []).append(arm)
    yield from _by_arm(report, said)


def _by_arm(
    report: Report, said: Mapping[tuple[str, str], Sequence[str]]
) -> Iterator[tuple[str, str]]:
    """Signs and lines, with the arms of which they are said where that is not of all."""
    for (sign, line), arms in said.items():
        whose = "" if len(arms) == len(report.arms) else f"{', '.join(arms)}: "
        yield sign, whose + line


_SAID_APART = ("lost", "counted", "events_lost", "unrecorded_programs", "unrecorded_calls")


def _sorted_checks(report: Report) -> tuple[list[str], list[str], list[str]]:
    failed: list[str] = []
    held: list[str] = []
    few: list[str] = []
    unknown: dict[str, dict[str, None]] = {}
    arms = report.arms.items()
    timed = {row.arm for row in report.timings}
    idle = [arm for arm, found in arms if not (found.cases or found.calls or arm in timed)]
    for arm, content in arms:
        checks = content.checks
        if arm in idle:
            # Of no call there is nothing to say but what went wrong in its rounds.
            checks = {name: check for name, check in checks.items() if check.held is False}
        zero = [name for name, check in checks.items() if check.expected is not None]
        if content.transport == "ipi":
            _uncounted(checks, unknown)
        events = [name for name in zero if name.endswith("_per_call")]
        failed += [
            f"{arm}: {_words(name)} {number(checks[name].value)}, expected 0"
            + (f" ({checks[name].reason})" if checks[name].reason else "")
            for name in zero
            if checks[name].held is False and name not in _SAID_APART
        ]
        kept = [_words(name) for name in events if checks[name].held]
        if kept:
            held.append(f"{arm}: 0 per call: {', '.join(kept)}")
        held += _stamps(arm, checks)
        if content.calls:
            _untied(checks, unknown)
        # What was counted on too few calls: names that share their counts share a line.
        counted: dict[str, list[str]] = {}
        for name in events:
            check = checks[name]
            if check.held is None and check.value is not None:
                counted.setdefault(check.reason or "", []).append(_words(name))
            elif check.held is None:
                unknown.setdefault(check.reason or "", {})[_words(name)] = None
        few += [f"{arm}: {', '.join(names)}: {reason}" for reason, names in counted.items()]
        held += _measured(arm, checks)
    held = _together(held, len(report.arms) - len(idle))
    if idle:
        few.append(f"{', '.join(idle)}: no calls recorded")
    missing = [f"not checked: {', '.join(names)}: {why}" for why, names in unknown.items()]
    return failed, held, few + missing


_IN_ORDER = "stamps in order"
_UNTIED = {
    "fits_outside": "whether calls fit into their rounds",
    "stamps_off": "stamps, against static probes",
}
"""What an arm may lack that stamps are held against."""


def _stamps(arm: str, checks: Mapping[str, CheckResult]) -> Iterator[str]:
    """What is known to be true of an arm's stamps."""
    if "stamps_off" in checks and checks["stamps_off"].held:
        yield f"{arm}: stamps hold: {checks['stamps_off'].reason}"
    if all(name in checks and checks[name].held for name in STAMP_CHECKS[:2]):
        fits = checks["fits_outside"]
        if fits.held is not False:
            yield f"{arm}: {_IN_ORDER}{f', {fits.reason}' if fits.held else ''}"


def _untied(checks: Mapping[str, CheckResult], unknown: dict[str, dict[str, None]]) -> None:
    """What could have told more of them, and was not there."""
    for name, what in _UNTIED.items():
        if name in checks and checks[name].held is None:
            unknown.setdefault(checks[name].reason or "", {})[what] = None


def _together(held: list[str], arms: int) -> list[str]:
    """One line for what all arms have in common of their stamps."""
    mine = [line for line in held if _IN_ORDER in line]
    said = {line.partition(": ")[2] for line in mine}
    if len(said) == 1 and len(mine) == arms:
        return [*said, *(line for line in held if line not in mine)]
    return held


def _uncounted(checks: Mapping[str, CheckResult], unknown: dict[str, dict[str, None]]) -> None:
    """The point of arm `ipi` is its interrupts: a reader is told if none were counted."""
    for name, check in checks.items():
        if "ipis_to" in name and check.value is None and check.reason:
            unknown.setdefault(check.reason, {})[_words(name)] = None


def _measured(arm: str, checks: Mapping[str, CheckResult]) -> list[str]:
    found = {
        name: check.value
        for name, check in checks.items()
        if check.expected is None and check.value
    }
    shown = [f"{number(value)} {_words(name)}" for name, value in found.items() if value >= 0.01]
    return [f"{arm}: per call {', '.join(shown)}"] if shown else []


def _words(name: str) -> str:
    return (
        name.removesuffix("_per_call").replace("_", " ").replace("ipi", "IPI").replace("cpu", "CPU")
    )
