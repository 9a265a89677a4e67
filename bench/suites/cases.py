# SPDX-License-Identifier: MIT
"""The reference work: what each case of a benchmark runs, and how much of it under each arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from memsc.bench.suites import bare_ring, peer_tracers, peer_transports, small_calls
from memsc.bench.suites.load import closed, opened
from memsc.bench.suites.programs import PROGRAMS, SIZES, missing
from memsc.bench.suites.programs import work as program_work
from memsc.runtime import topology
from memsc.runtime.errors import USAGE, MemscError
from memsc.runtime.files import WORK
from memsc.runtime.launch import Launch
from memsc.tracer.session.corunner import busy
from memsc.tracer.session.work import Work

ON_REQUEST = ("causes",)
"""Suites that run only when they are named."""

BATCHES = (1, 2, 3, 4, 8, 16, 32, 64)
SHARED = (1, 2, 4, 8)
CALLERS = ((1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (1, 4), (1, 8))
"""Processes, and threads of each."""
RATES = (1_000, 10_000, 100_000, 1_000_000)
"""Calls per second that are offered, whether they can be made or not."""
_FEW_CALLERS = ((1, 1), (2, 1), (1, 2))
_FEW_RATES = (10_000, 100_000)
_QUICK_PROGRAMS = ("dd", "ls", "fio-random", "sqlite3", "tar", "git-status")


@dataclass(frozen=True)
class Case:
    """One case of a suite.

    Args:
        name: in the trace.
        work: what a launch runs, given the folder for its files.
        prepare: makes the files the work needs, once.
        rounds: rounds with recording off, by arm; arms not named run none.
        recorded: rounds with recording on, likewise.
    """

    name: str
    work: Callable[[Launch, Path], Work]
    rounds: Mapping[str, int]
    recorded: Mapping[str, int] = field(default_factory=dict[str, int])
    prepare: Callable[[Path], object] | None = None


def suites(arms: Sequence[str], quick: bool, disk: Path | None = None) -> dict[str, list[Case]]:
    """The suites by name.

    Args:
        arms: names of the arms that take part.
        quick: few rounds, for a first look.
        disk: a folder on the disk's file system, for files of the work; None leaves them out.
    """
    scale = 1 if quick else 4
    every = dict.fromkeys(arms, 5 * scale)
    few = dict.fromkeys(arms, 3 * scale)
    twice = dict.fromkeys(arms, 2 * scale)
    once = dict.fromkeys(arms, 1 * scale)
    one = {"memsc": 10 * scale}
    often = 6 * scale  # where rounds are short, and the host's moods weigh most
    watched = dict.fromkeys(peer_tracers.TRACERS, 2 * scale) | dict.fromkeys(
        ["memsc", "lttng"], often
    )
    beside = dict.fromkeys([*arms, *peer_transports.NAMES], 2 * scale)
    beside |= {name: often for name in beside if name in peer_transports.FAST}
    many = dict.fromkeys(arms, 10 * scale)
    crowd = {arm: 2 * scale for arm in arms if arm != "direct"}  # which shares no service
    # The limit is direct plus a line's round trip: measured in turn with what is held against it.
    # Where no transport finds two CPUs, no line goes between them either.
    line = [Case("line", _line, {"memsc": 10 * scale})] if "memsc" in arms else []
    ring = dict.fromkeys(("direct", "memsc", bare_ring.NAME), 10 * scale) if line else {}
    beside_ring = [
        Case("ring", _beside_ring("ring", _sync), ring),
        Case("ring-64", _beside_ring("ring-64", _batch(64)), ring),
        # The ring records by itself: no session has its records.
        Case(
            "ring-recorded",
            _recorded_beside_ring,
            {bare_ring.NAME: 4 * scale},
            {"memsc": 4 * scale},
        ),
    ]
    limits = _limits({"memsc" if line else arms[-1]: 2 * scale}, between=bool(line))
    return {
        "limit": [*line, *limits, *(beside_ring if ring else [])],
        "sync": [
            *line,
            Case("sync", _sync, many, many),
            *([] if quick else [Case("sync-long", _sync_long, dict.fromkeys(arms, 1))]),
        ],
        "layer": [Case("layer", _layer, one)],
        "batch": [
            Case(f"batch-{size}", _batch(size), every, once if size == BATCHES[-1] else {})
            for size in BATCHES
        ],
        "shared": [Case(f"shared-{count}", _shared(count), crowd) for count in SHARED],
        "throughput": [
            *(Case(*closed(callers), once) for callers in (_FEW_CALLERS if quick else CALLERS)),
            *(Case(*closed((2, 1), batch), once) for batch in (4, 64)),
            *(Case(*opened((1, 1), rate), once) for rate in (_FEW_RATES if quick else RATES)),
            *(Case(*opened((4, 1), rate), once) for rate in _FEW_RATES[: 0 if quick else None]),
        ],
        "isolation": [
            Case("isolation-no", _isolation("no"), twice),
            Case("isolation-yes", _isolation("yes", isolated=True), twice),
            Case("isolation-no-noise", _isolation("no-noise", beside=busy()), twice),
            Case(
                "isolation-yes-noise", _isolation("yes-noise", isolated=True, beside=busy()), twice
            ),
        ],
        "files": _files(few, once, quick),
        "calls": _calls(few, once, quick, disk),
        "causes": _causes(),
        "tracing": [Case("tracing", peer_tracers.work, watched, {"memsc": often})],
        "peers": [
            Case("peers-null", peer_transports.null, beside),
            Case("peers-read", peer_transports.read, beside),
        ],
    }


def _files(few: Mapping[str, int], once: Mapping[str, int], quick: bool) -> list[Case]:
    """The two programs of the thesis, in its sizes unless it has to be quick, and others."""
    rounds = dict.fromkeys(PROGRAMS, once) | {"dd": few, "ls": few}
    if quick:
        rounds = {name: rounds[name] for name in _QUICK_PROGRAMS}
    else:  # 200 MB by interrupt take a minute
        rounds |= dict.fromkeys(SIZES, dict.fromkeys(few, 1))
        rounds |= {"dd-50": dict.fromkeys(few, 2), "ls-100": once}
    return [
        Case(
            name,
            program_work(name),
            rounds=wanted,
            recorded=once if name in ("dd", "ls") else {},
            prepare=PROGRAMS[name].prepare,
        )
        for name, wanted in rounds.items()
        if missing(name) is None
    ]


def _calls(
    rounds: Mapping[str, int], recorded: Mapping[str, int], quick: bool, disk: Path | None
) -> list[Case]:
    if quick:  # one size stands for all, and memory for the disk
        small = [
            name for name in small_calls.OPERATIONS if not name.endswith(("-65536", "-1048576"))
        ]
        return [Case(name, small_calls.operation(name), recorded) for name in small]
    cases = [
        Case(name, small_calls.operation(name), rounds, recorded) for name in small_calls.OPERATIONS
    ]
    if disk is not None:
        cases += [
            Case(f"disk-{name}", small_calls.operation(name, disk), rounds, recorded)
            for name in small_calls.OPERATIONS
            if name not in small_calls.NO_FILE
        ]
    return cases


def _causes() -> list[Case]:
    """Why calls are slow: undisturbed, without any probe, and beside a program on the same CPU."""
    rounds = {"memsc": 10}
    bare = partial(_recorded, name="causes-bare", bare=True)
    stressed = partial(_recorded, name="causes-stress", beside=busy())
    return [
        Case("causes", partial(_recorded, name="causes"), {}, rounds | {"ipi": 4}),
        Case("causes-bare", bare, {}, rounds),
        Case("causes-stress", stressed, {}, rounds),
    ]


def choose(names: Sequence[str], available: Mapping[str, Sequence[Case]]) -> dict[str, list[Case]]:
    """The suites asked for, all of them if none is named; a case that two of them share runs once.

    Raises:
        MemscError: there is no suite of that name.
    """
    chosen: dict[str, list[Case]] = {}
    seen: set[str] = set()
    # What a case is measured beside matters: the limits are others' as well, and are taken there.
    every = [name for name in available if name not in ON_REQUEST]
    for name in sorted(names or every, key=lambda name: name == "limit"):
        if name not in available:
            known = ", ".join(available)
            why = "there is none of that name"
            raise MemscError(f"suite {name}", why, f"one of {known}", USAGE)
        chosen[name] = [case for case in available[name] if case.name not in seen]
        seen |= {case.name for case in chosen[name]}
    return {name: cases for name in available if (cases := chosen.get(name))}


class Planned(NamedTuple):
    """One round of a suite.

    Attributes:
        case: what it runs.
        arm: under which.
        number: of the round, among those of its case and arm.
        turn: rounds of one turn stand side by side in time, recorded or not.
        recording: it is recorded.
    """

    case: Case
    arm: str
    number: int
    turn: int
    recording: bool


def rounds(cases: Sequence[Case], arms: Sequence[str]) -> Iterator[Planned]:
    """The rounds of a suite, interleaved (A B, B A, …).

    All cases of a suite take turns, for they are held against each other, and recorded rounds stand
    between the others, so that what recording costs is measured under the same conditions.
    """
    made = Counter[tuple[str, str]]()
    most = max(
        (n for case in cases for n in (*case.rounds.values(), *case.recorded.values())), default=0
    )
    for turn in range(most):
        forth = turn % 2 == 0
        for case in cases:
            both = [(True, case.recorded), (False, case.rounds)]
            for arm in arms if forth else reversed(arms):
                for recording, wanted in both if forth else reversed(both):
                    if turn < wanted.get(arm, 0):
                        yield Planned(case, arm, made[case.name, arm], turn, recording)
                        made[case.name, arm] += 1


# ---- getppid through the direct API ----

# As many calls as take a comparable time: a hand-off by interrupt costs a hundred times as much.
_SYNC = {"ipi": 5_000, "memsc-scanner": 20_000}
_BATCHED = {"ipi": 6_400, "memsc-scanner": 25_600}
_SYNC_CALLS = 100_000
_LAYER_PAIRS = 2_000  # of blocks of 32 calls
_RECORDED_CALLS = 500_000
_RING = 1 << 20


def _sync(launch: Launch, folder: Path) -> Work:
    calls = _SYNC.get(launch.arm, _RECORDED_CALLS if launch.recording else _SYNC_CALLS)
    file = folder / "timings"
    return Work(
        "sync",
        (str(WORK), "sync", str(calls), str(file)),
        layered=False,
        timings=file,
        ring_records=_RING,
        ring_holds_all=True,
    )


def _beside_ring(
    name: str, plain: Callable[[Launch, Path], Work]
) -> Callable[[Launch, Path], Work]:
    """The same work under another name, where the bare ring takes turns with the arms."""

    def work(launch: Launch, folder: Path) -> Work:
        done = replace(plain(launch, folder), case=name)
        return bare_ring.work(done, launch, folder) if bare_ring.is_it(launch) else done

    return work


def _recorded_beside_ring(launch: Launch, folder: Path) -> Work:
    """Synchronous calls that are all recorded, beside a ring that does so, too."""
    command = (str(WORK), "sync", str(_SYNC_CALLS), str(folder / "timings"))
    done = replace(_sync(launch, folder), case="ring-recorded", command=command)
    return bare_ring.work(done, launch, folder, recorded=True) if bare_ring.is_it(launch) else done


def _sync_long(launch: Launch, folder: Path) -> Work:
    """As many calls as the thesis made, under every arm."""
    file = folder / "timings"
    command = (str(WORK), "sync", str(_SYNC_CALLS), str(file))
    return replace(_sync(launch, folder), case="sync-long", command=command)


def _layer(_: Launch, folder: Path) -> Work:
    """The layer and the direct API by turns, in one process: blocks of calls a few µs apart.

    Two processes would differ by where their pages and polling loops fall, which is more than the
    layer costs.
    """
    work = _said("interposed", folder, str(_LAYER_PAIRS))
    return replace(work, case="layer", layered=True)


def _recorded(launch: Launch, folder: Path, name: str, **how: Any) -> Work:
    """As `sync`, recorded."""
    return replace(_sync(launch, folder), case=name, **how)


# Beside a busy program, a call that must wait for a time slice takes milliseconds.
_NOISY = {"ipi": 2_000, "memsc-scanner": 200}


def _isolation(name: str, **how: Any) -> Callable[[Launch, Path], Work]:
    """As `sync`, under other conditions."""

    def work(launch: Launch, folder: Path) -> Work:
        file = folder / "timings"
        calls = (_NOISY if how.get("beside") else _SYNC).get(launch.arm, _SYNC_CALLS)
        command = (str(WORK), "sync", str(calls), str(file))
        return replace(_sync(launch, folder), case=f"isolation-{name}", command=command, **how)

    return work


def _batch(size: int) -> Callable[[Launch, Path], Work]:
    def work(launch: Launch, folder: Path) -> Work:
        calls = _BATCHED.get(launch.arm, _SYNC_CALLS)
        file = folder / "timings"
        return Work(
            f"batch-{size}",
            (str(WORK), "batch", str(size), str(calls), str(file)),
            layered=False,
            timings=file,
            per_interval=size,
            ring_holds_all=True,
        )

    return work


def _shared(processes: int) -> Callable[[Launch, Path], Work]:
    def work(launch: Launch, folder: Path) -> Work:
        calls = _SYNC.get(launch.arm, _SYNC_CALLS)
        file = folder / "timings"
        return Work(
            f"shared-{processes}",
            (str(WORK), "shared", str(processes), str(calls), str(file)),
            layered=False,
            timings=file,
            ring_holds_all=True,
        )

    return work


def _line(launch: Launch, folder: Path) -> Work:
    file = folder / "timings"
    here, there = str(launch.app_cpus[0]), str((*launch.service_cpus, *launch.app_cpus)[0])
    return Work(
        "line",
        (str(WORK), "line", here, there, "100000", str(file)),
        layered=False,
        timings=file,
        ring_holds_all=True,
    )


def _limits(rounds: Mapping[str, int], *, between: bool) -> list[Case]:
    """What the machine itself allows: it needs no arm but one to stand under.

    Args:
        rounds: of that arm.
        between: there are two CPUs for it.
    """

    def pairs(_: Launch, folder: Path) -> Work:
        cpus = ",".join(map(str, sorted(topology.read().reachable)))
        return _said("pairs", folder, cpus, "2000")

    def stamps(_: Launch, folder: Path) -> Work:
        return _said("stamps", folder, "1000000")

    def interrupt(launch: Launch, folder: Path) -> Work:
        here, there = str(launch.app_cpus[0]), str((*launch.service_cpus, *launch.app_cpus)[0])
        file = folder / "timings"
        work = _said("interrupts", folder, here, there, "5000", str(file))
        return replace(work, case="interrupt", timings=file)

    return [
        Case("stamps", stamps, rounds),
        *([Case("pairs", pairs, rounds), Case("interrupt", interrupt, rounds)] if between else []),
    ]


def _said(name: str, folder: Path, *arguments: str) -> Work:
    measures = folder / "measures"
    measures.unlink(missing_ok=True)
    command = (str(WORK), name, *arguments, str(measures))
    return Work(name, command, layered=False, measures=measures, ring_holds_all=True)
